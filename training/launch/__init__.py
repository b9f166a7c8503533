"""Several processes of one training, on this machine or on nodes of Slurm, started by one command."""
