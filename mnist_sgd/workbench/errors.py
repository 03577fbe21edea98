"""Why a request is refused: a status and a sentence that says what to do."""


class Refusal(Exception):  # noqa: N818  (it says all without "Error")
    """A request that is refused.

    Attributes:
        status: the HTTP status.
        state: for a conflict (409), the state that it met; else empty.
    """

    def __init__(self, message: str, status: int = 400, state: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.state = state


def not_found(what: str, name: str) -> Refusal:
    """Make the refusal of a name that nothing has."""
    return Refusal(f"there is no {what} {name[:64]!r}", 404)
