"""What all trainers share: settings, base model, resume, callbacks, checkpoints, results."""
