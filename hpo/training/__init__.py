"""From an experiment and images to evaluations: the seam to the model."""
