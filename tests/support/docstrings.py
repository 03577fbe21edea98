"""The parts of a docstring in Google's form, as this project writes them."""

import re
from dataclasses import dataclass, field

__all__ = ["Docstring", "parse"]

_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Yields):$")
_ENTRY = re.compile(r"^    ([*\w][\w., *]*): ")


@dataclass(frozen=True)
class Docstring:
    """What a docstring says.

    Attributes:
        text: all of it.
        sections: for each section but Returns the names that its entries begin with.
    """

    text: str
    sections: dict[str, list[str]] = field(default_factory=dict)

    def names(self, section: str) -> list[str]:
        """The names in a section; none if there is no such section."""
        return self.sections.get(section, [])


def parse(text: str) -> Docstring:
    """Take a docstring, cleaned by `inspect.cleandoc`, apart."""
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        if found := _SECTION.match(line):
            current = sections.setdefault(found[1], [])
        elif line and not line.startswith(" "):
            current = []
        elif entry := _ENTRY.match(line):
            current += [name.strip(" *") for name in entry[1].split(",")]
    sections.pop("Returns", None)
    return Docstring(text, sections)
