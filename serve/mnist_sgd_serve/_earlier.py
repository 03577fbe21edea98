"""Parameter names of earlier versions, which still work."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

T = TypeVar("T", bound=Callable[..., Any])


def accepts_earlier(**names: str) -> Callable[[T], T]:
    """Decorate a function or a class to accept earlier parameter names too.

    Args:
        names: the new name of each earlier one.

    Raises:
        TypeError: by the decorated callable, if a parameter is given by both names.
    """

    def decorate(thing: T) -> T:
        if isinstance(thing, type):
            made: Any = thing
            made.__init__ = decorate(made.__init__)
            return thing

        @wraps(thing)
        def accepting(*args: Any, **kwargs: Any) -> Any:
            for earlier in names.keys() & kwargs.keys():
                if names[earlier] in kwargs:
                    raise TypeError(
                        f"give {names[earlier]} or its earlier name {earlier}, not both"
                    )
                kwargs[names[earlier]] = kwargs.pop(earlier)
            return thing(*args, **kwargs)

        return cast(T, accepting)

    return decorate
