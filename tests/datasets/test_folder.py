import os
import unicodedata
from pathlib import Path

import pytest

from evqa.datasets.folder import MediaFolder
from evqa.errors import AnnotationError, MediaError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "videos"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "secret.mp4").write_bytes(b"x")
    for name in ("a.mp4", "a.webm", "b.webm", "c.MOV", "plain", "-dash.mp4", "a b, ü & 视频 (1).mp4", "sub/d.mp4"):
        (root / name).write_bytes(b"x")
    (root / unicodedata.normalize("NFD", "é.mp4")).write_bytes(b"x")
    for name in ("ü.mp4", "ö/d.mp4", *(unicodedata.normalize("NFD", name) for name in ("ü.mp4", "Übung/Äpfel/d.mp4"))):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    os.mkfifo(root / "pipe.mp4")
    (root / "zero.mp4").touch()
    (root / "dir.mp4").mkdir()
    (root / "out.mp4").symlink_to(tmp_path / "secret.mp4")
    (root / "inside.mp4").symlink_to("a.mp4")
    (root / "up").symlink_to(tmp_path)
    (root / "loop.mp4").symlink_to("loop.mp4")
    return root


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a", "a.mp4"),
        ("a.webm", "a.webm"),
        ("b", "b.webm"),
        ("c", "c.MOV"),
        ("plain", "plain"),
        ("-dash", "-dash.mp4"),
        ("a b, ü & 视频 (1)", "a b, ü & 视频 (1).mp4"),
        ("é", unicodedata.normalize("NFD", "é.mp4")),
        ("sub/d", "sub/d.mp4"),
        ("inside", "inside.mp4"),
        ("./a", "a.mp4"),
        ("./sub/./d", "sub/d.mp4"),
        ("sub//d", "sub/d.mp4"),
        ("sub/../b", "b.webm"),
        ("gone/../b", "b.webm"),
        ("Übung/Äpfel/d", unicodedata.normalize("NFD", "Übung/Äpfel/d.mp4")),
        (unicodedata.normalize("NFD", "Übung/Äpfel/d"), unicodedata.normalize("NFD", "Übung/Äpfel/d.mp4")),
        (unicodedata.normalize("NFD", "ö/d"), "ö/d.mp4"),
        ("ü", "ü.mp4"),
        (unicodedata.normalize("NFD", "ü"), unicodedata.normalize("NFD", "ü.mp4")),
    ],
)
def test_an_id_finds_its_file(root: Path, name: str, file: str) -> None:
    assert MediaFolder(root).find(name) == root / file


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../secret", "would leave the folder"),
        ("sub/../../secret", "would leave the folder"),
        ("..\\secret", "would leave the folder"),
        ("/etc/passwd", "would leave the folder"),
        ("up/secret", "no video secret.mp4 in"),
        ("out", "out.mp4 is a link that leads out of"),
        ("./../a", "would leave the folder"),
        ("", "names no file: the name is empty"),
        (" ", "names no file: the name is empty"),
        (".", "names a folder, not a file"),
        ("sub/", "names a folder, not a file"),
        ("sub/..", "names a folder, not a file"),
        ("pipe", "no video pipe.mp4 in"),
        ("a/" * 3000 + "b", "no video b.mp4 in"),
        ("absent", "no video absent.mp4 in"),
        ("dir", "no video dir.mp4 in"),
        ("zero", "zero.mp4 is empty (0 bytes)"),
        ("loop", "cannot be looked up in"),
        ("nul\0byte", "no video"),
        ("x" * 300 + "/y", "no video y.mp4"),
    ],
)
def test_an_id_that_finds_nothing_says_why(root: Path, name: str, reason: str) -> None:
    with pytest.raises(MediaError) as error:
        MediaFolder(root).find(name)
    assert reason in error.value.reason


def test_absolute_names_below_the_folder_and_links_on_request_are_fine(root: Path) -> None:
    assert MediaFolder(root).find(str(root / "sub" / "d.mp4")) == root / "sub" / "d.mp4"
    assert MediaFolder(root, follow_links=True).find("out") == root / "out.mp4"


def test_a_folder_that_does_not_exist_is_an_error_of_the_table(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="no such folder of media files"):
        MediaFolder(tmp_path / "none")
