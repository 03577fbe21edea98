"""The blocks of code in Markdown files, so that tests can run what they say."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

__all__ = ["ROOT", "Block", "blocks", "documents"]

ROOT = Path(__file__).parent.parent.parent
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a document.

    Attributes:
        document: the file.
        line: of the block's first line of code, from 1.
        language: what stands after the fence.
        code: the lines, without the fence's indentation.
    """

    document: Path
    line: int
    language: str
    code: str

    def compiled(self) -> CodeType:
        """The code of a Python block, whose errors name the document and its line."""
        return compile("\n" * (self.line - 1) + self.code, self.document, "exec")


def documents() -> list[Path]:
    """The README and the guides."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(document: Path, language: str) -> Iterator[Block]:
    """The blocks of a document in one language, in order."""
    text = document.read_text()
    for match in _FENCE.finditer(text):
        indent, found, code = match.groups()
        if found == language:
            line = text.count("\n", 0, match.start(3)) + 1
            lines = (one.removeprefix(indent) for one in code.splitlines(keepends=True))
            yield Block(document, line, found, "".join(lines))
