"""Libraries that only some functions use: they are imported late, and missed in a sentence."""

from importlib import import_module

__all__ = ["need"]


def need(library: str, user: str) -> None:
    """Import a library, or say who needs it and how to install it.

    Args:
        library: its name, for `import` and for pip.
        user: what cannot be done without it.

    Raises:
        ImportError: it cannot be imported.
    """
    try:
        import_module(library)
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision beside another torch
        raise ImportError(
            f"{user} needs {library}, which cannot be imported here ({error}): "
            f"pip install {library}"
        ) from error
