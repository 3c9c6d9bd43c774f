"""`evqa calibrate` reads what runs have predicted, and keeps a map and intervals beside them."""

import json
import subprocess
import sys

import numpy as np
import pytest
import yaml

from evqa.calibrate import main
from evqa.scoring.calibration import read_calibration

N = 60


@pytest.fixture
def make(tmp_path):
    """Write a finished run whose scores lie too near to their middle."""

    def run(name="r", *, n=N, groups=0, scores=None, label="ECR", record=(), history=()):
        folder = tmp_path / name
        (folder / "predictions").mkdir(parents=True)
        generator = np.random.default_rng(0)
        labels = generator.uniform(size=n)
        if scores is None:
            scores = 0.3 + 0.4 * labels + 0.08 * generator.normal(size=n)
        (folder / "config.yaml").write_text(yaml.safe_dump({"seed": 0, "modal": {"name": "av"}}))
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in history))
        place = folder / "predictions"
        ids = [f"[red]v{number}" for number in range(n)]
        rows = [f"{id_},{score!r}" for id_, score in zip(ids, map(float, scores), strict=True)]
        (place / "val.csv").write_text("\n".join([f"Id,{label}", *rows]) + "\n")
        cells = [[id_, repr(float(one))] for id_, one in zip(ids, labels, strict=True)]
        cells = [[*row, f"g{number % groups}"] for number, row in enumerate(cells)] if groups else cells
        header = ["Id", label, "group"] if groups else ["Id", label]
        (place / "val.targets.csv").write_text("\n".join(map(",".join, [header, *cells])) + "\n")
        about = {"checkpoint": "best.ckpt", "checkpoint_sha256": "0" * 64, "modal": "av", "n": n}
        about |= {"label": {"name": label, "range": [0, 1]}} | dict(record)
        (place / "val.json").write_text(json.dumps(about))
        (place / "finished").touch()
        return folder

    return run


@pytest.fixture
def calibrate(capsys):
    def run(*arguments):
        try:
            main([*map(str, arguments)])
            code = 0
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        return code, " ".join(said.out.split()), " ".join(said.err.split())

    return run


@pytest.mark.parametrize("method", ["linear", "isotonic"])
def test_a_run_is_calibrated_and_its_file_says_what_was_printed(make, calibrate, method):
    folder = make()
    code, out, _ = calibrate(folder, "--method", method)
    content = json.loads((folder / "calibration.json").read_text())
    measured, found = content["measured"], read_calibration(folder / "calibration.json")
    assert code == 0
    assert f"{folder}: val, n = 60 items, ECR on 0 to 1" in out
    slope = measured["slope"]
    assert f"slope {slope['value']:.3f} [{slope['low']:.3f}, {slope['high']:.3f}]; calibrated: 1" in out
    assert f"recalibrated ({method}) {measured['rmse_after']:.4f} out of fold" in out
    assert f"90 % interval recalibrated score ± {content['half_width']:.4g}, cut to the scale" in out
    assert f"labels inside {100 * measured['coverage']:.1f} % out of fold" in out
    assert "with this n, 82 to 96 % of new ones" in out
    assert out.endswith(f"Wrote {folder / 'calibration.json'}")
    assert "Note" not in out
    value, low, high = found.of(0.5)
    assert (low, high) == pytest.approx((value - content["half_width"], value + content["half_width"]))
    assert found.of(-3).low == 0
    assert found.of(3).high == 1
    assert found.statement == "90 % interval, from n = 60 items of val; holds for videos like these"


def test_no_model_and_no_torch_is_loaded(make):
    program = "import sys; from evqa.calibrate import main; main(sys.argv[1:]); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program, str(make())], check=True, capture_output=True)


def test_groups_few_items_and_chosen_checkpoints_are_said(make, calibrate):
    history = [{"epoch": epoch, "val/challenge": 0.5 + 0.1 * epoch} for epoch in range(4)]
    folder = make(groups=15, history=history)
    code, out, _ = calibrate(folder, "--level", 0.8)
    assert code == 0
    assert "n = 60 items in 15 groups" in out
    assert "80 % interval" in out
    assert "Below 30 groups: the intervals are rough" in out
    assert "The checkpoint (epoch 4 of 4) was chosen on these items, so that the intervals are too narrow" in out
    said = read_calibration(folder / "calibration.json").statement
    assert said.startswith(
        "80 % interval, from n = 60 items in 15 groups of val; holds for videos like these; too narr"
    )


def test_of_several_runs_those_that_cannot_be_calibrated_are_named_and_alone_end_with_2(make, calibrate, tmp_path):
    good, constant, few = make("good"), make("constant", scores=np.full(N, 0.5)), make("few", n=5)
    (make("stopped") / "predictions/finished").unlink()
    words = make("words", record={"metrics": {"loss": {}, "accuracy": {}}})
    (words / "predictions/val.csv").unlink()
    old = make("old")
    (old / "predictions/val.json").write_text('{"n": 60}')
    link = make("link")
    (link / "calibration.json").symlink_to(tmp_path / "elsewhere")
    reasons = {
        constant: "val cannot be calibrated: all 60 scores are equal (0.5), so there is nothing to calibrate.",
        few: "5 labelled items are too few for 90 % intervals; at least 10 items are needed.",
        tmp_path / "stopped": "the run is not finished",
        words: "its head gives no scores (loss, accuracy), so that there is nothing to calibrate.",
        old: f"Score the split again: evqa eval {old} --split val",
        link: "a link, which is not followed.",
    }
    for folder, reason in reasons.items():
        code, out, err = calibrate(folder)
        assert (code, out) == (2, ""), reason
        assert reason in err
    code, out, err = calibrate(tmp_path)
    assert code == 0
    assert f"Wrote {good / 'calibration.json'}" in out
    assert all(reason in err for reason in reasons.values())
    assert not (tmp_path / "elsewhere").exists()
    (few / "evqa.json").touch()
    assert "calibrate its run, and merge that again" in calibrate(few)[2]
    assert calibrate(good, "--level", "90")[2].endswith("--level 90: give a share between 0 and 1, for instance 0.9.")
    assert calibrate(good, "--split", "test")[2].endswith(f"{good}: no predictions/test.csv; it has val.")
    assert "a published scorer keeps no predictions" in calibrate("vqa2_ugc")[2]


def test_labels_may_come_from_another_table_and_unknown_ones_are_left_out(make, calibrate, tmp_path):
    folder = make()
    rows = (folder / "predictions/val.targets.csv").read_text().splitlines()
    table = tmp_path / "labels.csv"
    table.write_text("\n".join([*rows[:41], *(f"{row.partition(',')[0]}," for row in rows[41:])]) + "\n")
    assert "n = 40 items" in calibrate(folder, "--labels", table)[1]
    table.write_text("\n".join([rows[0], "other,0.5"]) + "\n")
    assert "no item of val has a label; give a table of them with --labels." in calibrate(folder, "--labels", table)[2]
