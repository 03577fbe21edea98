"""Recognises Ctrl-C, or a signal handled like it, while modules are imported."""


def was_interrupted(error: ImportError) -> bool:
    """Whether an import failed because of a KeyboardInterrupt.

    A C module that is interrupted during its initialisation raises an ImportError, whose cause is
    the KeyboardInterrupt.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause is not None
