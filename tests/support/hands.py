"""Threes and sevens as several hands write them: lines for a pen, as points on a unit square.

A shape is how somebody forms the digit; a hand is how large, where, how slanted and with what pen
it is written. Nothing here was fitted to what a model recognises.
"""

from dataclasses import dataclass

__all__ = ["DRAWINGS", "HANDS", "SHAPES", "Drawing", "Hand", "Line", "Point"]

Point = tuple[float, float]
Line = list[Point]

SHAPES: dict[str, tuple[str, ...]] = {
    "3 round": ("30,22 44,13 62,17 66,30 56,42 44,46 60,51 69,65 63,81 46,88 30,80",),
    "3 flat": ("30,15 48,15 67,15 56,30 45,43 61,47 69,62 63,79 46,86 29,79",),
    "7 plain": ("29,17 48,17 69,17 56,50 45,86",),
    "7 crossed": ("30,16 50,16 70,15 58,45 44,87", "42,52 55,51 70,50"),
}
"""The lines of each shape, in hundredths of the square: right,down of each point."""


@dataclass(frozen=True)
class Hand:
    """How somebody writes.

    Attributes:
        pen: the width of the pen, in hundredths of the paper's side.
        scale: of the shape about the paper's middle.
        move: of the shape, right and down.
        slant: to the right, as a share of the height.
    """

    pen: int = 8
    scale: float = 1.0
    move: Point = (0.0, 0.0)
    slant: float = 0.0

    def write(self, line: str) -> Line:
        """Where the pen goes on the paper for a line of a shape."""
        placed = []
        for point in line.split():
            x, y = (int(part) / 100 - 0.5 for part in point.split(","))
            right = 0.5 + self.move[0] + self.scale * (x - self.slant * y)
            placed.append((right, 0.5 + self.move[1] + self.scale * y))
        return placed


HANDS: dict[str, Hand] = {
    "usual": Hand(),
    "thick": Hand(pen=13),
    "thin": Hand(pen=3),
    "small": Hand(pen=4, scale=0.4),
    "off-centre": Hand(pen=6, scale=0.6, move=(-0.22, 0.2)),
    "slanted": Hand(slant=0.35),
}


@dataclass(frozen=True)
class Drawing:
    """A digit to be written.

    Attributes:
        shape: a key of `SHAPES`.
        hand: a key of `HANDS`.
    """

    shape: str
    hand: str

    @property
    def label(self) -> str:
        """The digit that is meant."""
        return self.shape[0]

    @property
    def pen(self) -> int:
        """The width of the pen."""
        return HANDS[self.hand].pen

    @property
    def lines(self) -> list[Line]:
        """The way of the pen, one line a stroke."""
        return [HANDS[self.hand].write(line) for line in SHAPES[self.shape]]


DRAWINGS = [Drawing(shape, hand) for hand in HANDS for shape in SHAPES]
