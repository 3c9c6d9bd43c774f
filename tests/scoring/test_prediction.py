"""What `evqa.predict` takes, names, says and writes; scoring itself is in test_agreement."""

import csv
import errno
import json
import os
import shutil

import pytest

from evqa.errors import AnnotationError, ConfigError, FileError, RunError
from evqa.scoring import prediction
from evqa.scoring.prediction import Request, find_inputs, predict


def rows_of(path):
    return list(csv.reader(path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()))[1:]


@pytest.fixture(scope="module")
def videos(workplace, finished):
    return next((workplace / "synthetic").glob("v*-40-16/videos"))


@pytest.fixture
def odd(videos, tmp_path):
    """A folder with names of every kind, links and a pipe."""
    folder = tmp_path / "odd"
    source = next(videos.iterdir())
    for name in (b"[red]x.mp4", b"esc\x1b[31m.mp4", b"caf\xe9.mp4", b"IMG_1.mp4", b"IMG_1.mov", b"sub/[/b].mp4"):
        place = folder / os.fsdecode(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, place)
    (folder / "notes.txt").touch()
    (folder / "loop").symlink_to(".")
    os.mkfifo(folder / "pipe.mp4")
    return folder


IDS = ["IMG_1.mov", "IMG_1.mp4", "[red]x", os.fsdecode(b"caf\xe9"), "esc\x1b[31m", "sub/[/b]"]


def test_a_folder_is_scored_whole_and_names_are_shown_as_they_are(finished, odd, tmp_path, capsys):
    predict(Request(inputs=[odd], run=finished.path, out=tmp_path / "o.csv"))
    said = capsys.readouterr()
    assert [id_ for id_, _ in rows_of(tmp_path / "o.csv")] == IDS
    for name in ("[red]x", "caf\\xe9", "esc\\x1b[31m", "sub/[/b]"):
        assert f" {name} " in said.out
    assert "\x1b" not in said.out + said.err
    assert "passed over: 1 .txt." in said.err
    assert "not scored: Id pipe: is a pipe (FIFO), not a file" in said.err
    assert "6 scored, 1 failed." in said.out


def test_every_line_of_json_is_ascii_and_gives_the_name_back(finished, odd, capsys):
    predict(Request(inputs=[odd], run=finished.path, json=True))
    out = capsys.readouterr().out
    assert out.isascii()
    assert [json.loads(line)["id"] for line in out.splitlines()] == [*IDS, "pipe"]


def test_a_filled_file_holds_every_id_of_the_table_once_in_its_order(finished, videos, tmp_path, capsys):
    known = sorted(path.stem for path in videos.iterdir())[:2]
    table = tmp_path / "t.csv"
    lines = ["gone1,,", f"{known[0]},,", "gone2,,", "b,x,", f"{known[1]},,", "b,y,", f"{known[0]},,", 'q,"open', ",,x"]
    table.write_text("\n".join(["Id,Title,Description", *lines]) + "\n")
    request = Request(inputs=[table], videos=videos, run=finished.path, out=tmp_path / "o.csv", fill=0.25, json=True)
    predict(request)
    said = capsys.readouterr()
    rows = rows_of(tmp_path / "o.csv")
    assert [id_ for id_, _ in rows] == ["gone1", known[0], "gone2", "b", known[1], "q"]
    assert [id_ for id_, score in rows if score == "0.25"] == ["gone1", "gone2", "b", "q"]
    filled = {row["id"] for row in map(json.loads, said.out.splitlines()) if "filled" in row}
    assert filled == {"gone1", "gone2", "b", "q"}
    assert "Filled with 0.25: 4 of 6 ids.\n  2 x no video <Id>.mp4 in" in said.err
    assert "  1 x the Id stands in rows ..., ... with different values" in said.err


@pytest.mark.parametrize(
    ("flags", "error", "sentence"),
    [
        ({"out": "/dev/null"}, ConfigError, "--out /dev/null is a device, not a file; give the name of a file"),
        ({"out": "/dev/stdout"}, ConfigError, "--out /dev/stdout is a stream or a part of the system, not a file"),
        ({"out": "folder"}, ConfigError, "folder is a folder, not a file"),
        ({"out": "pipe"}, ConfigError, "pipe is a pipe (FIFO), not a file"),
        ({"out": "file/o.csv"}, ConfigError, "file/o.csv cannot be written: not a directory"),
        ({"out": "x" * 250 + ".csv"}, ConfigError, "cannot be written: file name too long"),
        ({"fill": 0.5}, ConfigError, "--fill 0.5: filled scores stand in a file only; give --out FILE.csv."),
        ({"fill": float("nan"), "out": "o.csv"}, ConfigError, "--fill nan: give a number in 0..1, the range of ECR."),
        ({"fill": 50.0, "out": "o.csv"}, ConfigError, "--fill 50: give a number in 0..1, the range of ECR."),
        ({"title": "caf\udce9"}, ConfigError, "--title, --description: the text is not UTF-8."),
        ({"inputs": ["pipe"]}, RunError, "None of the 1 inputs could be scored."),
        ({"inputs": ["/dev/zero"]}, RunError, "None of the 1 inputs could be scored."),
        ({"inputs": ["pipe.csv"]}, RunError, "None of the 1 inputs could be scored."),
        ({"inputs": ["link.csv"]}, RunError, "None of the 1 inputs could be scored."),
        ({"inputs": ["empty"]}, AnnotationError, "no videos in this folder or below (it is empty)"),
        ({"inputs": ["absent"]}, AnnotationError, "no such file or folder"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_scored(
    finished, videos, tmp_path, monkeypatch, flags, error, sentence
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prediction, "score_split", None)
    for name in ("pipe", "pipe.csv"):
        os.mkfifo(name)
    for name in ("folder", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link.csv").symlink_to("/dev/zero")
    given = {"inputs": [next(videos.iterdir())]} | {
        name: [tmp_path / one for one in value] if name == "inputs" else tmp_path / value if name == "out" else value
        for name, value in flags.items()
    }
    with pytest.raises(error) as caught:
        predict(Request(run=finished.path, **given))
    assert sentence in str(caught.value)
    assert not (tmp_path / "o.csv").exists()


def test_scores_are_shown_where_the_disk_is_full_at_the_end(finished, videos, tmp_path, capsys, monkeypatch):
    def full(path, *_):
        raise FileError(path, f"cannot be written: {os.strerror(errno.ENOSPC).lower()}")

    monkeypatch.setattr(prediction, "write_table", full)
    with pytest.raises(FileError, match="no space left on device"):
        predict(Request(inputs=[next(videos.iterdir())], run=finished.path, out=tmp_path / "o.csv"))
    assert "1 scored, 0 failed." in capsys.readouterr().out


def test_files_and_folders_together_have_ids_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("x/v.mp4", "y/v.mp4", "y/w.mp4", "v.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    given = [tmp_path.relative_to(tmp_path) / name for name in ("x", "y", "v.mp4", "y/w.mp4")]
    assert find_inputs(Request(inputs=given, run=tmp_path)).ids == ("x/v.mp4", "y/v.mp4", "y/w.mp4", "v.mp4")


def test_the_cases_of_tables_and_folders_are_found(cases, tmp_path):
    folder = cases / "media/10_predict_folder"
    assert find_inputs(Request(inputs=[folder], run=tmp_path)).ids == ("a", "o", "sub/deep", "t", "w")
    for table, videos, num in [
        ("07_nfd_subfolder/t.csv", cases / "media/07_nfd_subfolder/videos", 3),
        ("06_excel_trailing_commas.csv", tmp_path, None),
        ("06_dot_slash_ids.csv", tmp_path, None),
    ]:
        ids = [line.partition(",")[0] for line in (cases / "media" / table).read_text().splitlines()[1:]]
        for id_ in ids if num is None else ():
            (tmp_path / f"{id_}.mp4").write_bytes(b"x")
        inputs = find_inputs(Request(inputs=[cases / "media" / table], videos=videos, run=tmp_path))
        assert [record.id for record in inputs.records] == ids
        assert not inputs.failures
