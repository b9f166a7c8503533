"""Work in many processes: leases of numbered units, and whoever starts the processes."""
