"""FPEMF: fine-tuning with feedback on a model's own candidates."""
