"""Errors of checkpoints."""


class CheckpointError(ValueError):
    """A checkpoint cannot be written, or this fit cannot resume from a file."""


class ResumeError(CheckpointError):
    """A file is not a checkpoint from which this fit can resume.

    Attributes:
        has_advice: whether the message says what to do.
    """

    def __init__(self, message: str, has_advice: bool = False) -> None:
        super().__init__(message)
        self.has_advice = has_advice
