"""A person at the terminal, in any seat, and what keeps them safe there."""
