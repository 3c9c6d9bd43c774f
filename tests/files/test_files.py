"""Files that are none, disks that are full, names that are no text."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from evqa.errors import FileError
from evqa.files.names import shown, shown_lines
from evqa.files.regular import check_readable, check_writable
from evqa.files.whole import whole_text, write_whole


def fifo(path):
    os.mkfifo(path)


def folder(path):
    path.mkdir()


def device(path):
    path.symlink_to("/dev/zero")


def unix_socket(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


@pytest.mark.parametrize(
    ("make", "kind"),
    [(fifo, r"a pipe \(FIFO\)"), (folder, "a folder"), (device, "a device"), (unix_socket, "a socket")],
)
def test_what_is_no_file_is_neither_read_nor_replaced(make, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path may have only 108 bytes
    path = tmp_path.relative_to(tmp_path) / "x"
    make(path)
    before = path.lstat()
    for check in (check_readable, check_writable, lambda path: write_whole(path, "text")):
        with pytest.raises(FileError, match=f"^x is {kind}, not a file$"):
            check(path)
    assert path.lstat() == before


def test_a_missing_file_may_be_written_and_not_read(tmp_path):
    check_writable(tmp_path / "new")
    with pytest.raises(FileError, match="new cannot be opened: no such file or directory"):
        check_readable(tmp_path / "new")


def test_a_full_disk_is_a_sentence_and_the_old_file_stays():
    with pytest.raises(FileError, match=r"^/dev/full is a device, not a file$"):
        write_whole(Path("/dev/full"), "x")


def test_a_file_that_cannot_grow_is_a_sentence_and_the_old_one_stays(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    program = (
        "import resource, signal, sys; from pathlib import Path; from evqa.files.whole import write_whole\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_whole(Path('a.txt'), 'x' * 5000)"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert "FileError: a.txt cannot be written: file too large" in result.stderr
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "old")]


def test_an_error_in_the_block_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")

    def broken_off():
        with whole_text(path) as file:
            file.write("new")
            raise KeyError

    with pytest.raises(KeyError):
        broken_off()
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]
    assert path.read_text() == "old"


def test_a_link_keeps_its_place_and_its_file_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "there" / "file.csv")
    write_whole(link, "new")
    assert link.is_symlink()
    assert (tmp_path / "there" / "file.csv").read_text() == "new"


def test_names_that_are_no_utf8_are_written_as_their_bytes(tmp_path):
    write_whole(tmp_path / "a.csv", f"{os.fsdecode(b'caf' + bytes([0xE9]) + b'.mp4')},1\n")
    assert (tmp_path / "a.csv").read_bytes() == b"caf\xe9.mp4,1\n"


def test_temporary_files_of_dead_processes_are_removed_and_those_of_living_ones_stay(tmp_path):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    (tmp_path / f".a[1].csv.{int(dead.stdout)}.tmp").touch()
    (tmp_path / f".a[1].csv.{os.getppid()}.tmp").touch()
    (tmp_path / f".b.csv.{int(dead.stdout)}.tmp").touch()
    write_whole(tmp_path / "a[1].csv", "x")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted([f".a[1].csv.{os.getppid()}.tmp", f".b.csv.{int(dead.stdout)}.tmp", "a[1].csv"])


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("Übung 日本 🎬.mp4", "Übung 日本 🎬.mp4"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\tb\r\nc", r"a\x09b\x0d\x0ac"),
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
        ("\u202egpj.mp4", r"\u202egpj.mp4"),
        ("\x9b31m", r"\x9b31m"),
    ],
)
def test_nothing_in_a_name_steers_the_terminal(text, seen):
    assert shown(text) == seen


def test_lines_stay_lines():
    assert shown_lines("a\x07\nb") == "a\\x07\nb"
