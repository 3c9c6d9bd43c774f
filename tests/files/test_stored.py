"""Run folders with files that were cut short or damaged: sentences, and nothing half believed."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from evqa.ensemble import main as ensemble
from evqa.errors import FileError
from evqa.files.stored import read_object, read_objects
from evqa.report import main as report
from evqa.reporting.runs import read_run
from evqa.scoring.records import read_record

DAMAGE = {
    "cut in the middle": lambda data: data[: len(data) // 2 - 1],
    "without its end": lambda data: data[:-2],
    "empty": lambda data: b"",
    "zeros": lambda data: bytes(len(data)),
    "noise": lambda data: bytes(byte ^ 0xA5 for byte in data),
    "deep": lambda data: b"[" * 100_000,
    "a number": lambda data: b"7\n",
    "not UTF-8": lambda data: b"\xff\xfe" + data,
}
FILES = ("predictions/val.csv", "predictions/val.targets.csv", "predictions/val.json", "metrics.jsonl")
LABELS = {f"v{number}": number / 20 for number in range(20)}


def make_run(folder: Path, *, seed: int) -> Path:
    (folder / "predictions").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump({"seed": seed, "data": {"label": {"name": "ECR"}}}))
    noise = {name: 0.013 * ((seed + 1) * index % 7) for index, name in enumerate(LABELS)}
    scores = {name: 0.7 * label + noise[name] for name, label in LABELS.items()}
    rows = "".join(f"{name},{score!r}\n" for name, score in scores.items())
    (folder / "predictions/val.csv").write_text("Id,ECR\n" + rows)
    targets = "".join(f"{name},{label!r},5.0,true,3,3\n" for name, label in LABELS.items())
    header = "Id,ECR,duration,has_audio,title_chars,description_chars\n"
    (folder / "predictions/val.targets.csv").write_text(header + targets)
    record = {"n": 20, "num_failed": 0, "num_unlabelled": 0, "failures": [], "metrics": {}}
    (folder / "predictions/val.json").write_text(json.dumps(record) + "\n")
    (folder / "metrics.jsonl").write_text('{"step": 1, "train/loss": 0.5}\n{"step": 2, "train/loss": 0.4}\n')
    (folder / "predictions/finished").touch()
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1, 2):
        make_run(folder / f"s{seed}", seed=seed)
    return folder


@pytest.fixture
def damaged(runs, tmp_path, request):
    folder = tmp_path / "runs"
    shutil.copytree(runs, folder)
    file, damage = request.param
    path = folder / "s1" / file
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    return folder, path


cases = pytest.mark.parametrize(
    "damaged", [(file, damage) for file in FILES for damage in DAMAGE], indirect=True, ids=lambda case: "-".join(case)
)


@cases
def test_a_report_leaves_a_damaged_run_out_and_says_why(damaged):
    folder, path = damaged
    run = read_run(folder / "s1", split="val")
    if path.name == "metrics.jsonl":  # whole lines are believed; they are no scores
        assert (run.problem, len(run.scores)) == (None, 20)
    else:
        assert run.scores is None
        assert str(path) in run.problem
        assert len(run.problem) < 1000


def test_a_report_of_the_other_runs_is_written(runs, tmp_path):
    shutil.copytree(runs, tmp_path / "runs")
    (tmp_path / "runs/s1/predictions/val.csv").write_text("Id,ECR\nv0,0.5\nv1,0.")
    assert report([str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 0
    (problem,) = json.loads((tmp_path / "out/report.json").read_text())["unfinished"].values()
    assert "was cut short" in problem


@cases
def test_an_ensemble_refuses_a_damaged_member(damaged, tmp_path, capsys):
    folder, path = damaged
    code = ensemble([*(str(folder / f"s{seed}") for seed in range(3)), "--out", str(tmp_path / "out.csv")])
    error = capsys.readouterr().err
    if path.name in ("val.json", "metrics.jsonl"):  # it does not read them
        assert code == 0
    else:
        assert (code, (tmp_path / "out.csv").exists()) == (2, False)
        assert str(path) in error or "s1 lacks" in error
        assert "Traceback" not in error


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_weights_are_refused(damage, runs, tmp_path, capsys):
    members = [str(runs / f"s{seed}") for seed in range(3)]
    assert ensemble([*members, "--method", "weights", "--out", str(tmp_path / "out.csv")]) == 0
    weights = tmp_path / "out.json"
    weights.write_bytes(DAMAGE[damage](weights.read_bytes()))
    capsys.readouterr()
    assert ensemble([*members, "--weights", str(weights), "--out", str(tmp_path / "other.csv")]) == 2
    assert str(weights) in capsys.readouterr().err


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_is_a_sentence(damage, runs, tmp_path):
    path = tmp_path / "val.json"
    path.write_bytes(DAMAGE[damage]((runs / "s0/predictions/val.json").read_bytes()))
    with pytest.raises(FileError, match=r"val\.json is damaged"):
        read_record(path)


def test_whole_lines_of_a_cut_history_count(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n[2]\nnonsense\n{"step": 3}\n{"st')
    assert read_objects(path) == [{"step": 1}, {"step": 3}]


def test_a_folder_or_a_pipe_in_the_place_of_a_file_is_a_sentence(tmp_path):
    with pytest.raises(FileError, match="is a folder, not a file"):
        read_object(tmp_path)
