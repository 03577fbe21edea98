"""Each picture is decoded once, whatever happens to the process or the folder."""

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from mnist_sgd.data import CacheError, LoadedData, UnusableFile, load_data
from mnist_sgd.data.pictures import change_detection, decoding
from pictures import fill, stroke
from waiting import PATIENCE, let_the_clock_tick

COUNTS = {"seven": 30, "three": 25}


class Reads:
    """Counts the files that were read, by the calls of `on_progress`."""

    def __init__(self) -> None:
        self.shown: list[tuple[int, int]] = []

    def __call__(self, done: int, total: int) -> None:
        self.shown.append((done, total))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fill(tmp_path / "scans", COUNTS)
    return tmp_path / "scans"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read in this process, as they are read."""
    names: list[str] = []
    before = decoding._read_file

    def read_file(folder: str, name: str, preprocessing: str) -> object:
        names.append(name)
        return before(folder, name, preprocessing)

    monkeypatch.setattr(decoding, "_read_file", read_file)
    return names


def bytes_of(data: LoadedData) -> list[object]:
    return [
        (one.images.tobytes(), one.labels.tolist(), one.classes, one.name)
        for one in (data.train, data.valid)
    ]


def anew(folder: Path, cache: Path) -> list[object]:
    """What the folder gives without what is in its cache."""
    shutil.rmtree(cache, ignore_errors=True)
    return bytes_of(load_data(folder, cache=cache))


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.glob("[!.]*/*"))


def test_the_second_start_reads_no_picture(folder: Path, read: list[str]) -> None:
    first = bytes_of(load_data(folder))
    assert sorted(read) == names(folder)
    read.clear()
    assert bytes_of(load_data(folder)) == first
    assert read == []


def test_the_images_are_those_of_one_file_that_is_mapped(folder: Path) -> None:
    data = load_data(folder)
    (images,) = (folder / ".mnist_sgd" / "mnist").glob("*-images-idx3-ubyte")
    assert images.stat().st_size == 16 + 784 * (len(data.train) + len(data.valid))
    for one in (data.train, data.valid):
        assert not one.images.flags.owndata
        assert not one.images.flags.writeable


def test_the_manifest_says_what_was_read(folder: Path) -> None:
    (folder / "seven" / "notes.txt").write_text("Thursday")
    load_data(folder, on_unusable=lambda error: None)
    facts = json.loads((folder / ".mnist_sgd" / "mnist" / "manifest.json").read_text())
    assert (facts["version"], facts["preparation"], len(facts["files"])) == (6, "mnist", 56)
    rows = {name: rest for name, *rest in facts["files"]}
    size, mtime, digest, why, ctime, inode, refused, drawn, blank = rows["seven/notes.txt"]
    status = (folder / "seven" / "notes.txt").stat()
    assert (size, mtime) == (8, status.st_mtime_ns)
    assert (ctime, inode) == (status.st_ctime_ns, status.st_ino)
    assert digest == blake2b(b"Thursday", digest_size=16).hexdigest()
    assert (refused, drawn, blank) == (False, False, False)
    assert next(rest for name, rest in rows.items() if name.endswith(".png"))[-2:] == [True, False]
    assert why == "these 8 bytes are not an image: PNG, JPEG, BMP, GIF, WebP and TIFF are read"


def test_only_what_changed_is_read_again(folder: Path, tmp_path: Path, read: list[str]) -> None:
    load_data(folder)
    read.clear()
    first, second, third = sorted((folder / "seven").iterdir())[:3]
    let_the_clock_tick(tmp_path)
    stroke(999).save(first)
    second.unlink()
    third.rename(folder / "three" / "moved.png")
    stroke(1000).save(folder / "three" / "new.png")
    changed = bytes_of(load_data(folder))
    assert sorted(read) == ["seven/00000.png", "three/moved.png", "three/new.png"]
    assert changed == anew(folder, tmp_path / "cache")


def bitmap(path: Path, number: int) -> None:
    """Write a picture, always with the same file size and time."""
    stroke(number, 30).save(path, "BMP")
    os.utime(path, (0, 0))


@pytest.fixture
def bitmaps(tmp_path: Path) -> Path:
    """A folder of pictures that differ only in their names and content."""
    folder = tmp_path / "bitmaps"
    for name, start in (("seven", 0), ("three", 30)):
        (folder / name).mkdir(parents=True)
        for number in range(start, start + 30):
            bitmap(folder / name / f"{number}.bmp", number)
    return folder


def swap(one: Path, other: Path) -> None:
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


@pytest.mark.parametrize("change", ["within a class", "between classes", "in place"])
def test_swapped_pictures_are_noticed_though_their_sizes_and_times_are_equal(
    bitmaps: Path, tmp_path: Path, change: str
) -> None:
    """For example if two misfiled pictures are swapped after an archive gave all the same time."""
    before = bytes_of(load_data(bitmaps))
    match change:
        case "within a class":
            swap(bitmaps / "seven" / "1.bmp", bitmaps / "seven" / "2.bmp")
        case "between classes":
            swap(bitmaps / "seven" / "1.bmp", bitmaps / "three" / "31.bmp")
        case "in place":
            let_the_clock_tick(tmp_path)
            bitmap(bitmaps / "seven" / "3.bmp", 999)
    after = bytes_of(load_data(bitmaps))
    assert after != before
    assert after == anew(bitmaps, tmp_path / "cache")


def test_swapped_folders_are_noticed_though_no_file_was_touched(
    bitmaps: Path, tmp_path: Path
) -> None:
    """Renaming a folder keeps its files' times; only the inodes differ."""
    for number in range(30):
        (bitmaps / "three" / f"{number + 30}.bmp").rename(bitmaps / "three" / f"{number}.bmp")
    load_data(bitmaps)
    swap(bitmaps / "seven", bitmaps / "three")
    assert bytes_of(load_data(bitmaps)) == anew(bitmaps, tmp_path / "cache")


def test_a_swap_is_noticed_by_a_resumed_import(
    bitmaps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(decoding, "BATCH_FILES", 40)
    with pytest.raises(KeyboardInterrupt):
        load_data(bitmaps, on_progress=stop)
    swap(bitmaps / "seven" / "1.bmp", bitmaps / "three" / "31.bmp")
    assert bytes_of(load_data(bitmaps)) == anew(bitmaps, tmp_path / "cache")


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose digests were compared, without decoding them."""
    names: list[str] = []

    def read_content(folder: str, name: str) -> decoding.Content:
        names.append(name)
        return decoding.read_content(folder, name)

    monkeypatch.setattr(change_detection, "read_content", read_content)
    return names


def test_a_folder_that_was_copied_is_checked_once_and_not_decoded(
    folder: Path, tmp_path: Path, read: list[str], checked: list[str]
) -> None:
    first = bytes_of(load_data(folder))
    read.clear()
    copy = Path(shutil.copytree(folder, tmp_path / "copy" / "scans"))
    reads = Reads()
    assert bytes_of(load_data(copy, on_progress=reads)) == first
    assert (read, sorted(checked)) == ([], names(folder))
    assert reads.shown == [(number, 55) for number in range(1, 56)]
    checked.clear()
    assert bytes_of(load_data(copy)) == first
    assert (read, checked) == ([], [])
    let_the_clock_tick(tmp_path)
    shutil.copystat(copy / "seven" / "00001.png", copy / "seven" / "00002.png")
    (copy / "seven" / "00003.png").chmod(0o600)
    load_data(copy)
    assert (read, checked) == (["seven/00002.png"], ["seven/00003.png"])


def test_rows_of_an_earlier_version_are_read_anew(folder: Path, read: list[str]) -> None:
    """They do not say which pictures were refused, or look like characters."""
    first = load_data(folder)
    manifest = folder / ".mnist_sgd" / "mnist" / "manifest.json"
    facts = json.loads(manifest.read_text())
    facts["files"] = [row[:-2] for row in facts["files"]]
    manifest.write_text(json.dumps(facts))
    read.clear()
    again = load_data(folder)
    assert sorted(read) == names(folder)
    assert (bytes_of(again), again.choice) == (bytes_of(first), first.choice)


def test_a_copy_whose_cache_cannot_be_written_is_used_if_nothing_changed(
    folder: Path, tmp_path: Path, read: list[str]
) -> None:
    """As on a read-only disk or in a container image."""
    first = bytes_of(load_data(folder))
    copy = Path(shutil.copytree(folder, tmp_path / "copy" / "scans"))
    lock = copy / ".mnist_sgd" / "mnist" / "lock"
    lock.unlink()
    lock.symlink_to("/proc/nowhere/lock")  # not even root can open it
    read.clear()
    assert bytes_of(load_data(copy)) == first
    assert read == []
    content = (copy / "seven" / "00001.png").read_bytes()
    let_the_clock_tick(tmp_path)
    (copy / "seven" / "00001.png").write_bytes(bytes(content[:-1]) + b"#")
    with pytest.raises(
        CacheError, match="cannot cache the preprocessed pictures here: No such file"
    ):
        load_data(copy)


operations = st.lists(
    st.tuples(
        st.sampled_from(["add", "change", "exchange", "remove", "spoil", "touch"]),
        st.integers(0, 99),
    ),
    max_size=6,
)


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(operations, min_size=1, max_size=3))
def test_after_any_changes_the_cache_gives_what_reading_anew_gives(
    tmp_path_factory: pytest.TempPathFactory, steps: list[list[tuple[str, int]]]
) -> None:
    folder = tmp_path_factory.mktemp("scans")
    fill(folder, {"seven": 12, "three": 12}, side=30)
    for place, path in enumerate(sorted(folder.glob("*/*"))):
        bitmap(path, place)
    number = 1000
    for changes in steps:
        let_the_clock_tick(folder.parent)
        for what, at in changes:
            number += 1
            paths = sorted(folder.glob("[!.]*/*"))
            path = paths[at % len(paths)]
            match what:
                case "add":
                    bitmap(path.with_name(f"{number}.png"), number)
                case "change":
                    bitmap(path, number)
                case "exchange" if path != paths[0]:
                    swap(path, paths[0])
                case "remove" if len(list(path.parent.iterdir())) > 8:
                    path.unlink()
                case "spoil":
                    path.with_name(f"{number}.png").write_bytes(b"spoilt")
                case "touch":
                    os.utime(path)
        skipped: list[UnusableFile] = []
        other: list[UnusableFile] = []
        found = load_data(folder, on_unusable=skipped.append)
        fresh = load_data(folder, cache=tmp_path_factory.mktemp("cache"), on_unusable=other.append)
        assert bytes_of(found) == bytes_of(fresh)
        assert list(map(str, skipped)) == list(map(str, other))
        assert len(list((folder / ".mnist_sgd" / "mnist").iterdir())) == 3


IMPORT = """
import sys
from mnist_sgd.data import load_data

def show(done, total):
    print(done, flush=True)
    if sys.argv[3:]:
        sys.stdin.readline()

if __name__ == "__main__":
    load_data(sys.argv[1], workers=int(sys.argv[2]), on_progress=show)
"""


def importing(folder: Path, workers: int, *step: str) -> "subprocess.Popen[str]":
    """An import that prints how many files it has read; with "step" it then waits for a line."""
    line = [sys.executable, "-c", IMPORT, str(folder), str(workers), *step]
    return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def go_on(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it may have ended
        process.stdin.write("\n")
        process.stdin.flush()


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_any_moment_it_goes_on_and_loses_nothing_that_it_had_shown(
    tmp_path: Path, workers: int
) -> None:
    folder = tmp_path / "scans"
    fill(folder, {"seven": 500, "three": 500}, side=100)
    expected = anew(folder, tmp_path / "cache")
    chance = random.Random(workers)
    done = 0
    for _ in range(4):
        with importing(folder, workers, "step") as process:
            assert process.stdout is not None
            first = int(process.stdout.readline())
            assert first > done
            done, wanted = first, first + chance.randrange(100)
            while done < wanted:
                go_on(process)
                done = int(process.stdout.readline())
            go_on(process)
            time.sleep(chance.random() / 50)  # somewhere in the next 64 files
            process.send_signal(signal.SIGKILL)
            done = int([str(done), *process.stdout.read().split()][-1])
    assert done < 1000
    with importing(folder, workers) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) > done
        assert process.stdout.read().split()[-1] == "1000"
    assert bytes_of(load_data(folder)) == expected
    left = sorted(path.name for path in (folder / ".mnist_sgd" / "mnist").iterdir())
    assert left[1:] == ["lock", "manifest.json"]


@pytest.mark.parametrize("cut", [1, 40, 300, 1000, 5000])
@pytest.mark.parametrize("name", ["journal", "journal-images"])
def test_a_journal_that_is_cut_anywhere_is_read_as_far_as_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, cut: int
) -> None:
    folder = tmp_path / "scans"
    fill(folder, {"seven": 40, "three": 40})
    expected = anew(folder, tmp_path / "cache")
    monkeypatch.setattr(decoding, "BATCH_FILES", 8)

    def stop(done: int, total: int) -> None:
        if done == 64:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_data(folder, on_progress=stop)
    path = folder / ".mnist_sgd" / "mnist" / name
    content = path.read_bytes()
    assert len(content) > 5000
    path.write_bytes(content[:-cut])
    reads = Reads()
    assert bytes_of(load_data(folder, on_progress=reads)) == expected
    assert 0 < reads.shown[0][0] <= 64
    # Bytes that were changed, and not cut off, are found by the check of their line.
    with pytest.raises(KeyboardInterrupt):
        load_data(folder, preprocessing="fit", on_progress=stop)
    path = folder / ".mnist_sgd" / "fit" / name
    content = path.read_bytes()
    path.write_bytes(content[:-cut] + b"#" + content[len(content) - cut + 1 :])
    changed = bytes_of(load_data(folder, preprocessing="fit"))
    assert changed == bytes_of(load_data(folder, preprocessing="fit", cache=tmp_path / "fresh"))


FULL = """
import resource, sys
from mnist_sgd.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
sys.exit(main(["pack", *sys.argv[1:], "--workers", "1"]))
"""


def test_where_there_is_no_room_left_it_is_said_and_what_was_read_is_kept(tmp_path: Path) -> None:
    """A file may have 100,000 bytes here: the 100 images that are examined, and a batch of 64."""
    folder = tmp_path / "scans"
    fill(folder, {"seven": 150, "three": 150})
    line = [sys.executable, "-c", FULL, str(folder), str(tmp_path / "out")]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"mnist-sgd: {folder}/.mnist_sgd/mnist: cannot cache the preprocessed pictures here: "
        "File too large; --cache DIR keeps them in another place\n"
    )
    reads = Reads()
    found = bytes_of(load_data(folder, on_progress=reads))
    assert reads.shown[0][0] > 164
    assert found == anew(folder, tmp_path / "cache")


def damage(cache: Path, how: str) -> None:
    manifest, (images,) = cache / "manifest.json", cache.glob("*-images-idx3-ubyte")
    match how:
        case "no manifest":
            manifest.unlink()
        case "half a manifest":
            manifest.write_bytes(manifest.read_bytes()[:900])
        case "another version":
            manifest.write_text(manifest.read_text().replace('"version": 6', '"version": 5'))
        case "another kind of row":
            manifest.write_text(manifest.read_text().replace('["seven/', '[1, "seven/', 1))
        case "no images":
            images.unlink()
        case "images cut short":
            images.write_bytes(images.read_bytes()[:-1])
        case "images overwritten":
            images.write_bytes(images.read_bytes()[:16].ljust(images.stat().st_size, b"\0"))
        case "one bit of the images":
            content = bytearray(images.read_bytes())
            content[-1] ^= 1
            images.write_bytes(content)
        case "no check":
            manifest.write_text(manifest.read_text().replace('"check"', '"other"'))
        case "images of another number":
            content = bytearray(images.read_bytes()[:-784])
            content[7] -= 1
            images.write_bytes(content)


@pytest.mark.parametrize(
    "how",
    [
        "no manifest",
        "half a manifest",
        "another version",
        "another kind of row",
        "no images",
        "images cut short",
        "images overwritten",
        "one bit of the images",
        "no check",
        "images of another number",
    ],
)
def test_a_damaged_cache_is_made_anew(folder: Path, how: str, read: list[str]) -> None:
    first = bytes_of(load_data(folder))
    damage(folder / ".mnist_sgd" / "mnist", how)
    read.clear()
    assert bytes_of(load_data(folder)) == first
    assert sorted(read) == names(folder)


def test_two_imports_at_once_give_the_same_and_read_nothing_twice(tmp_path: Path) -> None:
    """100 files are examined in two batches; the other 500 make eight."""
    folder = tmp_path / "scans"
    fill(folder, {"seven": 300, "three": 300}, side=120)
    with importing(folder, 1) as first, importing(folder, 1) as second:
        shown = [process.communicate(timeout=PATIENCE)[0].split() for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    assert sum(map(len, shown)) == 10
    assert max(int(lines[-1]) for lines in shown if lines) == 600
    assert bytes_of(load_data(folder)) == anew(folder, tmp_path / "cache")


def test_it_says_that_it_waits_for_another_import(folder: Path) -> None:
    cache = folder / ".mnist_sgd" / "mnist"
    cache.mkdir(parents=True)
    waits = threading.Event()
    with (cache / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=load_data, args=[folder], kwargs={"on_wait": waits.set})
        thread.start()
        assert waits.wait(PATIENCE)
        assert not (cache / "manifest.json").exists()
    thread.join(PATIENCE)
    assert (cache / "manifest.json").exists()
    # A start that finds everything read needs no lock, and so no right to write.
    with (cache / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert len(load_data(folder).train) > 0


def test_what_is_mapped_stays_while_another_import_replaces_it(folder: Path) -> None:
    data = load_data(folder)
    before = data.train.images.tobytes()
    fill(folder, {"seven": 20}, start=500)
    assert len(load_data(folder).train) > len(data.train)
    assert data.train.images.tobytes() == before


def test_a_file_that_could_not_be_read_is_tried_again(folder: Path, read: list[str]) -> None:
    path = folder / "seven" / "failing.png"
    path.symlink_to("/proc/self/mem")
    skipped: list[str] = []
    load_data(folder, on_unusable=lambda error: skipped.append(str(error)))
    assert skipped == [f"{path}: cannot be read: Input/output error"]
    read.clear()
    load_data(folder, on_unusable=lambda error: skipped.append(str(error)))
    assert set(read) == {"seven/failing.png"}
    assert len(skipped) == 2


def test_classes_that_are_not_chosen_stay_as_they_were(tmp_path: Path, read: list[str]) -> None:
    folder = tmp_path / "scans"
    fill(folder, {"one": 20, "seven": 20, "three": 20})
    load_data(folder, classes=("seven", "three"))
    assert len(read) == 40
    one_three = bytes_of(load_data(folder, classes=("one", "three")))
    assert len(read) == 60
    load_data(folder, classes=("three", "seven"))
    assert bytes_of(load_data(folder, classes=("one", "three"))) == one_three
    assert len(read) == 60
    shutil.rmtree(folder / "one")
    load_data(folder)
    (folder / "seven" / "new.png").symlink_to("00020.png")
    load_data(folder)
    manifest = (folder / ".mnist_sgd" / "mnist" / "manifest.json").read_text()
    assert "one/" not in manifest
    assert len(read) == 61


def test_one_cache_folder_keeps_folders_with_the_same_names_apart(tmp_path: Path) -> None:
    """Of two whose files agree in name, size and time of change, too."""
    for number, place in enumerate(["here", "there"]):
        fill(tmp_path / place / "scans", {"seven": 12, "three": 12}, start=100 * number)
        for path in (tmp_path / place / "scans").glob("*/*"):
            new = path.with_name(f"{int(path.stem) % 100:05}.bmp")
            stroke(int(path.stem)).save(new)
            path.unlink()
            os.utime(new, (0, 0))
    cache = tmp_path / "cache"
    data = [load_data(tmp_path / place / "scans", cache=cache) for place in ("here", "there")]
    images = [np.concatenate([one.train.images, one.valid.images]) for one in data]
    assert images[0].shape == images[1].shape
    assert {image.tobytes() for image in images[0]}.isdisjoint(
        image.tobytes() for image in images[1]
    )
    assert not (tmp_path / "here" / "scans" / ".mnist_sgd").exists()
    assert len(list(cache.iterdir())) == 2


def test_a_place_that_cannot_be_written_to_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / ".mnist_sgd").write_text("in the way")
    with pytest.raises(CacheError) as caught:
        load_data(folder)
    assert str(caught.value) == (
        f"{folder}/.mnist_sgd/mnist: cannot cache the preprocessed pictures here: Not a directory"
    )
    assert len(load_data(folder, cache=tmp_path / "cache").train) > 0
