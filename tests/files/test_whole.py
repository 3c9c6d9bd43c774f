"""Folders that appear whole or not at all."""

import pytest

from evqa.errors import FileError
from evqa.files.whole import whole_folder, whole_path


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("empty_one_there", [True, False])
def test_a_folder_appears_when_everything_is_in_it(tmp_path, empty_one_there):
    if empty_one_there:
        (tmp_path / "out").mkdir()
    with whole_folder(tmp_path / "out") as draft:
        (draft / "a").write_text("a")
        assert not (tmp_path / "out" / "a").exists()
    assert names(tmp_path) == ["out", "out/a"]


def make(whole, path, text, *, fault=None):
    """Write a file `a` in a folder, or the file itself; `fault` is what goes wrong or happens before the end."""
    with whole(path) as draft:
        (draft / "a" if whole is whole_folder else draft).write_text(text)
        if fault:
            fault()


def fail():
    raise KeyError


def test_a_folder_that_could_not_be_finished_leaves_nothing(tmp_path):
    with pytest.raises(KeyError):
        make(whole_folder, tmp_path / "out", "a", fault=fail)
    assert names(tmp_path) == []


def test_of_two_makers_of_a_folder_the_first_one_wins(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(FileError, match="out is there already and is not empty"):
        make(whole_folder, out, "second", fault=lambda: make(whole_folder, out, "first"))
    assert names(tmp_path) == ["out", "out/a"]
    assert (out / "a").read_text() == "first"


def test_a_writer_that_wants_a_name_gets_one_and_the_file_appears_at_the_end(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(KeyError):
        make(whole_path, path, "half", fault=fail)
    assert path.read_text() == "old"
    make(whole_path, path, "new", fault=lambda: None)
    assert names(tmp_path) == ["a"]
    assert path.read_text() == "new"
