"""Whether the figures of several runs can be compared, and what to know when they are."""

from collections.abc import Sequence

from mnist_sgd.evaluation.refused import refused_clause
from mnist_sgd.report.folder import ARTIFACT
from mnist_sgd.report.reader import RunRecord
from mnist_sgd.report.validation_pictures import SamePictures, same_pictures
from mnist_sgd_serve import ArtifactError, load_artifact

__all__ = ["same_images", "warnings"]

NAMED = 5
"""Files with another label that are named, at most."""

OTHER_IMAGES = (
    "the runs were measured on different validation images: their figures do not tell which model "
    "is better"
)
OTHER_LOSSES = "the runs were trained on different losses, whose values are not of one scale"


def same_images(runs: Sequence[RunRecord]) -> bool:
    """Whether all measured runs were measured on the same images, however preprocessed."""
    measured = _one_for_each_set(runs)
    return len(measured) < 2 or _same_pictures(measured) is not None


def warnings(runs: Sequence[RunRecord]) -> list[str]:
    """What to know when the figures are compared, a sentence each without its full stop."""
    found = []
    measured = _one_for_each_set(runs)
    if len(measured) > 1:
        same = _same_pictures(measured)
        found.append(OTHER_IMAGES if same is None else _what_differs(same, measured))
    if len({run.config["resolved"]["loss"] for run in runs}) > 1:
        found.append(OTHER_LOSSES)
    return [*found, *filter(None, map(_refused, runs)), *filter(None, map(_other_threshold, runs))]


def _refused(run: RunRecord) -> str | None:
    """What to say if pictures of the run were refused, which are no errors and not right."""
    if run.evaluation is None or not (count := run.evaluation.get("refused", 0)):
        return None
    return f"{run.name}: {refused_clause(count, run.evaluation['images'])}"


def _other_threshold(run: RunRecord) -> str | None:
    """What to say if the run's model has another threshold than the one that was measured."""
    if run.evaluation is None or "threshold" not in run.evaluation:
        return None
    try:
        now = load_artifact(run.path / ARTIFACT).metadata.threshold
    except ArtifactError:  # a damaged or missing model says nothing of a threshold
        return None
    if now == (then := run.evaluation["threshold"]):
        return None
    return (
        f"{run.name}: the threshold of its model is now {now:g}, and its figures are for {then:g}: "
        f"mnist-sgd evaluate {run.path} measures it"
    )


def _one_for_each_set(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Of each validation set that runs were measured on one run, with its pictures if possible."""
    found: dict[str | None, RunRecord] = {}
    for run in runs:
        if run.evaluation is None:
            continue
        fingerprint = run.config["data"].get("valid", {}).get("fingerprint")
        if fingerprint not in found or not found[fingerprint].pictures:
            found[fingerprint] = run
    return [*found.values()]


def _same_pictures(measured: Sequence[RunRecord]) -> SamePictures | None:
    return same_pictures([run.pictures for run in measured])


def _what_differs(same: SamePictures, measured: Sequence[RunRecord]) -> str:
    """In what the validation sets of the same pictures differ."""
    preprocessings = {run.config["data"]["valid"].get("preparation") for run in measured}
    pictures = "picture" if same.count == 1 else f"{same.count:,} pictures"
    text = f"the same {pictures}" + (
        ", preprocessed differently" if len(preprocessings) > 1 else ""
    )
    count = len(same.relabelled)
    if not count:
        return f"{text}: comparable"
    named = ", ".join(same.relabelled[:NAMED])
    more = f" and {count - NAMED:,} more" if count > NAMED else ""
    verb = "differs" if count == 1 else "differ"
    return f"{text}; {count:,} of {same.count:,} labels {verb} ({named}{more})"
