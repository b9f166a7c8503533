"""Runs that several workers play: on this machine, on Ray, on Slurm."""
