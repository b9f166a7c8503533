"""Object stores: where something lies, and a run that is kept there."""
