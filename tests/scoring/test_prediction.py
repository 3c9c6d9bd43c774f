"""What `evqa.predict` takes, names, says and writes; scoring itself is in test_agreement."""

import csv
import errno
import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from evqa.cli import exit_code
from evqa.errors import AnnotationError, ConfigError, FileError, MissingDependencyError, RunError
from evqa.predict import parser
from evqa.scoring import outcome, outputs, prediction
from evqa.scoring.prediction import predict
from evqa.scoring.request import Request
from evqa.scoring.score import Meaning


def rows_of(path):
    return list(csv.reader(path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()))[1:]


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
    predict(Request(inputs=[odd], scorer=finished.path, out=tmp_path / "o.csv"))
    said = capsys.readouterr()
    assert [id_ for id_, _ in rows_of(tmp_path / "o.csv")] == IDS
    lines = [line.split("\t") for line in said.out.splitlines()]
    assert [cells[0] for cells in lines[:6]] == ["IMG_1.mov", "IMG_1.mp4", "[red]x", "caf\\xe9", "esc\\x1b[31m", "pipe"]
    assert [cells[1] for cells in lines if cells[1]] == [score for _, score in rows_of(tmp_path / "o.csv")]
    assert lines[5] == ["pipe", "", "not scored: is a pipe (FIFO), not a file"]
    assert "\x1b" not in said.out + said.err
    assert "passed over: 1 .txt." in said.err
    assert "not scored: Id pipe: is a pipe (FIFO), not a file" in said.err
    assert "6 scored, 1 failed." in said.err


def test_a_photo_is_a_video_of_one_frame_where_the_model_reads_no_images(finished, tmp_path, capsys):
    place = tmp_path / "photo.jpg"
    Image.new("RGB", (60, 40), (90, 10, 200)).save(place)
    predict(Request(inputs=[place], scorer=finished.path))
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{place}\t0.")
    notes = ["the file is a still image", "it is taken as a video of one frame"]
    assert line.endswith("; ".join([*notes, "no audio track: the file is a still image"]))
    with pytest.raises(AnnotationError, match=r"1 .jpg.*; of images a folder is scored by what reads them as images"):
        predict(Request(inputs=[tmp_path], scorer=finished.path))


def test_every_line_of_json_is_ascii_and_gives_the_name_back(finished, odd, capsys):
    predict(Request(inputs=[odd], scorer=finished.path, json=True))
    out = capsys.readouterr().out
    assert out.isascii()
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["id"] for row in rows] == [*IDS[:5], "pipe", IDS[5]]
    about = ["index", "id", "path", "status"]
    assert list(rows[0]) == [*about, "label", "range", "score", "outside", "percentile", "missing"]
    assert list(rows[5]) == [*about, "error"]
    assert [(row["index"], row["status"]) for row in rows] == [(n, "failed" if n == 5 else "scored") for n in range(7)]
    assert [Path(row["path"]).stem for row in rows] == [Path(row["id"]).stem for row in rows]
    assert (rows[0]["label"], rows[0]["range"], rows[0]["outside"]) == ("ECR", [0.0, 1.0], False)


def test_a_filled_file_holds_every_id_of_the_table_once_in_its_order(finished, videos, tmp_path, capsys):
    known = sorted(path.stem for path in videos.iterdir())[:2]
    table = tmp_path / "t.csv"
    lines = ["gone1,,", f"{known[0]},,", "gone2,,", "b,x,", f"{known[1]},,", "b,y,", f"{known[0]},,", 'q,"open', ",,x"]
    table.write_text("\n".join(["Id,Title,Description", *lines]) + "\n")
    request = Request(inputs=[table], videos=videos, scorer=finished.path, out=tmp_path / "o.csv", fill=0.25, json=True)
    predict(request)
    said = capsys.readouterr()
    rows = rows_of(tmp_path / "o.csv")
    assert [id_ for id_, _ in rows] == ["gone1", known[0], "gone2", "b", known[1], "q"]
    assert [id_ for id_, score in rows if score == "0.25"] == ["gone1", "gone2", "b", "q"]
    objects = [json.loads(line) for line in said.out.splitlines()]
    assert [row["index"] for row in objects] == list(range(len(lines)))
    assert [row["path"] for row in objects[:2]] == [None, str(videos / f"{known[0]}.mp4")]
    filled = {row["id"] for row in objects if "filled" in row}
    assert filled == {"gone1", "gone2", "b", "q"}
    assert "Filled with 0.25: 4 of 6 ids.\n  2 x no video <Id>.mp4 in" in said.err
    assert "  1 x the Id stands in rows ..., ... with different values" in said.err


def status_of(*arguments):
    return exit_code(lambda: predict(Request(**vars(parser().parse_args(arguments)))))


def test_strict_ends_with_3_where_a_part_has_no_score_behind_everything_else(finished, clips, tmp_path, capsys):
    (tmp_path / "bad.mp4").write_text("no video")
    names, out = [str(tmp_path / "bad.mp4"), str(clips[0])], tmp_path / "o.csv"
    for inputs, flags, status in (
        (names, [], 0),
        (names, ["--strict", "--out", str(out)], 3),
        (names, ["--strict", "--out", str(out)], 3),  # which has written it before
        (names[:1], ["--strict"], 2),
        (names[1:], ["--strict"], 0),
    ):
        assert status_of("--scorer", str(finished.path), *inputs, *flags) == status, (inputs, flags)
        last = capsys.readouterr().err.splitlines()[-1]
        assert (last == "--strict: 1 of 2 inputs have no score.") == (status == 3)
    assert [row[0] for row in rows_of(out)] == names[1:]


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
        predict(Request(scorer=finished.path, **given))
    assert sentence in str(caught.value)
    assert not (tmp_path / "o.csv").exists()


def test_scores_are_shown_and_kept_where_the_disk_is_full_at_the_end(finished, clips, tmp_path, capsys, monkeypatch):
    def full(path, *_):
        raise FileError(path, f"cannot be written: {os.strerror(errno.ENOSPC).lower()}")

    given = {"inputs": clips[:1], "scorer": finished.path, "out": tmp_path / "o.csv"}
    with monkeypatch.context() as patched:
        patched.setitem(outputs.WRITERS, ".csv", full)
        with pytest.raises(FileError, match="no space left on device"):
            predict(Request(**given))
    assert "1 scored, 0 failed." in capsys.readouterr().err
    monkeypatch.setattr(outcome, "tried", None)  # nothing is left to be scored
    predict(Request(**given))
    assert len(rows_of(tmp_path / "o.csv")) == 1


def test_a_kind_of_file_that_is_not_known_or_needs_a_package_is_refused_first(finished, clips, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"o.txt: unknown kind of file; name it one of \*.csv, \*.tsv, \*.jsonl"):
        predict(Request(inputs=clips[:1], scorer=finished.path, out=tmp_path / "o.txt"))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingDependencyError, match=r"o.parquet: Parquet needs the package pyarrow"):
        predict(Request(inputs=clips[:1], scorer=finished.path, out=tmp_path / "o.parquet"))
    assert not list(tmp_path.iterdir())


def test_files_of_every_kind_hold_the_same_scores_and_what_they_mean(finished, clips, tmp_path, capsys):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = tmp_path / "t.csv"
    table.write_text(f"Id\n{clips[0].stem}\ngone\n{clips[1].stem}\n")
    for kind in ("csv", "tsv", "jsonl", "parquet"):
        out = tmp_path / f"o.{kind}"
        predict(Request(inputs=[table], videos=clips[0].parent, scorer=finished.path, out=out, fill=0.25))
    cells = [(clips[0].stem, float(rows_of(tmp_path / "o.csv")[0][1])), ("gone", 0.25)]
    assert (tmp_path / "o.csv").read_text().splitlines()[0] == "Id,ECR"
    assert (tmp_path / "o.tsv").read_text() == (tmp_path / "o.csv").read_text().replace(",", "\t")
    objects = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [(row["id"], row["score"]) for row in objects[:2]] == cells
    assert [row.get("filled") for row in objects] == [None, True, None]
    read = parquet.read_table(tmp_path / "o.parquet")
    assert [(row["id"], row["score"]) for row in read.to_pylist()[:2]] == cells
    assert read["filled"].to_pylist() == [False, True, False]
    assert read.schema.metadata[b"range"] == b"[0.0, 1.0]"
    failed = json.loads((tmp_path / "o.jsonl.failures.jsonl").read_text())
    assert (failed["id"], failed["table"], failed["row"]) == ("gone", "t.csv", 2)
    assert "no video gone.mp4 in" in failed["error"]


class Fixed:
    """A scorer that gives each record the number in its title."""

    window = 4
    meaning = Meaning(scale=prediction.LabelScale(), training_labels=[0.1 * n for n in range(11)])

    def score(self, records):
        from evqa.scoring.score import Score

        for record in records:
            yield Score(id=record.id, value=float(record.texts["title"]))


@pytest.fixture
def numbered(tmp_path, monkeypatch):
    """A table of 30 files with the score that each will get."""
    (tmp_path / "videos").mkdir()
    lines = ["id,title", "low,-0.013", "high,1.5", *(f"v{n},{0.5 - n / 100}" for n in range(28))]
    for name in ("low", "high", *(f"v{n}" for n in range(28))):
        (tmp_path / f"videos/{name}.mp4").write_bytes(b"x")
    (tmp_path / "t.csv").write_text("\n".join([*lines, *(f"gone{n}," for n in range(25))]) + "\n")
    monkeypatch.setattr(prediction, "load_scorer", lambda request: Fixed())
    return {"inputs": [tmp_path / "t.csv"], "videos": tmp_path / "videos", "scorer": tmp_path}


def test_a_score_beyond_the_scale_is_told_in_every_form_with_its_percentile(numbered, capsys, monkeypatch):
    predict(Request(**numbered))
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == "low\t-0.013\toutside 0..1"
    assert "30 scored, 2 of them outside the scale (not clipped), 25 failed." in said.err
    predict(Request(**numbered, json=True))
    low, high, first = map(json.loads, capsys.readouterr().out.splitlines()[:3])
    assert [(row["outside"], row["percentile"]) for row in (low, high, first)] == [
        (True, 0.0),
        (True, 100.0),
        (False, 50.0),
    ]


def test_a_terminal_shows_a_few_scores_and_counts_and_never_a_line_a_video(numbered, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    predict(Request(**numbered, out=tmp_path / "o.csv"))
    said = capsys.readouterr()
    shown = [line.strip("│ ").split("│")[0].strip() for line in said.out.splitlines() if line.startswith("│")]
    assert shown == ["low", "high", "v0", "v1", "v2", "low", "v27", "v26", "v25", "v24"]
    assert "the first 5 and the lowest 5 of 30" in said.out
    assert "│ -0.0130 │ 0          │ outside 0..1 │" in said.out
    assert said.out.count("not scored: ") == 20
    assert "... and 5 more." in said.out
    assert "  25 x no video <Id>.mp4 in" in said.out
    assert f"All failures: {tmp_path}/o.csv.failures.jsonl" in said.err
    assert f"Scores: {tmp_path}/o.csv" in said.err
    assert len((tmp_path / "o.csv.failures.jsonl").read_text().splitlines()) == 25


@pytest.mark.slow
def test_a_real_terminal_gets_a_bar_and_a_table_and_ctrl_c_one_sentence(finished, clips, tmp_path):
    command = [
        sys.executable,
        "-m",
        "evqa.predict",
        clips[0].parent,
        "--run",
        finished.path,
        "--out",
        tmp_path / "o.csv",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "150"}
    screen, end = pty.openpty()
    with subprocess.Popen(
        command, stdout=end, stderr=end, stdin=end, env=environment, start_new_session=True
    ) as process:
        os.close(end)
        said = b""
        try:
            while piece := os.read(screen, 4096):
                said += piece
        except OSError:  # the other end is closed
            pass
    os.close(screen)
    assert process.returncode == 0
    text = said.decode()
    assert "56/56" in text
    assert "56 scored, 0 failed." in text
    assert text.count("clip_") < 15


def test_sound_files_of_a_folder_are_scored_by_sound(finished, tmp_path, capsys):
    import numpy as np
    import soundfile

    for kind in ("wav", "flac", "mp3"):
        soundfile.write(tmp_path / f"{kind}.{kind}", np.sin(np.arange(32_000) / 20.0), 16_000)
    with pytest.raises(AnnotationError, match=r"no videos .*1 \.wav\); sound files are scored with --modal a"):
        predict(Request(inputs=[tmp_path], scorer=finished.path))
    predict(Request(inputs=[tmp_path], scorer=finished.path, modal="a"))
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [cells[0] for cells in lines] == ["flac", "mp3", "wav"]
    assert all(0 < float(cells[1]) < 1 for cells in lines)


@pytest.mark.parametrize("kind", ["name", "folder"])
def test_the_columns_that_a_published_scorers_question_names_are_read(tmp_path, kind):
    table, weights = tmp_path / "t.csv", tmp_path / "weights"
    table.write_text("id,stall\na,2+3\n")
    weights.mkdir()
    (weights / "config.json").write_text('{"model_type": "llava_qwen"}')
    request = Request(
        inputs=[table],
        scorer="vqa2_streaming" if kind == "name" else weights,
        videos=tmp_path,
        override=["prompt=vqa2_streaming"],
    )
    with pytest.raises(
        AnnotationError, match=r"no column 'stalling' \(did you mean 'stall'\?\).* names \{stalling\}\)"
    ):
        predict(request)
