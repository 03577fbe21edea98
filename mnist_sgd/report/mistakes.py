"""The misclassified validation pictures of a run, in `mistakes.json` in its folder.

With these, `compare` shows which pictures one model classifies correctly and another does not,
without the data. A picture is identified by the digest of its file, or by its index in the set.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_sgd.report.folder import MISTAKES, write_json
from mnist_sgd.report.pictures import Picture
from mnist_sgd.report.validation_pictures import DIGITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnist_sgd.report.predictions import Predictions

LISTED = 10_000
"""Maximum number of mistakes that are listed."""


@dataclass(frozen=True)
class Mistakes:
    """What is known of the mistakes of a run.

    Attributes:
        keys: digests or indices of the misclassified pictures, the most confident mistakes first.
        pictures: the first ones as pictures, by key.
        complete: whether `keys` has all mistakes.
    """

    keys: Collection[str]
    pictures: Mapping[str, Picture]
    complete: bool


def write_mistakes(folder: Path, predictions: "Predictions", shown: "Sequence[Picture]") -> None:
    """Write `mistakes.json`.

    Args:
        folder: of the run.
        predictions: of its validation images.
        shown: pictures of the first of `predictions.misclassified`.

    Raises:
        OSError: the file cannot be written.
    """
    data, wrong = predictions.dataset, predictions.misclassified[:LISTED].tolist()
    known = data.digests if data.files else ()
    keys = [known[i][:DIGITS] if known else str(i) for i in wrong]
    write_json(
        folder / MISTAKES,
        {
            "count": len(predictions.misclassified),
            "keys": keys,
            "pictures": [asdict(each) for each in shown],
        },
    )


def read_mistakes(path: Path) -> Mistakes | None:
    """Read a `mistakes.json`; None if there is none.

    Raises:
        ValueError: the file is damaged.
        OSError: the file cannot be read.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except RecursionError as error:
        raise ValueError(f"not JSON: {error}") from error
    try:
        keys = [str(key) for key in content["keys"]]
        shown = [_picture(each) for each in content["pictures"]]
        complete = content["count"] == len(keys)
    except (TypeError, KeyError) as error:
        raise ValueError("not a list of mistakes") from error
    return Mistakes(keys, dict(zip(keys, shown, strict=False)), complete)


def _picture(content: Mapping[str, Any]) -> Picture:
    """Check and convert a picture; its addresses must be data, so that a page loads nothing."""
    made = Picture(**{each.name: content[each.name] for each in fields(Picture)})
    for value in (made.prepared, made.original, made.overlay):
        if value and not value.startswith("data:image/"):
            raise TypeError
    return made
