"""Ctrl-C, or a signal that counts as it, while modules are loaded."""

__all__ = ["was_interrupted"]


def was_interrupted(error: ImportError) -> bool:
    """Whether a module could not be loaded because the process was told to stop.

    A module in C that is interrupted while it is initialised says no more than that it failed; the
    KeyboardInterrupt is its cause.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause is not None
