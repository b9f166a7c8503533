"""What engines of open weights share: what a model's name means, its weights, its chat template."""
