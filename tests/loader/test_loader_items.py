"""A DataLoader takes other data than images too, as it is, with the same order, state and ranks."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from image_sets import as_bytes, joined, random_set, taken
from mnist_sgd import (
    SGD,
    Augmentation,
    DataLoader,
    DataLoaders,
    ImageSet,
    Learner,
    batch_accuracy,
    create_model,
    first,
    load_data,
    mnist_loss,
    mnist_sample,
)

README = Path(__file__).parents[2] / "README.md"
Tensor = torch.Tensor


def chapters(part: ImageSet) -> tuple[Tensor, Tensor]:
    """The chapter's tensors: float32 [N, 784] in 0 to 1, int64 [N, 1]."""
    x = torch.tensor(part.images).reshape(-1, 784).float() / 255
    return x, torch.tensor(part.labels).to(torch.int64)[:, None]


def pairs(count: int) -> list[tuple[Tensor, Tensor]]:
    """Items that tell their own number."""
    return [(torch.full((3,), float(i)), torch.tensor([i])) for i in range(count)]


class Squares(Dataset[tuple[float, int]]):
    """Items that are made when they are asked for."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> tuple[float, int]:
        if not 0 <= index < 20:
            raise IndexError(index)
        return index**2 / 2, index


def table(loaders: list[DataLoader]) -> list[list[str]]:
    """The lines that the chapter's ten epochs print, without the times."""
    lines: list[str] = []
    loaders[0].set_epoch(0)
    learn = Learner(
        DataLoaders(*loaders),
        create_model("linear", 0),
        opt_func=SGD,
        loss_func=mnist_loss,
        metrics=batch_accuracy,
    )
    learn.logger = lines.append
    learn.fit(10, lr=1.0)
    return [line.split()[:4] for line in lines]


@pytest.mark.parametrize("form", [lambda x, y: list(zip(x, y, strict=True)), TensorDataset])
def test_the_chapters_own_data_set_gives_the_table_of_our_images(
    form: Callable[[Tensor, Tensor], Any],
) -> None:
    loaders = [DataLoader(form(*chapters(part)), batch_size=256) for part in mnist_sample()]
    xb, yb = first(loaders[0])
    assert (xb.shape, xb.dtype, yb.shape, yb.dtype) == (
        (256, 784),
        torch.float32,
        (256, 1),
        torch.int64,
    )
    assert [len(loader) for loader in loaders] == [49, 8]
    assert table(loaders) == table([DataLoader(part, batch_size=256) for part in mnist_sample()])


def test_the_readmes_table_is_what_the_chapters_training_prints() -> None:
    """Up to the last digits, in which processors differ."""
    shown = re.search(r"^epoch .*?(?=^$)", README.read_text(), re.MULTILINE | re.DOTALL)
    assert shown is not None
    rows = [line.split()[:4] for line in shown[0].splitlines()]
    printed = table([DataLoader(part, batch_size=256) for part in mnist_sample()])
    assert printed[0] == rows[0]
    assert [row[0] for row in printed] == [row[0] for row in rows]
    for line, row in zip(printed[1:], rows[1:], strict=True):
        assert [float(x) for x in line] == pytest.approx([float(x) for x in row], abs=1e-5)


OPTIONS = {
    "count": st.integers(1, 60),
    "batch_size": st.integers(1, 25),
    "shuffle": st.booleans(),
    "drop_last": st.booleans(),
    "seed": st.integers(0, 2**64 - 1),
}


@settings(deadline=None, max_examples=40)
@given(world_size=st.integers(1, 5), **OPTIONS)
def test_the_order_is_that_of_images_for_any_number_of_ranks(
    count: int, batch_size: int, shuffle: bool, drop_last: bool, seed: int, world_size: int
) -> None:
    options: dict[str, Any] = {"shuffle": shuffle, "drop_last": drop_last, "seed": seed}
    numbers = np.zeros((count, 28, 28), np.uint8)
    numbers[:, 0, 0] = np.arange(count)
    images = ImageSet(numbers, np.zeros(count, np.uint8), ("a", "b"))
    like = DataLoader(images, batch_size, dtype=torch.uint8, **options)
    whole = DataLoader(pairs(count), batch_size, **options)
    parts = [
        DataLoader(pairs(count), batch_size, rank=rank, world_size=world_size, **options)
        for rank in range(world_size)
    ]
    assert len(whole) == len(like)
    for _ in range(2):
        for (xb, _), (x, y), *shares in zip(like, whole, *parts, strict=True):
            assert y.flatten().tolist() == xb[:, 0].tolist() == x[:, 0].tolist()
            assert joined(map(as_bytes, shares)) == as_bytes((x, y))
            sizes = [len(share) for share, _ in shares]
            assert max(sizes) - min(sizes) <= 1
            assert {share.shape[1:] for share, _ in shares} == {(3,)}


@settings(deadline=None, max_examples=20)
@given(at=st.integers(0, 30), **OPTIONS)
def test_a_state_goes_on_with_the_same_items(
    count: int, batch_size: int, shuffle: bool, drop_last: bool, seed: int, at: int
) -> None:
    options: dict[str, Any] = {"shuffle": shuffle, "drop_last": drop_last, "seed": seed}
    loader, other = (DataLoader(pairs(count), batch_size, **options) for _ in range(2))
    taken(loader)
    batches = iter(loader)
    for _ in range(min(at, len(loader))):
        next(batches)
    other.load_state_dict(loader.state_dict())
    assert taken(other) == [as_bytes(batch) for batch in batches]
    assert taken(other) == taken(loader)
    assert loader.state_dict() == other.state_dict()


def test_a_state_of_other_items_is_refused() -> None:
    state = DataLoader(pairs(20), 4).state_dict()
    changed = pairs(20)
    changed[13] = (changed[13][0] + 1, changed[13][1])
    for other in (pairs(19), changed, [(x.double(), y) for x, y in pairs(20)], Squares()):
        with pytest.raises(ValueError, match=r"^the state is of another dataset: "):
            DataLoader(other, 4).load_state_dict(state)
    DataLoader(tuple(pairs(20)), 4).load_state_dict(state)


def test_a_batch_is_the_holders_own_and_the_items_stay_as_they_are() -> None:
    x, y = torch.rand(20, 3), torch.arange(20)[:, None]
    before = x.clone()
    loader = DataLoader(TensorDataset(x, y), 8)
    held = list(loader)
    for xb, _ in held:
        xb.zero_()
    assert torch.equal(x, before)
    assert torch.equal(torch.cat([xb for xb, _ in loader]), before)


class Inverted(TensorDataset):
    """Inverts each item of the tensors."""

    def __getitem__(self, index: Any) -> tuple[Tensor, Tensor]:
        x, y = (each[index] for each in self.tensors)
        return 255 - x, 1 - y


class InvertedList(list[Any]):
    """Inverts each item of the list."""

    def __getitem__(self, index: Any) -> Any:
        x, y = super().__getitem__(index)
        return 255 - x, 1 - y


class InvertedTuple(tuple[Any, ...]):
    """Inverts each item of the tuple."""

    def __getitem__(self, index: Any) -> Any:
        x, y = super().__getitem__(index)
        return 255 - x, 1 - y


def bytes_and_labels(count: int = 12) -> tuple[Tensor, Tensor]:
    part = random_set(count)
    return torch.tensor(part.images), torch.tensor(part.labels).long()


def chosen(x: Tensor, y: Tensor) -> Any:
    return Subset(Inverted(x, y), [5, 3, 8])


def concatenated(x: Tensor, y: Tensor) -> Any:
    return ConcatDataset([TensorDataset(x, y), Inverted(x, y)])


def listed(x: Tensor, y: Tensor) -> Any:
    return InvertedList(zip(x, y, strict=True))


def in_a_tuple(x: Tensor, y: Tensor) -> Any:
    return InvertedTuple(zip(x, y, strict=True))


@pytest.mark.parametrize("form", [Inverted, listed, in_a_tuple, chosen, concatenated])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_a_custom_data_set_gives_the_batches_of_torchs_loader(
    form: Callable[[Tensor, Tensor], Any], dtype: torch.dtype
) -> None:
    x, y = bytes_and_labels()
    data = form(x.to(dtype), y)
    for ours, theirs in zip(DataLoader(data, 5), torch.utils.data.DataLoader(data, 5), strict=True):
        assert as_bytes(ours) == as_bytes(theirs)
        assert [each.dtype for each in ours] == [each.dtype for each in theirs]


class Rolled(Dataset[tuple[Tensor, int]]):
    """Shifts an image at random each time it is accessed, and counts the accesses."""

    def __init__(self, convert: Callable[[Tensor], Tensor]) -> None:
        self.x, self.y = bytes_and_labels()
        self.convert = convert
        self.asked = 0

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        self.asked += 1
        return self.convert(self.x[index].roll(self.asked, 1)), int(self.y[index])


@pytest.mark.parametrize("convert", [Tensor.byte, Tensor.float])
def test_random_items_are_drawn_again_in_every_epoch(
    convert: Callable[[Tensor], Tensor],
) -> None:
    data = Rolled(convert)
    loader = DataLoader(data, 5)
    assert data.asked == 1  # to learn what an item is
    for epoch in range(1, 4):
        assert taken(loader) != taken(loader)
        assert data.asked == 1 + epoch * 2 * len(data)
    once = DataLoader([Rolled(Tensor.byte)[i] for i in range(12)], 5)
    assert taken(once) == taken(once)


def test_what_needs_images_is_refused_for_a_custom_data_set_with_what_to_do(
    tmp_path: Path,
) -> None:
    data = Rolled(Tensor.byte)
    with pytest.raises(ValueError, match=r".") as caught:
        DataLoader(data, 5, mean=0.1, flatten=False)
    assert str(caught.value) == (
        "flatten and mean cannot be used here: the items of a Rolled may change in every epoch, so "
        "they are batched as they are; if they never change, DataLoader(list(dataset)) reads them "
        "once, as images"
    )
    loader = DataLoader(data, 5)
    learn = Learner(DataLoaders(loader, loader), create_model("linear", 0))
    with pytest.raises(TypeError) as refused:
        learn.export(tmp_path / "model.onnx")
    assert str(refused.value) == (
        "class names and pixels come from a mnist_sgd.DataLoader of an ImageSet; the validation "
        "batches come from a DataLoader of a Rolled, which has neither; to predict and export, "
        "give learn.dls.valid a mnist_sgd.DataLoader of an ImageSet, or of a list or a "
        "TensorDataset of uint8 images of 784 pixels and labels 0 and 1"
    )


def test_every_kind_of_pairs_is_batched_as_torch_does() -> None:
    class Many(Squares):
        def __getitems__(self, rows: list[int]) -> list[tuple[float, int]]:
            return [self[row] for row in rows]

    for data in (Squares(), Many()):
        xb, yb = first(DataLoader(data, 4))
        assert (xb.tolist(), yb.tolist()) == ([0.0, 0.5, 2.0, 4.5], [0, 1, 2, 3])
        assert (xb.dtype, yb.dtype) == (torch.float64, torch.int64)
    arrays = [(np.full((2, 2), i, np.float32), np.int64(i)) for i in range(5)]
    xb, yb = first(DataLoader(arrays, 3, shuffle=True, num_threads=4))
    assert (xb.shape, xb.dtype, yb.shape) == ((3, 2, 2), torch.float32, (3,))
    bfloat = TensorDataset(torch.rand(6, 5).bfloat16(), torch.rand(6))
    assert first(DataLoader(bfloat, 6))[0].dtype == torch.bfloat16
    assert DataLoader(bfloat, 6).state_dict()["dataset"] > 0


@pytest.mark.parametrize("shape", [(784,), (28, 28), (1, 28, 28)])
@pytest.mark.parametrize("form", ["tensors", "pairs", "arrays"])
def test_images_of_bytes_take_the_core(shape: tuple[int, ...], form: str) -> None:
    data = random_set(30)
    x, y = torch.tensor(data.images).reshape(-1, *shape), torch.tensor(data.labels)[:, None]
    given: Any = {
        "tensors": TensorDataset(x, y.long()),
        "pairs": list(zip(x, y, strict=True)),
        "arrays": [(a.numpy(), int(b)) for a, b in zip(x, y, strict=True)],
    }[form]
    augment = Augmentation(degrees=10)
    options: dict[str, Any] = {"shuffle": True, "seed": 3, "augment": augment, "mean": 0.5}
    loader, like = DataLoader(given, 8, **options), DataLoader(data, 8, **options)
    assert taken(loader) == taken(like)
    assert loader.dataset.classes == ("0", "1")
    assert first(DataLoader(given, 8, dtype=torch.uint8))[0].dtype == torch.uint8


def test_bytes_with_other_labels_are_refused_or_taken_as_they_are() -> None:
    x = torch.zeros(4, 784, dtype=torch.uint8)
    with pytest.raises(ValueError, match="labels must be 0 or 1, got 9 at index 2"):
        DataLoader(TensorDataset(x, torch.tensor([0, 1, 9, 1])))
    xb, _ = first(DataLoader(TensorDataset(x, torch.rand(4)), 4))
    assert (xb.dtype, xb.shape) == (torch.uint8, (4, 784))


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"mean": 0.1307, "std": 0.3081}, "mean and std"),
        ({"augment": Augmentation(degrees=1)}, "augment"),
        ({"dtype": torch.bfloat16}, "dtype"),
        ({"flatten": False}, "flatten"),
    ],
)
def test_what_changes_images_is_refused_for_other_items(
    options: dict[str, Any], names: str
) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        DataLoader(pairs(4), 2, **options)
    assert str(caught.value) == (
        f"{names} cannot be used here: only images of uint8 [28, 28] with labels 0 and 1 can be "
        "changed, and the items are torch.float32 [3] and torch.int64 [1]"
    )


NEEDED = (
    "a data set must be an ImageSet, a TensorDataset, or anything with a length and an index that "
    "returns (x, y) pairs, got "
)


def endless() -> Iterator[Any]:
    yield from pairs(2)


@pytest.mark.parametrize(
    ("dataset", "text"),
    [
        (7, f"{NEEDED}int"),
        (None, f"{NEEDED}NoneType"),
        ("photos", f"{NEEDED}str"),
        ({"x": 1}, f"{NEEDED}dict"),
        (zip([1], [2], strict=True), f"{NEEDED}zip; use list() to make a data set of it"),
        (endless(), f"{NEEDED}generator; use list() to make a data set of it"),
        (DataLoader(pairs(3)), f"{NEEDED}DataLoader; an iterable of batches needs no loader"),
        (torch.rand(5, 784), "each item of a data set must be a pair (x, y), got Tensor"),
        ([1, 2], "each item of a data set must be a pair (x, y), got int"),
        (
            (torch.rand(5, 784), torch.ones(5, 1)),
            "each item of a data set must be a pair (x, y), got Tensor; use "
            "list(zip(x, y)) for two arrays",
        ),
        (
            [np.zeros((5, 784)), np.zeros(5)],
            "each item of a data set must be a pair (x, y), got ndarray; use "
            "list(zip(x, y)) for two arrays",
        ),
        ([(1, 2, 3)], "each item of a data set must be a pair (x, y), got tuple"),
        (
            [("a", 1)],
            "the items of a data set must be pairs of tensors, arrays or numbers, got str and int",
        ),
        (
            [(object(), 1)],
            "the items of a data set must be pairs of tensors, arrays or numbers, got object and "
            "int",
        ),
        (
            TensorDataset(torch.rand(3)),
            "a TensorDataset must have two tensors, x and y, got 1",
        ),
    ],
)
def test_what_is_no_data_set_is_refused_with_a_sentence(dataset: Any, text: str) -> None:
    with pytest.raises(TypeError) as caught:
        DataLoader(dataset)
    assert str(caught.value) == text


def test_what_load_data_gives_is_two_sets(tmp_path: Path) -> None:
    from pictures import fill

    fill(tmp_path, {"cat": 20, "dog": 20})
    with pytest.raises(TypeError, match=r"got LoadedData; use its train or its valid$"):
        DataLoader(load_data(tmp_path))  # type: ignore[arg-type]


@pytest.mark.parametrize("dataset", [[], TensorDataset(torch.rand(0, 3), torch.rand(0, 1))])
def test_an_empty_data_set_is_refused(dataset: Any) -> None:
    with pytest.raises(ValueError, match=r"^the data set is empty; at least 1 item is needed$"):
        DataLoader(dataset)


def test_an_unknown_option_is_refused_with_the_name_that_it_has_here() -> None:
    data: Any = random_set(4)
    for options, text in (
        ({"bs": 64, "batch_size": 32}, "give batch_size or fastai's name for it, bs, not both"),
        ({"num_workers": 2}, "DataLoader has no option 'num_workers'; use num_threads"),
        ({"pin": True}, "DataLoader has no option 'pin'"),
    ):
        loader: Any = DataLoader
        with pytest.raises(TypeError) as caught:
            loader(data, **options)
        assert str(caught.value) == text


BATCHES = "must be an iterable of batches (xb, yb), such as a DataLoader, got"
ITSELF = "; make batches with DataLoader(dataset, batch_size=256)"


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (random_set(4), f"must be batches, got the data set itself (ImageSet){ITSELF}"),
        (pairs(4), f"must be batches, got the data set itself (list){ITSELF}"),
        (
            TensorDataset(torch.rand(4, 3), torch.rand(4, 1)),
            f"must be batches, got the data set itself (TensorDataset){ITSELF}",
        ),
        (None, f"{BATCHES} NoneType"),
        ("train", f"{BATCHES} str"),
        (torch.rand(4, 784), f"{BATCHES} Tensor"),
        (
            endless(),
            "must yield its batches again in each epoch, but a generator yields them once; use "
            "list() to keep them",
        ),
    ],
)
def test_a_pair_of_loaders_takes_no_sets(wrong: Any, text: str) -> None:
    good = DataLoader(random_set(4))
    for name, arguments in (("train", (wrong, good)), ("valid", (good, wrong))):
        with pytest.raises(TypeError) as caught:
            DataLoaders(*arguments)
        assert str(caught.value) == f"{name} {text}"
    batches = [first(good)]
    assert DataLoaders(batches, batches).train is batches


@pytest.mark.parametrize(
    ("loader", "kind"),
    [(DataLoader, "a DataLoader of a list"), (torch.utils.data.DataLoader, "torch DataLoader")],
)
def test_a_learner_says_what_items_lack_to_predict_and_export(
    loader: Callable[..., Any], kind: str, tmp_path: Path
) -> None:
    part = random_set(20)
    x, y = chapters(part)
    images, items = DataLoader(part, 8), loader(list(zip(x, y, strict=True)), 8)
    learn = Learner(DataLoaders(images, items), create_model("linear", 0))
    text = (
        "class names and pixels come from a mnist_sgd.DataLoader of an ImageSet; the validation "
        f"batches come from {kind}, which has neither; to predict and export, give learn.dls.valid "
        "a mnist_sgd.DataLoader of an ImageSet, or of a list or a TensorDataset of uint8 images of "
        "784 pixels and labels 0 and 1"
    )
    for call in (
        lambda: learn.predict(part.images[0]),
        lambda: learn.export(tmp_path / "model.onnx"),
    ):
        with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
            call()
    learn.dls.valid = images
    assert learn.export(tmp_path / "model.onnx")
    other = Learner(DataLoaders(items, images), create_model("linear", 0), lr=0.1)
    with other.no_logging():
        other.fit(1)
    assert other.export(tmp_path / "model.onnx")


def test_items_are_not_normalised() -> None:
    x, y = chapters(random_set(20))
    loader = DataLoader(list(zip(x, y, strict=True)), 8)
    with pytest.raises(TypeError, match="this loader's data set does not hold uint8 images"):
        loader.normalize(random_set(20).images)
