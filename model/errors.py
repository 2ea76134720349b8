"""What can be wrong with the data or the settings that a caller hands to the model."""


class ModelError(ValueError):
    """Base of everything that the model refuses; the message is one sentence for the user."""


class InvalidConfig(ModelError):
    """A training setting is outside the range in which training makes sense."""


class InvalidData(ModelError):
    """The images or labels are missing, damaged, or not what a classifier can learn from."""
