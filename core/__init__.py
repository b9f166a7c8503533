"""The ground floor: what every room uses and what imports nothing of ours."""
