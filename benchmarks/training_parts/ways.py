"""The ways to train that are compared.

A peer's packages are in a virtual environment of its own under the folder of the peers, on top of
this Python's packages: all ways run the same torch, and the pins of two peers cannot conflict.
"""

from dataclasses import dataclass

__all__ = ["BARE", "FASTAI", "FLOOR", "OURS", "STAGES", "WAYS", "Way"]


@dataclass(frozen=True)
class Way:
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


OURS = Way("mnist_sgd", "ours")
STAGES = Way("stages", "stages")  # ours with a clock in it: no row of the table
BARE = Way("torch, by hand", "bare")
FLOOR = Way("torch's calls alone", "floor", trains=False)
FASTAI = Way("fastai", "fastai_learner", "fastai")
WAYS = (
    OURS,
    BARE,
    FLOOR,
    FASTAI,
    Way("Lightning", "lightning_trainer", "lightning"),
    Way("skorch", "skorch_net", "skorch"),
)
