"""Whether the metrics of several runs can be compared, and what to note if so."""

from collections.abc import Sequence

from mnist_sgd.evaluation.refused import refused_clause
from mnist_sgd.report.folder import ARTIFACT
from mnist_sgd.report.reader import RunRecord
from mnist_sgd.report.validation_pictures import SamePictures, same_pictures
from mnist_sgd_serve import ArtifactError, load_artifact

NAMED = 5
"""Maximum number of relabelled files that are named."""

OTHER_IMAGES = (
    "the runs were evaluated on different validation images: their metrics do not tell which model "
    "is better"
)
OTHER_LOSSES = "the runs were trained with different losses, whose values are not on the same scale"


def same_images(runs: Sequence[RunRecord]) -> bool:
    """Whether all runs were evaluated on the same images, however preprocessed."""
    evaluated = _one_per_set(runs)
    return len(evaluated) < 2 or _same_pictures(evaluated) is not None


def warnings(runs: Sequence[RunRecord]) -> list[str]:
    """Notes for comparing the metrics, as sentences without full stops."""
    found = []
    evaluated = _one_per_set(runs)
    if len(evaluated) > 1:
        same = _same_pictures(evaluated)
        found.append(OTHER_IMAGES if same is None else _what_differs(same, evaluated))
    if len({run.config["resolved"]["loss"] for run in runs}) > 1:
        found.append(OTHER_LOSSES)
    return [*found, *filter(None, map(_refused, runs)), *filter(None, map(_other_threshold, runs))]


def _refused(run: RunRecord) -> str | None:
    """A note if pictures of the run were refused."""
    if run.evaluation is None or not (count := run.evaluation.get("refused", 0)):
        return None
    return f"{run.name}: {refused_clause(count, run.evaluation['images'])}"


def _other_threshold(run: RunRecord) -> str | None:
    """A note if the threshold of the run's model has changed since its evaluation."""
    if run.evaluation is None or "threshold" not in run.evaluation:
        return None
    try:
        now = load_artifact(run.path / ARTIFACT).metadata.threshold
    except ArtifactError:  # without a readable model there is no threshold
        return None
    if now == (then := run.evaluation["threshold"]):
        return None
    return (
        f"{run.name}: the threshold of its model is now {now:g}, but its metrics are for {then:g}; "
        f"mnist-sgd evaluate {run.path} computes those for {now:g}"
    )


def _one_per_set(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Pick one run for each validation set, preferably one with a list of its pictures."""
    found: dict[str | None, RunRecord] = {}
    for run in runs:
        if run.evaluation is None:
            continue
        fingerprint = run.config["data"].get("valid", {}).get("fingerprint")
        if fingerprint not in found or not found[fingerprint].pictures:
            found[fingerprint] = run
    return [*found.values()]


def _same_pictures(evaluated: Sequence[RunRecord]) -> SamePictures | None:
    return same_pictures([run.pictures for run in evaluated])


def _what_differs(same: SamePictures, evaluated: Sequence[RunRecord]) -> str:
    """How validation sets of the same pictures differ."""
    preprocessings = {run.config["data"]["valid"].get("preparation") for run in evaluated}
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
