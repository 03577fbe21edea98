"""Batches come to a device as they are; without a GPU the same path copies from CPU to CPU."""

import pytest
import torch

from image_sets import random_set
from mnist_sgd import DataLoader
from mnist_sgd.loader.device import DeviceCopy

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
    ),
]

every_device = pytest.mark.parametrize("device", DEVICES)


@every_device
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8], ids=str)
@pytest.mark.parametrize("flatten", [True, False])
def test_an_epoch_on_the_device_is_the_loaders(
    device: str, dtype: torch.dtype, flatten: bool
) -> None:
    loader = DataLoader(random_set(50), 8, shuffle=True, dtype=dtype, flatten=flatten)
    copy = DeviceCopy(device)
    for epoch in range(3):
        here = [copy(xb, yb) for xb, yb in loader]  # the last batch is a small one
        loader.set_epoch(epoch)
        for (x_there, y_there), (xb, yb) in zip(here, loader, strict=True):
            assert (x_there.device.type, y_there.device.type) == (device, device)
            assert torch.equal(x_there.cpu(), xb)
            assert torch.equal(y_there.cpu(), yb)


@every_device
def test_what_was_copied_does_not_follow_its_source(device: str) -> None:
    copy = DeviceCopy(device)
    source = torch.arange(6.0).reshape(2, 3)
    there, same_there = copy(source, source)
    source.zero_()
    for _ in range(5):  # the buffers have come round
        copy(torch.ones(2, 3), torch.ones(2, 3))
    assert there.tolist() == same_there.tolist() == [[0, 1, 2], [3, 4, 5]]


@every_device
def test_nothing_runs_ahead_so_the_loaders_state_is_that_of_the_batch_at_hand(
    device: str,
) -> None:
    loader = DataLoader(random_set(20), 8)
    copy = DeviceCopy(device)
    seen = []
    for xb, yb in loader:
        copy(xb, yb)
        seen.append(loader.state_dict()["samples_seen"])
    assert seen == [8, 16, 20]


@every_device
def test_batches_may_grow_change_their_type_and_be_empty(device: str) -> None:
    copy = DeviceCopy(device)
    for tensor in [
        torch.ones(2, 3),
        torch.empty(0, 3),
        torch.full((4, 5), 7, dtype=torch.uint8),
        torch.arange(60).reshape(3, 4, 5),
    ]:
        for _ in range(3):
            for there in copy(tensor, tensor[:1]):
                assert there.dtype == tensor.dtype
                assert torch.equal(there.cpu(), tensor[: len(there)])
