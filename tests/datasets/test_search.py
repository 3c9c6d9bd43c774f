import os
from pathlib import Path

import pytest

from evqa.datasets.search import distinct_ids, find_media


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    for name in (
        *("a.MP4", "w.wmv", "o.ogv", "t.m2ts", "IMG_1.mp4", "IMG_1.mov", "sub/deep/a.mp4", "sub/IMG_1.mp4"),
        *(".hidden.mp4", "._a.mp4", ".git/x.mp4", "notes.txt", "README", "sub/sound.wav"),
        *("../other/far.mp4", "../other/up/near.mp4"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    for name, target in (
        ("loop", "."),
        ("sub/back", ".."),
        ("out", "../other"),
        ("above", "../.."),
        ("gone.mp4", "no"),
    ):
        (folder / name).symlink_to(target)
    (tmp_path / "other/up/again").symlink_to("..")
    os.mkfifo(folder / "pipe.mkv")
    return folder


def test_sub_folders_are_searched_once_each_and_the_rest_is_counted(folder: Path) -> None:
    found = find_media(str(folder))
    assert [os.path.relpath(path, folder) for path in found.files] == [
        *("IMG_1.mov", "IMG_1.mp4", "a.MP4", "gone.mp4", "o.ogv", "out/far.mp4", "out/up/near.mp4", "pipe.mkv"),
        *("sub/IMG_1.mp4", "sub/deep/a.mp4", "t.m2ts", "w.wmv"),
    ]
    assert {Path(path).name: reason for path, reason in found.unreadable.items()} == {
        "gone.mp4": "cannot be opened: no such file or directory",
        "pipe.mkv": "is a pipe (FIFO), not a file",
    }
    assert found.sentence() == "1 .txt, 1 .wav, 3 hidden, 1 without suffix"


@pytest.mark.parametrize(
    ("files", "ids"),
    [
        ([("in", "a.mp4"), ("in", "s/a.mp4")], ["a", "s/a"]),
        ([("in", "a.mp4"), ("in", "a.mov"), ("in", "b.mp4")], ["a.mp4", "a.mov", "b"]),
        ([("in", "a.mp4"), ("in", "a.mov"), ("in", "a.mp4.mov")], ["a.mp4", "a.mov", "a.mp4.mov"]),
        ([("x", "a.mp4"), ("y", "a.mp4"), ("y", "b.mp4")], ["x/a.mp4", "y/a.mp4", "b"]),
        ([(None, "x/a.mp4"), (None, "a.mp4")], ["x/a.mp4", "a.mp4"]),
        ([("in", "a.b.mp4")], ["a.b"]),
    ],
)
def test_every_file_has_an_id_of_its_own(files: list[tuple[str | None, str]], ids: list[str]) -> None:
    given = [(folder, f"{folder}/{name}" if folder else name) for folder, name in files]
    assert distinct_ids(given) == ids


def test_ids_of_many_files_need_no_quadratic_time() -> None:
    files = [("in", f"in/{n // 2}.{'mp4' if n % 2 else 'mov'}") for n in range(50_000)]
    assert len(set(distinct_ids(files))) == len(files)
