"""What every trainer's loop shares: settings, base model, resume, callbacks, checkpoints, results."""
