"""The studies that ship with hpo; your own is one more file, or any file with a ``STUDY``."""
