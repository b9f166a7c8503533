"""The templates that ship with corpus building: generation prompts and the data card."""
