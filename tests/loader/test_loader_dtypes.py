"""A batch can be float32, bfloat16 or the bytes themselves, and nothing else changes with that."""

import ctypes
import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from image_sets import indices, random_set
from mnist_sgd import DataLoader, _core

DTYPES = [torch.float32, torch.bfloat16, torch.uint8]

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


@every_dtype
@pytest.mark.usefixtures("either_exchange")
@pytest.mark.parametrize("flatten", [True, False])
@pytest.mark.parametrize("num_threads", [1, 3])
def test_a_batch_is_torchs_conversion_of_its_images(
    dtype: torch.dtype, flatten: bool, num_threads: int
) -> None:
    data = random_set(100)
    loader = DataLoader(
        data, 32, shuffle=True, seed=3, dtype=dtype, flatten=flatten, num_threads=num_threads
    )
    for epoch in range(2):
        order = indices(loader, epoch)
        for rows, (xb, yb) in zip(order, loader, strict=True):
            pixels = torch.tensor(data.images[rows])
            theirs = pixels if dtype == torch.uint8 else (pixels.float() / 255).to(dtype)
            assert xb.dtype == dtype
            assert xb.shape == ((len(rows), 784) if flatten else (len(rows), 1, 28, 28))
            assert xb.is_contiguous()
            assert torch.equal(xb, theirs.reshape(xb.shape))
            assert yb.dtype == torch.int64
            assert yb.tolist() == data.labels[rows, None].tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_mean_and_a_deviation_are_applied_before_the_rounding(dtype: torch.dtype) -> None:
    data = random_set(9)
    ((xb, _),) = DataLoader(data, 9, mean=0.1307, std=0.3081, dtype=dtype)
    theirs = (torch.tensor(data.images).float() / 255 - 0.1307) / 0.3081
    assert torch.equal(xb, theirs.reshape(9, 784).to(dtype))


@every_dtype
def test_normalize_gives_what_a_batch_holds(dtype: torch.dtype) -> None:
    data = random_set(5)
    for flatten in (True, False):
        loader = DataLoader(data, 5, dtype=dtype, flatten=flatten)
        ((xb, _),) = loader
        ours = loader.normalize(data.images)
        assert ours.dtype == dtype
        assert torch.equal(ours, xb)
        ours.zero_()  # it is the caller's own
        assert np.array_equal(data.images, random_set(5).images)


@every_dtype
def test_a_batch_that_is_held_keeps_its_values(dtype: torch.dtype) -> None:
    data = random_set(60)
    loader = DataLoader(data, 7, shuffle=True, dtype=dtype)
    held = [(xb, yb, xb.clone(), yb.clone()) for _ in range(3) for xb, yb in loader]
    for xb, yb, x_then, y_then in held:
        assert torch.equal(xb, x_then)
        assert torch.equal(yb, y_then)


@every_dtype
def test_a_view_holds_its_batch_when_the_tensors_are_gone(dtype: torch.dtype) -> None:
    loader = DataLoader(random_set(64), 8, dtype=dtype)
    batches = iter(loader)
    view = next(batches)[0][3:5]
    then = view.clone()
    for _ in batches:
        pass
    assert torch.equal(view, then)


@every_dtype
def test_values_lie_on_a_cache_line(dtype: torch.dtype) -> None:
    for xb, _ in DataLoader(random_set(20), 3, dtype=dtype):
        assert xb.data_ptr() % 64 == 0


def test_a_state_goes_on_under_another_dtype() -> None:
    data = random_set(50)
    floats = DataLoader(data, 8, shuffle=True)
    running = iter(floats)
    next(running)
    raw = DataLoader(data, 8, shuffle=True, dtype=torch.uint8)
    raw.load_state_dict(floats.state_dict())
    for (xb, _), (bytes_, _) in zip(running, raw, strict=True):
        assert torch.equal(xb, bytes_.float() / 255)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"dtype": torch.float16},
            "dtype must be torch.float32, torch.bfloat16 or torch.uint8, got torch.float16",
        ),
        (
            {"dtype": "float32"},
            "dtype must be torch.float32, torch.bfloat16 or torch.uint8, got 'float32'",
        ),
        (
            {"dtype": torch.uint8, "mean": 0.1, "std": 0.5},
            "torch.uint8 keeps the pixels unchanged, so mean and std must be 0 and 1, "
            "got 0.1 and 0.5",
        ),
    ],
)
def test_what_is_no_dtype_of_a_batch_is_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        DataLoader(random_set(4), **changes)


EXCHANGE = b"dlpack_exchange_api"
OTHER = b"other"  # a capsule keeps the pointer, so its name must stay

new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
new_capsule.restype = ctypes.py_object
pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
pointer_of.argtypes = (ctypes.py_object, ctypes.c_char_p)
pointer_of.restype = ctypes.c_void_p

TABLE = getattr(torch.Tensor, "__dlpack_c_exchange_api__", None)  # torch 2.10 and newer

with_a_table = pytest.mark.skipif(TABLE is None, reason="this torch has no table of DLPack")


class DLPackExchangeAPI(ctypes.Structure):
    """A framework's table of functions, as DLPack lays it out."""

    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("prev_api", ctypes.c_void_p),
        ("managed_tensor_allocator", ctypes.c_void_p),
        ("managed_tensor_from_py_object_no_sync", ctypes.c_void_p),
        ("managed_tensor_to_py_object_no_sync", ctypes.c_void_p),
        ("dltensor_from_py_object_no_sync", ctypes.c_void_p),
        ("current_work_stream", ctypes.c_void_p),
    )

    def capsule(self, name: bytes = EXCHANGE) -> object:
        return new_capsule(ctypes.addressof(self), name, None)


def core_loader(exchange: object) -> _core.Loader:
    data = random_set(8)
    return _core.Loader(
        data.images,
        data.labels,
        flatten=True,
        batch_size=4,
        shuffle=False,
        drop_last=False,
        seed=0,
        rank=0,
        world_size=1,
        num_threads=1,
        mean=0.0,
        std=1.0,
        dtype="float32",
        exchange=exchange,
    )


# Passes on so many tensors of a batch, and refuses the next as the protocol says: it owns it.
REFUSING = """
#include <Python.h>
#include <stdint.h>
typedef struct managed {
    uint32_t version[2];
    void* context;
    void (*deleter)(struct managed*);
} managed;
int (*torchs)(managed*, void**);
int before, calls;
int to_object(managed* tensor, void** object) {
    if (calls++ % (before + 1) < before) return torchs(tensor, object);
    tensor->deleter(tensor);
    PyErr_SetString(PyExc_RuntimeError, "no room");
    return -1;
}
"""


@with_a_table
@pytest.mark.parametrize("before", [0, 1])
def test_a_tensor_that_cannot_be_made_is_an_error_and_the_epoch_goes_on(
    before: int, tmp_path: Path
) -> None:
    (tmp_path / "refusing.c").write_text(REFUSING)
    include = "-I" + sysconfig.get_path("include")
    command = ["cc", "-shared", "-fPIC", include, "refusing.c", "-o", "refusing.so"]
    subprocess.run(command, cwd=tmp_path, check=True)
    refusing = ctypes.PyDLL(str(tmp_path / "refusing.so"))
    torchs = DLPackExchangeAPI.from_address(
        pointer_of(TABLE, EXCHANGE)
    ).managed_tensor_to_py_object_no_sync
    ctypes.c_void_p.in_dll(refusing, "torchs").value = torchs
    ctypes.c_int.in_dll(refusing, "before").value = before
    table = DLPackExchangeAPI(
        1, 3, managed_tensor_to_py_object_no_sync=ctypes.cast(refusing.to_object, ctypes.c_void_p)
    )
    batches = core_loader(table.capsule()).epoch(0, 0)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"^no room$"):
            next(batches)
    assert next(batches, None) is None
    assert ctypes.c_int.in_dll(refusing, "calls").value == 2 * (before + 1)


@with_a_table
def test_the_table_of_an_older_protocol_is_found_behind_a_newer_one() -> None:
    newer = DLPackExchangeAPI(2, 0, prev_api=pointer_of(TABLE, EXCHANGE))
    (xb, yb), _ = core_loader(newer.capsule()).epoch(0, 0)
    assert (xb.shape, yb.shape) == ((4, 784), (4, 1))


@pytest.mark.parametrize("before", [0, 1])
def test_a_function_that_refuses_a_capsule_is_an_error_and_costs_no_memory(before: int) -> None:
    addresses = []

    def refusing(capsule: object) -> torch.Tensor:
        structure = ctypes.c_void_p.from_address(pointer_of(capsule, b"dltensor"))
        addresses.append(structure.value)  # the pixels' or the labels', its first field
        if len(addresses) % (before + 1) == 0:
            raise RuntimeError("no room")
        return torch.utils.dlpack.from_dlpack(capsule)

    loader = core_loader(refusing)
    for epoch in range(10):
        batches = loader.epoch(epoch, 0)
        for _ in range(2):
            with pytest.raises(RuntimeError, match=r"^no room$"):
                next(batches)
        assert next(batches, None) is None
    assert len(addresses) == 20 * (before + 1)
    assert len(set(addresses)) <= 2 * (before + 1)  # the same two buffers again and again


NO_EXCHANGE = (
    "exchange must be a capsule 'dlpack_exchange_api' or a function such as torch.from_dlpack"
)
NO_TABLE = DLPackExchangeAPI(1, 3)
NEWER = DLPackExchangeAPI(2, 0)


@pytest.mark.parametrize(
    ("exchange", "text"),
    [
        (3, f"{NO_EXCHANGE}, got <class 'int'>"),
        (NO_TABLE.capsule(OTHER), f"{NO_EXCHANGE}, got <class 'PyCapsule'>"),
        (NEWER.capsule(), "exchange must be of DLPack 1"),
    ],
)
def test_what_is_no_known_table_is_refused(exchange: object, text: str) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
        core_loader(exchange)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("images", "text"),
    [
        (np.zeros((2, 28, 28)), "images must be uint8, got float64"),
        (np.zeros((28, 28), np.uint8), "images must be [N, 28, 28], got [28, 28]"),
        (np.zeros((2, 784), np.uint8), "images must be [N, 28, 28], got [2, 784]"),
        (
            np.zeros((4, 28, 28), np.uint8)[::2],
            "images must be C-contiguous, got strides [1568, 28, 1] for [2, 28, 28]; "
            "numpy.ascontiguousarray makes a contiguous copy",
        ),
    ],
)
def test_normalize_refuses_what_is_no_image_of_bytes(
    dtype: torch.dtype, images: np.ndarray, text: str
) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        DataLoader(random_set(4), dtype=dtype).normalize(images)
    assert str(caught.value) == text
