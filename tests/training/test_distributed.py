"""One, two and three ranks see the same batches and leave the same weights, or end together."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.run import get_args_parser

import ranks as script
from image_sets import random_set
from mnist_sgd import (
    DataLoader,
    DataLoaders,
    DistributedContext,
    Learner,
    create_model,
    init_distributed,
)
from mnist_sgd._state_file import parse
from mnist_sgd.cli import main
from mnist_sgd.loader.device import to_device
from mnist_sgd.training.data_parallel import SyncedLoss, broadcast_buffers
from mnist_sgd.training.distributed import SINGLE_PROCESS
from trained import TrainedFiles
from waiting import PATIENCE, has_ended

Reports = dict[int, list[dict[str, Any]]]


@contextmanager
def torchrun(count: int, *arguments: str | Path, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """So many ranks of a script or, after "-m", a module; all are gone at the end."""
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    line += [f"--nproc-per-node={count}", *map(str, arguments)]
    support = str(Path(script.__file__).parent)
    path = os.pathsep.join(filter(None, [support, os.environ.get("PYTHONPATH")]))
    with (cwd / "stdout").open("w") as out, (cwd / "stderr").open("w") as err:
        process = subprocess.Popen(
            line,
            stdout=out,
            stderr=err,
            text=True,
            cwd=cwd,
            env=os.environ | {"PYTHONPATH": path},
        )
        try:
            yield process
        finally:
            for pid in workers_of(process.pid):
                os.kill(pid, signal.SIGKILL)
            process.kill()
            process.wait(PATIENCE)


def workers_of(agent: int) -> dict[int, int]:
    """The rank of each process that a torchrun has started and that is still there, by its id."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) != agent:
                continue
            rank = re.search(rb"\0RANK=(\d+)\0", stat.with_name("environ").read_bytes())
        except (FileNotFoundError, ProcessLookupError):
            continue
        if rank:
            found[int(stat.parent.name)] = int(rank[1])
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the ranks leave their files."""
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def reports(folder: Path) -> Reports:
    """What each rank of one, two and three did; the two resume the checkpoint of the three."""
    checkpoint = folder / "checkpoint.safetensors"
    found = {1: [script.jobs(SINGLE_PROCESS, checkpoint)]}
    for count in (3, 2):
        with torchrun(count, script.__file__, folder, cwd=folder) as process:
            assert process.wait(PATIENCE) == 0, (folder / "stderr").read_text()
        found[count] = [parse((folder / f"rank-{i}").read_bytes()) for i in range(count)]
        lines = (folder / "stdout").read_text().splitlines()
        assert [line.split()[0] for line in lines] == ["epoch", *map(str, range(script.EPOCHS))]
    return found


several = pytest.mark.parametrize("count", [2, 3])


def union(reports: list[dict[str, Any]], job: str) -> list[tuple[Tensor, Tensor]]:
    """The ranks' parts of each batch of a job, put together in the order of the ranks."""
    per_rank = [report[job]["batches"] for report in reports]
    batches = []
    for parts in zip(*per_rank, strict=True):
        images, labels = zip(*parts, strict=True)
        batches.append((torch.cat(images), torch.cat(labels)))
    return batches


def same_batches(ours: list[tuple[Tensor, Tensor]], theirs: list[tuple[Tensor, Tensor]]) -> bool:
    pairs = zip(ours, theirs, strict=True)
    return all(torch.equal(x, u) and torch.equal(y, v) for (x, y), (u, v) in pairs)


def distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest difference between two weights of a model; NaN if there is one."""
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@several
@pytest.mark.parametrize("job", ["sample", "lone image", "watched", "partly used"])
def test_any_number_of_ranks_leaves_the_same_weights_and_figures(
    count: int, job: str, reports: Reports
) -> None:
    alone = reports[1][0][job]
    for report in reports[count]:
        assert distance(report[job]["weights"], alone["weights"]) <= 1e-6
        assert report[job]["losses"] == pytest.approx(alone["losses"], abs=1e-6)
        for ours, theirs in zip(report[job]["values"], alone["values"], strict=True):
            assert ours == pytest.approx(theirs, abs=1e-6)
    first, *others = reports[count]
    for report in others:
        assert distance(report[job]["weights"], first[job]["weights"]) == 0
        assert report[job]["values"] == first[job]["values"]
        assert report[job]["losses"] == first[job]["losses"]


@several
def test_a_parameter_that_no_batch_uses_is_left_alone(count: int, reports: Reports) -> None:
    """Not even its weights decay, as in one process."""
    untrained = script.PartlyUsed().state_dict()
    for report in reports[count]:
        weights = report["partly used"]["weights"]
        assert torch.equal(weights["unused.weight"], untrained["unused.weight"])
        assert not torch.equal(weights["sometimes.weight"], untrained["sometimes.weight"])


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("model", script.MODELS)
def test_the_printed_figures_are_those_of_the_saved_weights(
    count: int, model: str, reports: Reports, folder: Path
) -> None:
    learn = script.learner(SINGLE_PROCESS, script.CUT_SETS, 8, model)
    learn.load(folder / f"{model}-{count}.safetensors")
    figures = learn.validate()
    for report in reports[count]:
        assert report[model]["values"][-1][1:] == pytest.approx(figures, abs=1e-6)
        assert distance(report[model]["weights"], learn.model.state_dict()) == 0
    learn.load(folder / f"{model}-{count}-best.safetensors")
    figures = learn.validate()
    for report in reports[count]:
        assert report[model]["best"][1:] == pytest.approx(figures, abs=1e-6)
        assert report[model]["kept"] == reports[count][0][model]["kept"]


@several
def test_ranks_that_leave_an_epoch_early_have_the_same_batch_norms(
    count: int, reports: Reports
) -> None:
    first, *others = (report["left early"]["weights"] for report in reports[count])
    assert first["2.num_batches_tracked"] == 9
    for other in others:
        assert distance(other, first) == 0


def test_ranks_that_resume_draw_the_random_numbers_of_the_undisturbed_fit(
    reports: Reports,
) -> None:
    for report in reports[2]:
        whole, cut, resumed = (report["dropped"][name] for name in ("whole", "cut", "resumed"))
        assert distance(resumed["weights"], whole["weights"]) == 0
        assert distance(cut["weights"], whole["weights"]) > 0
        assert (resumed["values"], resumed["losses"]) == (whole["values"], whole["losses"])


@several
def test_a_cycle_its_rate_and_the_best_epoch_are_the_single_processes(
    count: int, reports: Reports
) -> None:
    alone = reports[1][0]["watched"]
    assert len(alone["values"]) < 6
    for report in reports[count]:
        for what in ("found", "lrs", "kept"):
            assert report["watched"][what] == alone[what]


@several
def test_every_validation_image_is_counted_once(count: int, reports: Reports) -> None:
    for job, images, epochs in (("sample", 2038, script.EPOCHS), ("lone image", 17, 3)):
        counts = [report[job]["validated"] for report in reports[count]]
        assert [sum(epoch) for epoch in zip(*counts, strict=True)] == [images] * epochs
        assert reports[1][0][job]["validated"] == [images] * epochs


@several
def test_the_ranks_batches_together_are_the_single_processes(count: int, reports: Reports) -> None:
    alone = union(reports[1], "lone image")
    assert [len(labels) for _, labels in alone] == [8, 8, 8, 8, 1] * 3
    assert same_batches(union(reports[count], "lone image"), alone)


@several
def test_a_lone_image_leaves_ranks_an_empty_part(count: int, reports: Reports) -> None:
    sizes = [len(report["lone image"]["batches"][4][1]) for report in reports[count]]
    assert sorted(sizes) == [*([0] * (count - 1)), 1]


def test_a_checkpoint_of_three_ranks_goes_on_under_two_in_the_same_order(reports: Reports) -> None:
    whole = union(reports[1], "undisturbed")
    before, after = union(reports[3], "cut"), union(reports[2], "resumed")
    assert len(whole) == 3 * 6
    assert same_batches(before, whole[:9])
    assert same_batches(after, whole[8:])
    for report in reports[2]:
        ours, theirs = report["resumed"], reports[1][0]["undisturbed"]
        assert distance(ours["weights"], theirs["weights"]) <= 1e-6
        assert ours["losses"] == pytest.approx(theirs["losses"], abs=1e-6)
        assert len(ours["values"]) == 3


def test_what_does_not_fit_together_is_refused_on_every_rank(
    reports: Reports, folder: Path
) -> None:
    missing = folder / "none" / "c.safetensors"
    for report in reports[3]:
        assert report["refusals"] == {
            "first": "the folder is not there",
            "read": f"{missing}: there is no such file",
            "write": f"{missing}: there is no folder {missing.parent}",
            "same": "all ranks must have the same seeds: 2 of 3 have other ones than rank 0",
            "uncut": "the training batches are not cut for 3 ranks: give their DataLoader rank= "
            "and world_size=",
            "foreign": "several processes cut each batch into parts, which a mnist_sgd.DataLoader "
            "does; the training batches come from a list",
        }


DISTURBED = {
    "undisturbed",
    "peeked",
    "looked before",
    "kept bright",
    "new head",
    "sliced",
    "validated within",
    "cancelled",
    "pair",
    "whole validation",
    "shrunk",
    "small logits",
    "smooth inputs",
    "smooth loss",
    "sharpness",
    "learned loss",
    "watched by the first",
}


@several
@pytest.mark.parametrize("job", sorted(DISTURBED))
def test_disturbed_fits_give_the_same_results_on_any_number_of_ranks(
    count: int, job: str, reports: Reports
) -> None:
    alone = reports[1][0]["disturbed"][job]
    assert set(reports[1][0]["disturbed"]) == DISTURBED
    for report in (each["disturbed"][job] for each in reports[count]):
        assert distance(report["weights"], alone["weights"]) <= 1e-6
        assert report["losses"] == pytest.approx(alone["losses"], abs=1e-6)
        for ours, theirs in zip(report["values"], alone["values"], strict=True):
            assert ours == pytest.approx(theirs, abs=1e-6)
        assert (report["partial"], report["kept"]) == (alone["partial"], alone["kept"])
        assert distance(report["weights"], reports[count][0]["disturbed"][job]["weights"]) == 0


def test_each_disturbance_changes_the_results(reports: Reports) -> None:
    """Otherwise the test above would pass with callbacks that do nothing."""
    alone = reports[1][0]["disturbed"]
    assert alone["cancelled"]["partial"] == [1]
    plain = alone["undisturbed"]["weights"]
    for job in ("looked before", "kept bright", "sliced", "new head", "shrunk", "small logits"):
        assert distance(alone[job]["weights"], plain) > 1e-4
    for job in ("sharpness", "smooth inputs", "smooth loss"):
        assert distance(alone[job]["weights"], alone["shrunk"]["weights"]) > 1e-4
    assert distance(alone["peeked"]["weights"], plain) == 0  # the fit keeps its own position


@several
def test_ranks_that_disagree_fail_at_once_with_the_same_error(
    count: int, reports: Reports, folder: Path
) -> None:
    def other(what: str, first: str, second: str) -> str:
        return (
            f"ValueError: all ranks must have the same {what}: rank 0 has {first}; rank 1 has "
            f"{second}"
        )

    def other_part(part: str, rank: int, pieces: int) -> str:
        return (
            f"ValueError: the {part} batches of rank {rank} of {count} are rank 0's parts of "
            f"{pieces}: give their DataLoader rank=ranks.rank and world_size=ranks.world_size"
        )

    watched = "monitor valid_loss, min_delta 0.0"
    rates = "start_lr 1e-07, growth 100000000.0"
    everywhere = {
        "same part": other_part("training", 1, count),
        "other cut": other_part("training", 0, 2 * count),
        "half cut": other_part("validation", 1, count),
        "mixed": other("world_size of the validation batches", "1", str(count)),
        "epochs": other("number of epochs", "1", "2"),
        "rate": other("learning rate", "0.5", "0.1"),
        "decay": other("weight decay", "0.0", "0.1"),
        "seed": other("seed of the training batches", "0", "1"),
        "layers": other("layers", "none", "(1): Dropout(p=0.5, inplace=False)"),
        "metrics": other("metrics", "batch_accuracy", "none"),
        "checkpoint": other("Checkpoint", "every 3", "none"),
        "stopping": other("EarlyStopping", f"patience 1, {watched}", "none"),
        "patience": other("EarlyStopping", f"patience 1, {watched}", f"patience 2, {watched}"),
        "custom": other("Warmup_2", "2 epochs", "3 epochs"),
        "best": other("callbacks with a state", "SaveBest", "none"),
        "resume": other("resume", "a checkpoint", "none"),
        "search": other(
            "lr_find", *(f"{rates}, num_it {number}, stop_div True" for number in (20, 21))
        ),
        "lazy": "ValueError: the layer '0' has no shapes yet, and several processes share the "
        "weights before the first batch: call the model on a batch before the Learner is made, as "
        "model(torch.zeros(2, 784)) does",
        "validate": "ValueError: the validation batches are cut on some ranks and not on others: "
        "give the DataLoader of each rank= and world_size=",
    }
    for rank, report in enumerate(reports[count]):
        failure = "RuntimeError: no memory \udcff"
        assert report["disagreements"] == everywhere | {
            "predict": other_part("validation", rank, 2 * count),
            "done": failure if rank == 0 else f"RuntimeError: rank 0 failed: {failure}",
            "lone": f"ValueError: the training batches are rank {rank}'s parts of {count}, and "
            "this Learner has one process: give it ranks=, which init_distributed() gives, or make "
            "their DataLoader without rank= and world_size=",
            "warned": f"torchrun started {count} processes, and this Learner has no ranks=: each "
            "process trains by itself, on all images; give it ranks=, which init_distributed() "
            "gives",
        }


@several
def test_a_callback_that_fails_on_an_empty_part_is_told_so(count: int, reports: Reports) -> None:
    notes = {0: ["1 images", "in the callback FailAtLast, after_loss"]} | {
        rank: [
            "0 images",
            "in the callback FailAtLast, after_loss",
            f"on rank {rank}, whose part of this batch is empty: return from the callback where "
            "len(learn.yb) is 0",
        ]
        for rank in range(1, count)
    }
    assert {rank: report["noted"] for rank, report in enumerate(reports[count])} == notes


@several
def test_every_ranks_bytes_reach_all_ranks(count: int, reports: Reports) -> None:
    for report in reports[count]:
        assert report["gathered"] == [list(range(rank)) for rank in range(count)]


@several
def test_the_first_ranks_bytes_reach_all(count: int, reports: Reports) -> None:
    for report in reports[count]:
        assert report["shared"] == ([1, 2, 3], [], [1, 2, 3])


# The command in several processes.


def end_one_rank(agent: subprocess.Popen[str], workers: dict[int, int]) -> None:
    (last,) = (pid for pid, rank in workers.items() if rank == 1)
    os.kill(last, signal.SIGKILL)


def end_torchrun(agent: subprocess.Popen[str], workers: dict[int, int]) -> None:
    agent.terminate()


@pytest.mark.parametrize("end", [end_one_rank, end_torchrun])
def test_when_one_ends_all_end_and_no_part_of_a_file_stays(end: Any, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    checkpoint = folder / "checkpoint.safetensors"
    arguments = ["train", "--epochs", "9999", "--checkpoint-every", "5", "--out", str(folder)]
    with torchrun(2, "-m", "mnist_sgd", *arguments, cwd=tmp_path) as agent:
        limit = time.monotonic() + PATIENCE
        while not checkpoint.exists():
            assert agent.poll() is None, (tmp_path / "stderr").read_text()
            assert time.monotonic() < limit
            time.sleep(0.05)
        workers = workers_of(agent.pid)
        assert sorted(workers.values()) == [0, 1]
        end(agent, workers)
        assert agent.wait(PATIENCE) != 0
        assert all(map(has_ended, workers))
    assert [path.name for path in folder.iterdir()] == ["checkpoint.safetensors"]
    assert parse(checkpoint.read_bytes())["checkpoint"] == 2
    assert (tmp_path / "stdout").read_text().count("epoch ") == 1


def figures(lines: list[str]) -> list[float]:
    """The numbers of a printed table, row by row."""
    return [float(cell) for line in lines[1:11] for cell in line.split()[:4]]


def test_the_command_in_two_processes_prints_and_writes_once(
    tmp_path: Path, trained: TrainedFiles
) -> None:
    with torchrun(2, "-m", "mnist_sgd", "train", cwd=tmp_path) as agent:
        assert agent.wait(PATIENCE) == 0, (tmp_path / "stderr").read_text()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["model.onnx", "model.safetensors", "stderr", "stdout"]
    ours, theirs = (tmp_path / "stdout").read_text().splitlines(), trained.stdout.splitlines()
    assert [line.split(" ")[0] for line in ours] == [line.split(" ")[0] for line in theirs]
    assert figures(ours) == pytest.approx(figures(theirs), abs=1e-5)


# Without other processes.


def test_without_torchrun_there_is_one_process_and_nothing_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    values = torch.ones(3)
    loader = DataLoader(random_set(8))
    learn = Learner(DataLoaders(loader, loader), nn.Linear(2, 1))
    with init_distributed() as ranks:
        assert ranks == DistributedContext(0, 1, torch.device("cpu")) == SINGLE_PROCESS
        assert ranks.is_main_process
        learn.training = True
        assert learn._functions() == (learn.model, learn.loss_func)
        assert to_device(loader, ranks.device) is loader
        assert ranks.all_reduce_sum(values) is values
        assert ranks.all_reduce_mean(values) is values
        assert ranks.broadcast_bytes(b"abc") == b"abc"
        assert ranks.run_on_main_process(lambda: b"abc") == b"abc"
        assert torch.equal(ranks.all_gather(values), values[None])
        broadcast_buffers([nn.BatchNorm1d(3)], ranks)
        ranks.check_same_on_all_ranks("seeds", "3")
        assert not torch.distributed.is_initialized()


@pytest.mark.parametrize(
    ("rank", "world_size", "local_rank"), [("2", "2", "0"), ("-1", "2", "0"), ("0", "2", "first")]
)
def test_an_environment_that_torchrun_did_not_make_is_refused(
    rank: str, world_size: str, local_rank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", world_size)
    monkeypatch.setenv("LOCAL_RANK", local_rank)
    message = (
        "the environment is not one of torchrun: "
        f"RANK={rank}, WORLD_SIZE={world_size}, LOCAL_RANK={local_rank}"
    )
    with pytest.raises(ValueError, match=f"^{message}$"), init_distributed():
        pass


def test_a_rank_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_RANK", "2")
    message = (
        "^local rank 2 needs a GPU of its own, and torch sees 2 here; "
        "start fewer ranks or train on the cpu$"
    )
    with pytest.raises(ValueError, match=message), init_distributed("cuda"):
        pass


def test_without_a_gpu_the_option_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    message = (
        "^--device cuda: PyTorch finds no GPU here; train on the cpu, or see that the driver and a "
        "PyTorch with CUDA are installed$"
    )
    with pytest.raises(ValueError, match=message), init_distributed("cuda"):
        pass


def test_one_process_refuses_loaders_that_are_split_between_ranks() -> None:
    whole, part = (DataLoader(random_set(20), 8, rank=0, world_size=n) for n in (1, 2))
    for dls, name in (
        (DataLoaders(part, whole), "training"),
        (DataLoaders(whole, part), "validation"),
    ):
        learn = Learner(dls, create_model("linear", 0))
        message = (
            f"the {name} batches are rank 0's parts of 2, and this Learner has one process: give "
            "it ranks=, which init_distributed() gives, or make their DataLoader without rank= and "
            "world_size="
        )
        with learn.no_logging(), pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            learn.fit(1)
        assert learn.recorder.lrs == []
    with pytest.raises(ValueError, match=r"^the validation batches are rank 0's parts of 2, "):
        learn.validate()
    assert len(learn.get_preds()[0]) == 20  # all images in order, however the loader is split


@pytest.mark.parametrize("drop_last", [False, True])
def test_a_parts_loss_counts_by_its_size_without_the_loaders_whole_state(
    drop_last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state has digests of the data and of the augmentation, which take time."""
    loader = DataLoader(random_set(45), 8, drop_last=drop_last, rank=1, world_size=2)
    monkeypatch.setattr(loader, "state_dict", lambda: pytest.fail("built for each batch"))
    ranks = DistributedContext(1, 2)
    loss = SyncedLoss(lambda predictions, targets: predictions.sum() * 0 + 1, loader, ranks)
    weights = [(len(yb), float(loss(torch.ones(len(yb), 1), yb))) for _, yb in loader]
    assert loss.weight == (1 if drop_last else 4 / 5)
    assert weights == [(4, 1.0)] * 5 + ([] if drop_last else [(2, pytest.approx(4 / 5))])


def test_on_the_way_to_a_device_no_more_batches_are_alive_than_on_the_cpu() -> None:
    """The loader fills the memory of a batch again once it is free: one or two are enough."""

    def memory(ranks: DistributedContext) -> set[int]:
        seen: set[int] = set()
        for xb, yb in to_device(Told(DataLoader(random_set(64), 8), seen), ranks.device):
            del xb, yb
        return seen

    class Told:
        def __init__(self, loader: DataLoader, seen: set[int]) -> None:
            self.batches, self.seen = iter(loader), seen

        def __iter__(self) -> "Told":
            return self

        def __next__(self) -> tuple[Tensor, Tensor]:
            batch = next(self.batches)
            self.seen.add(batch[0].data_ptr())
            return batch

    assert (
        len(memory(DistributedContext(device=torch.device("meta"))))
        == len(memory(SINGLE_PROCESS))
        == 1
    )


def test_batches_go_to_the_ranks_device() -> None:
    """On torch's meta device, which is any device but the CPU."""
    ranks = DistributedContext(device=torch.device("meta"))
    ((xb, yb),) = to_device(DataLoader(random_set(8), 8), ranks.device)
    assert (xb.device.type, tuple(xb.shape)) == ("meta", (8, 784))
    assert (yb.device.type, tuple(yb.shape)) == ("meta", (8, 1))


# The guide, docs/several_machines.md.


def test_after_two_dashes_torchrun_takes_no_option_of_train_for_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    options = sorted(set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out)))
    assert len(options) > 20
    for option in options:
        given = get_args_parser().parse_args(["-m", "--", "mnist_sgd", "train", option])
        assert (given.training_script, given.training_script_args) == (
            "mnist_sgd",
            ["train", option],
        )


def test_the_guide_names_options_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    guide = Path(__file__).parents[2] / "docs" / "several_machines.md"
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    known = capsys.readouterr().out + get_args_parser().format_help()
    options = set(re.findall(r"--[a-z][a-z-]+", guide.read_text()))
    assert len(options) >= 13
    assert options <= set(re.findall(r"--[a-z][a-z-]+", known))
