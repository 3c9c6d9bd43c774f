"""The README is run: its commands work as printed, and the tree in docs/architecture.md is that of the modules."""

import csv
import math
import re

import pytest

from evqa import cli
from evqa.metrics import read_scores, write_scores
from tests import architecture
from tests.documented import ROOT, commands

README = (ROOT / "README.md").read_text(encoding="utf-8")
# Added to a command so that it takes seconds instead of hours, or so that it needs no published weights.
SHORTER = {
    "train": [
        "trainer.epochs=1",
        "data.val_fraction=0.4",
        "trainer.progress=false",
        "model.width=16",
        "data.workers=1",
    ],
    "benchmark": ["--clips", "1", "--rounds", "1", "--workers", "1"],
    "calibrate": ["--labels", "rising.csv"],  # after an epoch scores say nothing of the labels
}
NEEDS_WEIGHTS = "model=videollama2"  # with dry_run=true in the README itself
WEIGHTS_OF_OTHERS = {"lmm_evqa", "vqa2_ugc", "vqa2_image", "vqa2_assistant"}


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """The folder of someone who has a CSV and videos."""
    from evqa.datasets.synthetic import Synthetic

    made = Synthetic(folder=str(tmp_path / "made"), num_train=48, num_val=16)
    made.load()
    (made.home() / "videos").rename(tmp_path / "videos")
    (made.home() / "train.csv").rename(tmp_path / "train_data.csv")
    write_own_tables(tmp_path)
    (tmp_path / "new.mp4").write_bytes(next((tmp_path / "videos").iterdir()).read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_own_tables(folder):
    """The same clips as a spreadsheet writes them, with columns of its own; and a few without scores."""
    with (folder / "train_data.csv").open(newline="") as file:
        given = list(csv.DictReader(file))
    own = [["clip", "file", "headline", "caption", "genre", "quality"]]
    for at, row in enumerate(given):
        score = f"{1 + 4 * float(row['ECR']):.3f}".replace(".", ",")
        own.append([row["Id"], f"{row['Id']}.mp4", row["Title"], row["Description"], f"genre {at % 12}", score])
    for name, rows in (("ratings.csv", own), ("new.csv", [row[:-1] for row in own[:5]])):
        with (folder / name).open("w", newline="") as file:
            csv.writer(file, delimiter=";").writerows(rows)


def write_rising_labels(*, made_of, place):
    scores = read_scores(made_of).values
    rising = {id_: number / len(scores) for number, id_ in enumerate(sorted(scores, key=scores.get))}
    write_scores(place, rising, label="ECR")


def runs_of(workplace, experiment="default"):
    return sorted(path.parent for path in workplace.glob(f"runs/{experiment}/*/config.yaml"))


def ready(arguments, workplace):
    """Fill in what the README leaves to the reader: NAME, a folder and a table of one's own, a shell's star."""
    runs = runs_of(workplace)
    own = {"runs/default/*": [str(run) for run in runs], "folder/": ["videos"], "more.csv": ["train_data.csv"]}
    filled = [word for argument in arguments for word in own.get(argument, [argument])]
    swept = runs_of(workplace, "audio_ablation")
    named = {"runs/default": runs, "runs/audio_ablation": swept}
    for place, made in named.items():
        filled = [word.replace(f"{place}/NAME", str(made[-1])) if made else word for word in filled]
    if arguments[0] == "calibrate":
        write_rising_labels(made_of=runs[-1] / "predictions/val.csv", place=workplace / "rising.csv")
    return filled + SHORTER.get(arguments[0], [])


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_every_command_of_the_readme_runs(workplace, capsys):
    """Training comes first: the README begins with what is wanted, and that is a score."""
    ran = set()
    for arguments in sorted(commands("README.md"), key=lambda arguments: arguments[0] == "predict"):
        if WEIGHTS_OF_OTHERS.intersection(arguments) or arguments[0] == "serve":  # tests have folders in their layouts
            continue  # and a page of their own
        filled = arguments if NEEDS_WEIGHTS in arguments else ready(arguments, workplace)
        if "-m" in filled:  # the nine runs of the example, at three
            filled = [argument.replace("seed=0,1,2", "seed=0") for argument in filled]
        if "sweep=audio_ablation" in filled:
            filled.append("seed=0")
        assert cli.main(filled) == 0, f"evqa {' '.join(filled)}"
        ran.add(arguments[0])
    assert ran == {
        *("prepare", "train", "predict", "report", "ensemble"),
        *("calibrate", "explain", "eval", "benchmark", "merge", "runs"),
    }
    check_the_example(workplace, capsys)


def check_the_example(workplace, capsys):
    """Run the README's Python as it stands there."""
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    for name in ("a.mp4", "b.mp4"):
        (workplace / name).write_bytes((workplace / "new.mp4").read_bytes())
    capsys.readouterr()
    exec(code.replace("NAME", runs_of(workplace)[-1].name), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["a.mp4", "b.mp4"]
    assert all(math.isfinite(float(line.split()[1])) for line in lines)


def test_the_tree_is_that_of_the_modules():
    assert architecture.written() == architecture.tree(), "write it anew: python -m tests.architecture"
