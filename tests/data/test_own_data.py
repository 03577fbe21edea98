"""`--data` takes folders of pictures, packed sets and IDX files, and says what is wrong there."""

import gzip
import json
import os
import shutil
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from idx_files import write_part
from mnist_sgd.cli import main
from mnist_sgd.cli.options.datasets import DataConfig, load_datasets
from mnist_sgd.data import (
    ImageSet,
    PackedWriter,
    load_all,
    load_data,
    mnist_sample,
    pack_folder,
    read_idx,
)
from mnist_sgd.data.memory_map import underlying_mmap
from mnist_sgd.data.pictures.importer import is_validation
from mnist_sgd_serve import Predictor, decode, preprocess
from pictures import fill, stroke
from trained import TrainedFiles

Output = pytest.CaptureFixture[str]
Labels = NDArray[np.uint8]


def parts(folder: Path) -> Path:
    """The format of fastai's MNIST_SAMPLE: train, valid and a file beside them."""
    fill(folder / "train", {"3": 30, "7": 20})
    fill(folder / "valid", {"3": 12, "7": 11}, start=100)
    (folder / "labels.csv").write_text("name,label\n")
    return folder


def test_train_and_valid_folders_stay_as_the_user_shared_them_out(tmp_path: Path) -> None:
    folder = parts(tmp_path / "mnist_sample")
    data = load_data(folder)
    assert repr(data.train) == ("ImageSet('mnist_sample, train': 50 images, 30 of '3', 20 of '7')")
    assert repr(data.valid) == ("ImageSet('mnist_sample, valid': 23 images, 12 of '3', 11 of '7')")
    paths = sorted(folder.glob("train/*/*"))
    expected = [preprocess(decode(path)).image for path in paths]
    np.testing.assert_array_equal(data.train.images, expected)
    assert data.train.labels.tolist() == [int(path.parent.name == "7") for path in paths]
    assert data.train.files == [f"train/{path.parent.name}/{path.name}" for path in paths]
    assert data.train.digests == [
        blake2b(path.read_bytes(), digest_size=16).hexdigest() for path in paths
    ]
    assert data.notes == ()
    turned = load_data(folder, positive="3")
    assert turned.train.classes == ("7", "3")
    np.testing.assert_array_equal(turned.train.labels, 1 - data.train.labels)
    np.testing.assert_array_equal(turned.train.images, data.train.images)
    assert turned.train.files == data.train.files


def side_of(folder: Path) -> dict[bytes, str]:
    """The side of each picture of a folder, by its image as the set has it."""
    data = load_data(folder)
    return {
        image.tobytes(): part
        for part, one in (("train", data.train), ("valid", data.valid))
        for image in one.images
    }


def test_a_picture_stays_on_its_side_whatever_else_happens(tmp_path: Path) -> None:
    fill(tmp_path / "one", {"seven": 60, "three": 60})
    before = side_of(tmp_path / "one")
    assert len(before) == 120
    # Other names, another order, other companions, another folder.
    shutil.copytree(tmp_path / "one", tmp_path / "two", ignore=shutil.ignore_patterns(".*"))
    for path in (tmp_path / "two").glob("*/*"):
        path.rename(path.with_name(f"{99999 - int(path.stem)}.data"))
    fill(tmp_path / "two", {"three": 100}, start=1000)
    for path in sorted((tmp_path / "two" / "seven").iterdir())[:30]:
        path.unlink()
    after = side_of(tmp_path / "two")
    common = before.keys() & after.keys()
    assert len(common) == 90
    assert all(before[image] == after[image] for image in common)
    assert set(before.values()) == {"train", "valid"}


def test_a_fifth_of_all_content_is_for_validation() -> None:
    random = np.random.default_rng(0)
    share = np.mean([is_validation(random.bytes(16).hex()) for _ in range(20_000)])
    assert abs(share - 0.2) < 0.01
    assert is_validation("33333333333333330000000000000000")
    assert not is_validation("33333333333333340000000000000000")


def test_equal_files_are_on_one_side_and_are_said(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    fill(folder, {"seven": 60, "three": 60})
    for number in range(50):
        shutil.copy(folder / "three" / f"{60 + number:05}.png", folder / "three" / f"b{number}.png")
    shutil.copy(folder / "seven" / "00000.png", folder / "three" / "not a three.png")
    data = load_data(folder)
    train, valid = ({image.tobytes() for image in one.images} for one in (data.train, data.valid))
    assert train.isdisjoint(valid)
    assert data.notes == (
        f"{folder}: 1 picture in both classes, so one label of each must be wrong: "
        "seven/00000.png = three/not a three.png",
        f"{folder}: 50 pictures there more than once: three/00060.png = three/b0.png, "
        "three/00061.png = three/b1.png, three/00062.png = three/b2.png, and 47 more",
    )


def test_pictures_of_train_that_are_in_valid_too_are_said(tmp_path: Path) -> None:
    folder = parts(tmp_path / "scans")
    for number in range(5):
        shutil.copy(folder / f"train/3/{number:05}.png", folder / f"valid/3/x{number}.png")
    assert load_data(folder).notes == (
        f"{folder}: 5 pictures in both train and valid, so the metrics are too good: "
        "train/3/00000.png = valid/3/x0.png, train/3/00001.png = valid/3/x1.png, "
        "train/3/00002.png = valid/3/x2.png, and 2 more",
    )


def test_tiny_and_one_sided_classes_are_said(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"dog": 120, "cat": 5})
    fill(tmp_path / "valid", {"dog": 30, "cat": 1}, start=500)
    assert load_data(tmp_path).notes == (
        f"{tmp_path}: only 5 pictures of 'cat' to train on",
        f"{tmp_path}: 150 pictures of 'dog' and only 6 of 'cat': always predicting 'dog' would be "
        "96.2% accurate",
    )


def test_a_class_that_the_content_puts_on_one_side_is_said_or_refused(tmp_path: Path) -> None:
    fill(tmp_path / "scans", {"seven": 60, "three": 20})
    data = load_data(tmp_path / "scans")
    valid = {image.tobytes() for image in data.valid.images}
    for path in (tmp_path / "scans" / "three").iterdir():
        if preprocess(decode(path)).image.tobytes() in valid:
            path.unlink()
    notes = load_data(tmp_path / "scans").notes
    assert f"{tmp_path / 'scans'}: no picture of 'three' to validate on" in notes
    for path in (tmp_path / "scans" / "seven").iterdir():
        if preprocess(decode(path)).image.tobytes() not in valid:
            path.unlink()
    with pytest.raises(
        ValueError, match="the training set has no picture of 'seven'; add pictures, or"
    ):
        load_data(tmp_path / "scans")


def spoil(at: Path, how: str) -> str:
    """Spoil the folder of two classes, 3 and 7; what is said of it."""
    skip = "; --skip-unusable leaves such files out"
    match how:
        case "one class":
            shutil.rmtree(at / "7")
            return f"{at}: found 1 class folder (3), need 2"
        case "three classes":
            fill(at, {"8": 1})
            return f"{at}: found 3 class folders (3, 7, 8), need 2: choose with --classes 3 7"
        case "an empty class":
            shutil.rmtree(at / "7")
            (at / "7").mkdir()
            return f"{at}/7: this class is empty"
        case "other files":
            (at / "7" / "notes.txt").write_text("Thursday")
            why = "these 8 bytes are not an image: PNG, JPEG, BMP, GIF, WebP and TIFF are read"
            return f"{at}/7/notes.txt: {why}{skip}"
        case "files beside the classes":
            (at / "notes.txt").write_text("Thursday")
            return f"{at}/notes.txt: not in a class folder{skip}"
        case "an unreadable file":
            (at / "7" / "a.png").symlink_to("/proc/self/mem")
            return f"{at}/7/a.png: cannot be read: Input/output error{skip}"
        case "a link loop":
            (at / "7" / "a.png").symlink_to("a.png")
            return f"{at}/7/a.png: cannot be read: Too many levels of symbolic links{skip}"
        case "a class that loops":
            shutil.rmtree(at / "7")
            (at / "7").symlink_to("7")
            return f"{at}: found 1 class folder (3), need 2"
        case "a place that cannot be written to":
            (at / ".mnist_sgd").touch()
            return (
                f"{at}/.mnist_sgd/mnist: cannot cache the preprocessed pictures here: "
                "Not a directory; "
                "--cache DIR keeps them in another place"
            )
        case "train without valid":
            at.rename(at.with_name("a"))
            shutil.copytree(at.with_name("a"), at / "train")
            return (
                f"{at}/valid is missing next to {at}/train, which holds class folders; rename your "
                f"validation folder to valid, or give {at}/train alone to split it automatically"
            )
        case "nothing":
            shutil.rmtree(at)
            return f"{at}: there is no such folder"
    raise ValueError(how)


@pytest.mark.parametrize(
    "how",
    [
        "one class",
        "three classes",
        "an empty class",
        "other files",
        "files beside the classes",
        "an unreadable file",
        "a link loop",
        "a class that loops",
        "a place that cannot be written to",
        "train without valid",
        "nothing",
    ],
)
def test_a_folder_that_cannot_be_used_gives_one_line_and_exit_code_2(
    tmp_path: Path, capsys: Output, how: str
) -> None:
    folder = tmp_path / "digits"
    fill(folder, {"3": 12, "7": 12})
    text = spoil(folder, how)
    assert main(["train", "--data", str(folder), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr() == ("", f"mnist-sgd: {text}\n")
    assert not (tmp_path / "model.onnx").exists()


def test_parts_with_other_classes_are_refused(tmp_path: Path) -> None:
    folder = parts(tmp_path / "scans")
    (folder / "valid" / "7").rename(folder / "valid" / "8")
    with pytest.raises(ValueError, match=r".") as caught:
        load_data(folder)
    assert str(caught.value) == (
        f"{folder}: train and valid must hold the same class folders, got '3', '7' and '3', '8'"
    )


def test_every_format_is_read_and_turned_upright(tmp_path: Path) -> None:
    """TIFF too, which comes with no stranger here."""
    base = stroke(5, 64)
    turned = Image.Exif()
    turned[0x0112] = 6
    for name in ("seven", "three"):
        (tmp_path / name).mkdir()
    for number in range(12):
        stroke(number).save(tmp_path / "seven" / f"{number}.png")
    wide = Image.fromarray(np.asarray(base).astype(np.uint16) * 257)
    files: dict[str, tuple[Image.Image, dict[str, object]]] = {
        "a.bmp": (base, {}),
        "b.gif": (base, {}),
        "c.tiff": (base, {}),
        "d.tif": (base.rotate(90), {"exif": turned, "compression": "tiff_lzw"}),
        "e.tiff": (wide, {}),
        "f.tiff": (base.convert("RGBA"), {"compression": "tiff_deflate"}),
        "g.webp": (base, {"lossless": True}),
        "h.png": (base.rotate(90), {"exif": turned}),
        "i.tiff": (base.convert("CMYK"), {}),
    }
    for name, (image, options) in files.items():
        image.save(tmp_path / "three" / name, **options)  # type: ignore[arg-type]
    data = load_data(tmp_path, preprocessing="stretch")
    both = [data.train, data.valid]
    images = np.concatenate([one.images[one.labels == 1] for one in both])
    assert len(images) == 9
    for image in images:
        np.testing.assert_array_equal(image, preprocess(np.asarray(base), "stretch").image)


def idx_files(folder: Path, labels: Labels, second: str, *, packed: bool = False) -> Path:
    images = np.random.default_rng(1).integers(0, 256, (len(labels), 28, 28), np.uint8)
    for part, rows in (("train", slice(0, -10)), (second, slice(-10, None))):
        write_part(folder, part, images[rows], labels[rows], ".gz" if packed else "")
    return folder


@pytest.mark.parametrize("second", ["t10k", "valid"])
@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_are_read_by_their_labels(tmp_path: Path, second: str, packed: bool) -> None:
    labels = np.arange(60, dtype=np.uint8) % 10
    folder = idx_files(tmp_path / "set", labels, second, packed=packed)
    data = load_data(folder, classes=("7", "3"), preprocessing="fit")
    assert (data.train.classes, data.train.preprocessing) == (("7", "3"), "fit")
    assert data.train.labels.tolist() == [1, 0] * 5
    assert data.valid.labels.tolist() == [1, 0]
    assert (data.train.name, data.valid.name) == ("set, train", "set, valid")
    with pytest.raises(
        ValueError, match=r"found 10 labels \(0, 1, 2, 3, 4, .*need 2: choose with --classes 0 1"
    ):
        load_data(folder)
    with pytest.raises(ValueError, match="there is no class '12'; the labels are 0, 1, 2"):
        load_data(folder, classes=("7", "12"))
    with pytest.raises(ValueError, match="there is no class '5'; the classes are '7' and '3'"):
        load_data(folder, classes=("7", "3"), positive="5")
    two = idx_files(tmp_path / "two", (labels % 2) * 3 + 4, second, packed=packed)
    assert load_data(two).train.classes == ("4", "7")
    assert load_data(two, positive="4").train.classes == ("7", "4")


def test_an_idx_file_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = idx_files(tmp_path, np.arange(60, dtype=np.uint8) % 2, "t10k")
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte: it cannot be read: No such"):
        load_data(folder)
    (folder / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(ValueError, match=r"valid-images-idx3-ubyte: it cannot be read: No such"):
        load_data(folder)


def test_a_packed_set_is_shared_out_by_the_content_of_its_images(tmp_path: Path) -> None:
    sample = mnist_sample()[1]
    images, labels = sample.images[810:1210], sample.labels[810:1210].astype(np.uint8)
    for name, order in (("one", slice(None)), ("two", slice(None, None, -1))):
        with PackedWriter(tmp_path / name, ("7", "3"), preprocessing="fit") as out:
            out.append(images[order], labels[order])
    one, two = load_data(tmp_path / "one"), load_data(tmp_path / "two")
    assert one.notes == (
        f"{tmp_path}/one: this set does not record which images are for training, so their "
        "content decides; the folder it was packed from may be split differently",
    )
    assert (one.train.preprocessing, one.train.classes) == ("fit", ("7", "3"))
    assert 50 < len(one.valid) < 110
    assert len(one.train) + len(one.valid) == 400
    np.testing.assert_array_equal(one.valid.images, two.valid.images[::-1])
    turned = load_data(tmp_path / "one", positive="7")
    np.testing.assert_array_equal(turned.train.labels, 1 - one.train.labels)
    with pytest.raises(
        ValueError, match=r"preprocessed with 'fit', which cannot be changed to 'mnist'"
    ):
        load_data(tmp_path / "one", preprocessing="mnist")
    with pytest.raises(ValueError, match=r"one: its classes are '7' and '3'"):
        load_data(tmp_path / "one", classes=("7", "8"))


@pytest.mark.parametrize("preprocess", ["mnist", "fit", "stretch"])
def test_a_packed_folder_keeps_each_pictures_side_and_stays_mapped(
    tmp_path: Path, preprocess: str
) -> None:
    """Even where two files differ and the images that they become do not."""
    folder = tmp_path / "scans"
    fill(folder, {"seven": 60, "three": 60})
    for path in sorted((folder / "three").iterdir())[:40]:
        Image.open(path).save(path.with_suffix(".bmp"))
    pack_folder(folder, tmp_path / "packed", preprocessing=preprocess)
    direct, packed = load_data(folder, preprocessing=preprocess), load_data(tmp_path / "packed")
    for one, other in ((direct.train, packed.train), (direct.valid, packed.valid)):
        assert one.fingerprint() == other.fingerprint()
        assert underlying_mmap(other.images) is not None
        assert other.name == one.name.replace("scans", "packed")
    turned = load_data(tmp_path / "packed", positive="seven")
    np.testing.assert_array_equal(turned.valid.labels, 1 - packed.valid.labels)
    assert underlying_mmap(turned.valid.images) is not None


def test_a_model_of_a_folder_is_measured_on_none_of_its_training_pictures_packed(
    here: Path, capsys: Output
) -> None:
    fill(here / "icons", {"seven": 60, "three": 60})
    assert main(["pack", "icons", "packed"]) == 0
    assert main(["train", "--data", "icons", "--epochs", "1", "--model", "linear"]) == 0
    capsys.readouterr()
    measured = []
    for folder in ("icons", "packed"):
        assert main(["evaluate", "--data", folder, "--json"]) == 0
        measured.append(json.loads(capsys.readouterr().out))
    assert measured[0]["images"] == len(load_data("icons").valid) == measured[1]["images"]
    assert measured[0]["counts"] == measured[1]["counts"]


def test_a_packed_folder_without_two_sides_is_refused_as_the_folder_is(tmp_path: Path) -> None:
    fill(tmp_path / "scans", {"seven": 1, "three": 1})
    pack_folder(tmp_path / "scans", tmp_path / "packed")
    for folder in ("scans", "packed"):
        with pytest.raises(ValueError, match=f"{folder}: split by content, .* has no picture"):
            load_data(tmp_path / folder)


def test_parts_that_are_packed_where_one_set_was_take_its_place(tmp_path: Path) -> None:
    fill(tmp_path / "one", {"seven": 60, "three": 60})
    pack_folder(tmp_path / "one", tmp_path / "packed")
    pack_folder(parts(tmp_path / "scans"), tmp_path / "packed")
    assert load_data(tmp_path / "packed").train.classes == ("3", "7")
    assert sorted(path.name for path in (tmp_path / "packed").iterdir()) == ["train", "valid"]


def test_parts_are_packed_as_parts_and_come_back(tmp_path: Path, capsys: Output) -> None:
    folder, out = parts(tmp_path / "scans"), tmp_path / "packed"
    assert main(["pack", str(folder), str(out), "--preprocess", "fit", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["sets"]
    assert {path: one["counts"] for path, one in facts.items()} == {
        str(out / "train"): {"3": 30, "7": 20},
        str(out / "valid"): {"3": 12, "7": 11},
    }
    direct, packed = load_data(folder, preprocessing="fit"), load_data(out)
    for one, other in ((direct.train, packed.train), (direct.valid, packed.valid)):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.labels, other.labels)
        assert (one.classes, one.preprocessing) == (other.classes, other.preprocessing)
        assert other.name == one.name.replace("scans", "packed")


def assert_whole(whole: ImageSet, train: ImageSet, valid: ImageSet) -> None:
    """The whole is the two parts, in any order where they have names, else one after the other."""
    images = np.concatenate([train.images, valid.images])
    labels = np.concatenate([train.labels, valid.labels])
    if whole.files:
        names = [*train.files, *valid.files]
        rows = [names.index(name) for name in whole.files]
        assert sorted(rows) == list(range(len(names)))
        assert list(whole.files) == sorted(whole.files, key=lambda name: name.split("/"))
        images, labels = images[rows], labels[rows]
    np.testing.assert_array_equal(whole.images, images)
    np.testing.assert_array_equal(whole.labels, labels)
    assert (whole.classes, whole.preprocessing) == (train.classes, train.preprocessing)


def test_the_whole_of_a_folder_is_its_training_and_its_validation_images(tmp_path: Path) -> None:
    fill(tmp_path / "one", {"seven": 40, "three": 40})
    labels = np.arange(60, dtype=np.uint8) % 10
    folders = {
        "one": tmp_path / "one",
        "parts": parts(tmp_path / "parts"),
        "idx": idx_files(tmp_path / "idx", labels, "t10k"),
    }
    pack_folder(folders["parts"], tmp_path / "packed")
    folders["packed"] = tmp_path / "packed"
    for name, folder in folders.items():
        classes = ("7", "3") if name == "idx" else None
        for positive in (None, "seven" if name == "one" else "3"):
            whole = load_all(folder, classes=classes, positive=positive)
            data = load_data(folder, classes=classes, positive=positive)
            assert_whole(whole, data.train, data.valid)
            assert whole.name == name
    (packed,) = pack_folder(folders["one"], tmp_path / "single")
    np.testing.assert_array_equal(load_all(tmp_path / "single").images, packed.images)


def test_every_image_is_found_again_by_its_file_and_row(tmp_path: Path) -> None:
    """Even if the file also holds other classes, or the other part of the split."""
    labels = np.arange(60, dtype=np.uint8) % 10
    folders = {
        "idx": idx_files(tmp_path / "idx", labels, "t10k"),
        "gzipped": idx_files(tmp_path / "gzipped" / "MNIST" / "raw", labels, "t10k", packed=True),
    }
    fill(tmp_path / "one", {"7": 40, "3": 40})
    pack_folder(tmp_path / "one", tmp_path / "packed")
    pack_folder(parts(tmp_path / "parts"), tmp_path / "packed parts")
    with PackedWriter(
        tmp_path / "old", ("7", "3")
    ) as old:  # its images are identified by their content
        old.append(load_all(tmp_path / "one").images, np.arange(80, dtype=np.uint8) % 2)
    folders |= {name: tmp_path / name for name in ("packed", "packed parts", "old")}
    for name, folder in folders.items():
        data = load_data(folder, classes=("7", "3"))
        whole = load_all(folder, classes=("7", "3"))
        for one in (data.train, data.valid, whole):
            places = [one.row_of(i) for i in range(len(one))]
            assert len(set(places)) == len(one), name
            for image, (file, row) in zip(one.images, places, strict=True):
                assert Path(file).is_relative_to(folder)
                np.testing.assert_array_equal(image, read_idx(file)[row])
    rows = [load_data(folders["idx"], classes=("7", "3")).valid.row_of(i) for i in range(2)]
    assert rows == [(str(folders["idx"] / "t10k-images-idx3-ubyte"), row) for row in (3, 7)]


def test_the_whole_of_a_folder_needs_no_two_sides(tmp_path: Path) -> None:
    fill(tmp_path, {"seven": 1, "three": 1})
    with pytest.raises(ValueError, match=r"split by content, .* has no picture"):
        load_data(tmp_path)
    assert load_all(tmp_path).files == ["seven/00000.png", "three/00001.png"]


def test_a_model_is_measured_on_all_pictures_if_asked_to(
    trained: TrainedFiles, tmp_path: Path, capsys: Output
) -> None:
    folder = parts(tmp_path / "scans")
    arguments = ["evaluate", str(trained.artifact), "--data", str(folder), "--json"]
    sizes = []
    for more in ([], ["--all"]):
        assert main([*arguments, *more]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        sizes.append(json.loads(out)["images"])
    assert sizes == [23, 73]
    (folder / "train" / "3" / "notes.txt").write_text("Thursday")
    assert main([*arguments, "--all", "--skip-unusable"]) == 0
    assert f"{folder}: files left out: 1\n" in capsys.readouterr().err
    assert main(["evaluate", str(trained.artifact), "--all"]) == 2
    assert capsys.readouterr().err == "mnist-sgd: --all goes with --data\n"


def test_two_of_more_classes_are_packed_by_name(tmp_path: Path) -> None:
    fill(tmp_path / "scans", {"a": 3, "b": 4, "c": 5})
    (packed,) = pack_folder(tmp_path / "scans", tmp_path / "out", classes=("c", "a"))
    assert (packed.classes, len(packed), int(packed.labels.sum())) == (("c", "a"), 8, 3)


@pytest.mark.parametrize("way", ["mnist", "fit", "stretch"])
def test_a_model_of_ones_own_pictures_carries_their_preprocessing(
    tmp_path: Path, capsys: Output, way: str
) -> None:
    folder = tmp_path / "scans"
    fill(folder, {"dark": 40, "light": 40}, side=36)
    for path in (folder / "light").iterdir():
        image = np.asarray(Image.open(path))
        Image.fromarray(np.where(image > 0, 255 - image // 8, 60)).resize((50, 30)).save(path)
    command = ["train", "--data", str(folder), "--preprocess", way, "--positive", "dark"]
    assert main([*command, "--epochs", "3", "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    model = str(tmp_path / "model.onnx")
    predictor = Predictor(model)
    assert predictor.metadata.preprocessing == way
    assert predictor.metadata.classes == ("light", "dark")
    assert list(predictor.metadata.data) == ["scans, train", "scans, valid"]
    path = next((folder / "light").iterdir())
    image = preprocess(decode(path), way).image
    prediction = predictor.predict(path)
    np.testing.assert_array_equal(prediction.image, image)
    assert prediction.probability == predictor.probabilities(image[None])[0]
    # evaluate takes the model's classes and preprocessing, unless told otherwise.
    assert main(["evaluate", model, "--data", str(folder), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["classes"] == ["light", "dark"]
    assert facts["images"] == len(load_data(folder).valid)
    other = "stretch" if way == "fit" else "fit"
    assert main(["evaluate", model, "--data", str(folder), "--preprocess", other]) == 2
    assert capsys.readouterr().err == (
        f"mnist-sgd: {model} takes images preprocessed by {way!r}, the data was "
        f"preprocessed by {other!r}\n"
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--positive", "3"], "--positive goes with --data"),
        (["--download"], "--download goes with --dataset NAME: the sample comes with the package"),
        (["--cache", "x"], "--cache goes with --data"),
        (["--skip-unusable"], "--skip-unusable goes with --data"),
        (
            ["--preprocess", "fit"],
            "--preprocess goes with --data, or with a data set of torchvision",
        ),
        (
            ["--data", "x", "--dataset", "MNIST"],
            "--data excludes --dataset and --download: leave them out",
        ),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    capsys: Output, arguments: list[str], text: str
) -> None:
    assert main(["train", *arguments]) == 2
    assert capsys.readouterr().err == f"mnist-sgd: {text}\n"


def test_an_empty_name_of_an_image_is_refused(capsys: Output) -> None:
    assert main(["predict", "three.png", ""]) == 2
    text = "mnist-sgd: IMAGE must name a file, a folder or a pattern, got ''\n"
    assert capsys.readouterr() == ("", text)


@pytest.mark.parametrize("load", [load_data, load_all, lambda folder: pack_folder(folder, "x")])
def test_an_empty_name_is_refused_in_python_too(load: Callable[[str], object]) -> None:
    text = "^the name of the folder is empty; '.' is the current folder$"
    with pytest.raises(ValueError, match=text):
        load("")


@pytest.mark.parametrize("place", [".", "kept", "seven"])
def test_a_cache_among_the_classes_is_refused(tmp_path: Path, place: str) -> None:
    """At the next start it would be a class, or a file of one."""
    folder = tmp_path / "scans"
    fill(folder, {"seven": 20, "three": 20})
    with pytest.raises(ValueError, match=r".") as caught:
        load_data(folder, cache=folder / place)
    assert str(caught.value) == (
        f"the cache '{folder / place}' lies among the pictures, where it would count as a class; "
        f"choose another folder, or leave it out to use {folder}/.mnist_sgd"
    )
    assert sorted(path.name for path in folder.iterdir()) == ["seven", "three"]
    assert len(load_data(folder, cache=folder / ".kept").train) > 0
    assert len(load_data(folder, cache=folder / ".kept").train) > 0


def test_what_is_left_out_and_noted_is_said_in_lines_on_standard_error(
    tmp_path: Path, capsys: Output
) -> None:
    folder = tmp_path / "scans"
    fill(folder, {"seven": 40, "three": 40})
    (folder / "three" / "a.txt").write_text("Thursday")
    shutil.copy(folder / "three" / "00040.png", folder / "three" / "again.png")
    arguments = ["train", "--data", str(folder), "--epochs", "1", "--out", str(tmp_path)]
    assert main([*arguments, "--skip-unusable"]) == 0
    data = load_data(folder, on_unusable=lambda error: None)
    assert capsys.readouterr().err == (
        f"mnist-sgd: skipped {folder}/three/a.txt: these 8 bytes are not an image: PNG, JPEG, BMP, "
        "GIF, WebP and TIFF are read\n"
        f"mnist-sgd: {folder}: files left out: 1\n"
        f"mnist-sgd: note: {folder}: 1 picture there more than once: "
        "three/00040.png = three/again.png\n"
        f"mnist-sgd: {folder}: 81 pictures, 40 seven, 41 three; {len(data.train)} to train, "
        f"{len(data.valid)} to validate.\n"
        "mnist-sgd: Model: cnn, 1 epoch; it gives the probability of three (--positive seven for "
        "the other). Pictures preprocessed as drawn characters (--preprocess mnist): "
        "40 of 40 seven and "
        "41 of 41 three look like drawn characters; for whole pictures: --preprocess fit.\n"
    )


def test_only_the_first_rank_says_it(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "train", {"dog": 20, "cat": 5})
    fill(tmp_path / "valid", {"dog": 5, "cat": 5}, start=500)
    config = DataConfig(data=tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, said in (("0", 1), ("1", 0)):
        monkeypatch.setitem(os.environ, "RANK", rank)
        load_datasets(config)
        assert capsys.readouterr().err.count("note: ") == said


def test_gzipped_content_of_idx_files_needs_no_suffix(tmp_path: Path) -> None:
    folder = idx_files(tmp_path, np.arange(60, dtype=np.uint8) % 2, "t10k")
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert len(load_data(folder).train) == 50
