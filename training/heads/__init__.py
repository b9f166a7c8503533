"""Training of heads on a language model's last states."""
