"""A set is an ordinary folder in which every picture is there once, whatever happens."""

import os
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from mnist_sgd.cli import main
from mnist_sgd.data import load_data
from mnist_sgd.workbench.errors import Refusal
from mnist_sgd.workbench.home import check_class_name, check_set_name
from mnist_sgd.workbench.sets import PictureSet, Sets
from pictures import fill
from waiting import let_the_clock_tick


@pytest.fixture
def sets(tmp_path: Path) -> Sets:
    return Sets(tmp_path)


@pytest.fixture
def pets(sets: Sets) -> PictureSet:
    return sets.create("pets", ["cat", "dog"])


def add(pictures: PictureSet, content: bytes, class_name: str, name: str = "a.png") -> str:
    return pictures.add(content, name, class_name, ".png").picture.sha256


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_picture_is_kept_under_its_name_with_its_digest_and_a_second_time_is_a_duplicate(
    pets: PictureSet,
) -> None:
    added = pets.add(b"one", "../My photo?.JPEG", "cat", ".jpg")
    digest = sha256(b"one").hexdigest()
    assert added.is_new
    assert added.picture.path == pets.folder / "cat" / f"My photo-{digest[:8]}.jpg"
    assert added.picture.path.read_bytes() == b"one"
    again = pets.add(b"one", "other.jpg", "dog", ".jpg")
    assert (again.is_new, again.picture) == (False, added.picture)
    assert files(pets.folder) == [f"cat/My photo-{digest[:8]}.jpg"]


@given(st.text(max_size=300))
def test_a_file_gets_a_name_that_every_file_system_has_whatever_its_sender_calls_it(
    name: str,
) -> None:
    from mnist_sgd.workbench.sets import _file_name

    made = _file_name(name, "0123456789abcdef", ".png")
    assert made.endswith("-01234567.png")
    assert not made.startswith((".", "-", " "))
    assert not set(made) & set('/\\:*?"<>|\0\n')
    assert len(made.encode()) < 110


def test_a_picture_is_moved_left_out_and_back_by_undo(pets: PictureSet) -> None:
    digest = add(pets, b"one", "cat")
    assert pets.move(digest, "dog").class_name == "dog"
    assert pets.move(digest, None).class_name is None
    assert pets.facts()["pictures"] == 0
    assert pets.facts()["left_out"] == 1
    assert pets.move(digest, None).class_name is None  # nothing is to be done, or undone
    assert pets.undo().class_name == "dog"
    assert pets.undo().class_name == "cat"
    with pytest.raises(Refusal, match="there is nothing to undo") as refused:
        pets.undo()
    assert refused.value.status == 409
    assert files(pets.folder) == [
        ".workbench/changes.jsonl",
        f"cat/a-{digest[:8]}.png",
    ]


def test_a_move_that_expects_another_class_is_refused(pets: PictureSet) -> None:
    digest = add(pets, b"one", "cat")
    with pytest.raises(Refusal, match="the picture is in 'cat' by now") as refused:
        pets.move(digest, None, expected="dog")
    assert refused.value.status == 412
    pets.move(digest, None, expected="cat")
    with pytest.raises(Refusal, match="the picture is left out by now"):
        pets.move(digest, "dog", expected="cat")


def test_an_undo_does_not_take_back_what_somebody_has_moved_since(pets: PictureSet) -> None:
    digest = add(pets, b"one", "cat")
    pets.move(digest, "dog")
    bird = pets.folder / "bird"
    bird.mkdir()
    path = pets.get(digest).path
    let_the_clock_tick(pets.folder)
    path.rename(bird / path.name)
    with pytest.raises(Refusal, match="has been moved since"):
        pets.undo()


def test_files_that_a_person_adds_moves_or_deletes_count(pets: PictureSet) -> None:
    add(pets, b"one", "cat")
    (pets.folder / "cat" / "more").mkdir()
    (pets.folder / "cat" / "more" / "by hand.png").write_bytes(b"two")
    (pets.folder / "cat" / ".hidden").write_bytes(b"three")
    (pets.folder / "cat" / "link.png").symlink_to("/etc/passwd")
    assert len(pets.pictures()) == 2
    (pets.folder / "cat" / "more" / "copy.png").write_bytes(b"two")
    assert len(pets.pictures()) == 2
    assert pets.copies() == ["cat/more/copy.png"]
    let_the_clock_tick(pets.folder)
    (pets.folder / "cat" / "more" / "copy.png").unlink()
    (pets.folder / "cat" / "more" / "by hand.png").unlink()
    assert len(pets.pictures()) == 1
    assert pets.copies() == []
    assert pets.pictures() == PictureSet(pets.folder).pictures()


def test_what_a_set_says_of_itself(pets: PictureSet, sets: Sets) -> None:
    for i in range(25):
        add(pets, b"cat%d" % i, "cat")
    add(pets, b"dog", "dog")
    facts = pets.facts()
    assert [(each["name"], each["pictures"]) for each in facts["classes"]] == [
        ("cat", 25),
        ("dog", 1),
    ]
    assert facts["warnings"] == [
        "dog has 1 pictures; 10 or more are needed to learn it",
        "one class has 25 times as many pictures as another",
    ]
    before = facts["fingerprint"]
    digest = add(pets, b"other", "cat")
    assert pets.facts()["fingerprint"] != before
    pets.move(digest, None)
    assert pets.facts()["fingerprint"] == before
    assert sets.create("empty").facts()["warnings"] == [
        "add a second class: a model tells classes apart"
    ]


def test_the_split_of_a_set_is_that_of_train(sets: Sets, tmp_path: Path) -> None:
    fill(tmp_path / "drawn", {"a": 20, "b": 20})
    made = sets.create("made", ["a", "b"])
    for path in sorted((tmp_path / "drawn").glob("*/*.png")):
        made.add(path.read_bytes(), path.name, path.parent.name, ".png")
    made.move(next(iter(made.pictures())), None)
    data = load_data(made.folder)
    valid = sum(each["valid"] for each in made.facts()["classes"])
    assert len(data.valid) == valid
    assert len(data.train) + len(data.valid) == made.facts()["pictures"] == 39
    assert main(["train", "--data", str(made.folder), "--epochs", "1", "--out", str(tmp_path)]) == 0


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".a", "a b", "é", "-a", "a" * 65, "a\n"])
def test_a_name_that_is_no_folders_is_refused(name: str, sets: Sets, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="a set's name is 1 to 64 letters"):
        check_set_name(name)
    for call in (sets.get, sets.create, sets.delete):
        with pytest.raises(Refusal):
            call(name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a/b",
        "..",
        ".a",
        " a",
        "a ",
        "a.",
        "a\\b",
        "a\nb",
        "a\0",
        "é" * 33,
        "Thumbs.db",
        "Train",
    ],
)
def test_a_class_that_could_not_be_a_folder_of_pictures_is_refused(
    name: str, pets: PictureSet
) -> None:
    for call in (check_class_name, lambda given: pets.create([given])):
        with pytest.raises(Refusal, match=r"^a class"):
            call(name)
    with pytest.raises(Refusal, match=r"^a class"):
        add(pets, b"one", name)
    assert pets.classes() == ["cat", "dog"]
    assert files(pets.folder) == []


@pytest.mark.parametrize("name", ["hot dog", "größe", "3", "猫", "a.b", "5 € + 1"])
def test_a_class_may_have_any_other_name(name: str, pets: PictureSet) -> None:
    add(pets, b"one", name)
    assert name in pets.classes()


def test_classes_that_differ_only_in_case_are_refused(pets: PictureSet) -> None:
    with pytest.raises(Refusal, match="there is a class 'cat', which differs from 'Cat' only in"):
        add(pets, b"one", "Cat")


def test_what_is_not_there_is_said_to_be_so(sets: Sets, pets: PictureSet) -> None:
    for call, text in (
        (lambda: sets.get("none"), "there is no set 'none'"),
        (lambda: sets.delete("none"), "there is no set 'none'"),
        (lambda: pets.get("0" * 64), f"there is no picture '{'0' * 64}'"),
    ):
        with pytest.raises(Refusal) as refused:
            call()
        assert (str(refused.value), refused.value.status) == (text, 404)


def test_a_deleted_set_is_gone_at_once_and_what_a_kill_left_is_cleared(
    sets: Sets, pets: PictureSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(pets, b"one", "cat")
    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", lambda path: os.fspath(path))  # as if it was killed
        sets.delete("pets")
    assert sets.names() == []
    assert len(list(sets.folder.iterdir())) == 1
    other = sets.create("other")
    (other.folder / ".workbench" / "incoming" / "half.png").write_bytes(b"ha")
    sets.clear_leftovers()
    assert files(sets.folder) == []
    assert sets.names() == ["other"]


def test_pictures_that_come_at_once_are_each_there_once(pets: PictureSet) -> None:
    with ThreadPoolExecutor(8) as pool:
        contents = [b"%d" % (i % 20) for i in range(100)]
        added = list(pool.map(lambda each: pets.add(each, "a.png", "cat", ".png"), contents))
    assert sum(each.is_new for each in added) == 20
    assert len(files(pets.folder)) == 20
    assert len(pets.pictures()) == 20
