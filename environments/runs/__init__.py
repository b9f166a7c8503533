"""Runs of many conversations on one machine: settings, folder, runner, estimate, display."""
