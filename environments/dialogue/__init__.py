"""One conversation: its state, its loop, its limits, and the environment that seats the roles."""
