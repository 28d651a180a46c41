"""The library's own exceptions."""


class CheckpointError(ValueError):
    """A file that is damaged, or does not hold what it should."""
