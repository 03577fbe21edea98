"""The training loops that are compared.

A peer's packages are in a virtual environment of its own under the folder of the peers, on top of
this Python's packages: all contenders run the same torch, and the pins of two peers cannot
conflict.
"""

from dataclasses import dataclass

__all__ = ["BARE", "CONTENDERS", "FASTAI", "FLOOR", "OURS", "STAGES", "Contender"]


@dataclass(frozen=True)
class Contender:
    """One row of the table.

    Attributes:
        name: in the table.
        loop: its file in loops/.
        package: what is imported, and installed by pip, for it; none for torch alone.
        trains: whether its accuracy must be that of the others.
    """

    name: str
    loop: str
    package: str = ""
    trains: bool = True


OURS = Contender("mnist_sgd", "ours")
STAGES = Contender("stages", "stages")  # ours with a clock in it: no row of the table
BARE = Contender("torch, by hand", "bare")
FLOOR = Contender("torch's calls alone", "floor", trains=False)
FASTAI = Contender("fastai", "fastai_learner", "fastai")
CONTENDERS = (
    OURS,
    BARE,
    FLOOR,
    FASTAI,
    Contender("Lightning", "lightning_trainer", "lightning"),
    Contender("skorch", "skorch_net", "skorch"),
)
