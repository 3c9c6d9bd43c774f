"""What a sweep tells of its runs, and what its record keeps."""

import json
import re
import signal
from pathlib import Path

import pytest

from evqa.files.progress import Stopped
from hydra_plugins.evqa_sweeps._ending import EndedRun, print_runs
from hydra_plugins.evqa_sweeps._naming import Naming
from hydra_plugins.evqa_sweeps._record import Member, write_members

FINISHING = """
    mark = Path(cfg.run.root) / "default" / cfg.run.name / "predictions/finished"
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    return cfg.seed / 10
"""


def test_only_what_differs_names_a_run():
    members = [["data=table", f"modal={modal}", f"seed={seed}"] for modal in "av" for seed in (0, 1)]
    naming = Naming.of(members)
    assert naming.label(0, members[0]) == "run 1 of 4: modal=a seed=0"
    assert naming.label(2, members[2], left_s=130) == "run 3 of 4: modal=v seed=0, about 2 min left"
    stop = naming.stopped(Stopped("in epoch 2/10", then="then"), 2, members[2])
    assert str(stop) == "Stopped in run 3 of 4 (modal=v seed=0), in epoch 2/10; then."
    assert Naming.of(members[:1]).label(0, members[0]) == "run 1 of 1"
    trial = Naming(total=20, same=frozenset(["modal=a"]), trials=True)
    assert trial.label(7, ["modal=a", "seed=3", "++callbacks.pruning.trial=7"]) == "run 8 of 20 (trial 7): seed=3"


def test_the_table_fits_80_columns_and_is_cut_where_there_are_many(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    name = "tiny-av-regression-s0-efe5ccf0"
    runs = [
        EndedRun(overrides=["modal=av", f"seed={n}"], value=n / 9, status="finished", folder=f"runs/demo/{name}")
        for n in range(31)
    ]
    print_runs(runs, monitor="val/challenge", record=Path("sweep.json"))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].strip() == "Runs in runs/demo"
    assert re.search(rf"av *│ 1 *│ 0\.1111 *│ finished *│ {name}", lines[5])
    assert lines[-1] == "... and 1 more in sweep.json."


def test_a_failed_attempt_leaves_what_earlier_sweeps_have_recorded(tmp_path):
    def written(*members):
        write_members(tmp_path, members)
        return {
            row["folder"]: (row["status"], row["value"]) for row in json.loads((tmp_path / "sweep.json").read_text())
        }

    done = Member(overrides=["seed=0"], folder="a", status="finished", value=0.5)
    assert written(done) == {"a": ("finished", 0.5)}
    planned = [Member(overrides=["seed=0"], folder="a"), Member(overrides=["seed=1"], folder="b")]
    assert written(*planned) == {"a": ("finished", 0.5), "b": ("planned", None)}
    failed = Member(overrides=["seed=0"], folder="a", status="failed", error="why")
    other = Member(overrides=["seed=2"], folder="c", status="failed", error="why")
    assert written(failed, other)["a"] == ("finished", 0.5)
    again = Member(overrides=["seed=2"], folder="c", status="finished", value=0.1)
    assert list(written(again).items())[1:] == [("b", ("planned", None)), ("c", ("finished", 0.1))]
    (tmp_path / "sweep.json").write_text("[{")
    assert written(done) == {"a": ("finished", 0.5)}


def test_a_sweep_tells_its_runs_the_time_that_is_left_and_the_next_command(toy):
    code, out, errors = toy.run(FINISHING, "-m", "seed=0,1", "model.width=16")
    assert code == 0, errors
    stamp = r"(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "
    assert re.search(f"{stamp}run 1 of 2: seed=0$", out)
    assert re.search(rf"{stamp}run 2 of 2: seed=1, (about )?(\d+|under 1) s left$", out)
    assert "│ 1    │ 0.1000        │ finished │ tiny-av-regression-s1-" in out
    assert f"\nNext: python -m evqa.report {toy.runs}/default --out {toy.runs}/default/report\n" in out


def test_ctrl_c_says_in_which_run_it_came_and_a_dry_run_leaves_the_record(toy):
    process = toy.start("time.sleep(60)", "-m", "seed=3,4")
    while not toy.trace:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "Stopped in run 1 of 2 (seed=3); the same command continues.\n")
    before = toy.members
    code, out, errors = toy.run("pass", "-m", "seed=5,6", "dry_run=true")
    assert (code, toy.members) == (0, before), errors
    assert "Next:" not in out


def test_an_earlier_search_stays_in_the_record_of_another_one(toy):
    pytest.importorskip("optuna", reason="needs the extra 'optuna'")
    search = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=1")
    for space in ("seed=choice(1,2)", "frames.count=choice(2,3)"):
        code, out, errors = toy.run("return 0.5", *search, space)
        assert code == 0, errors
    trials = json.loads((toy.runs / "sweeps/default/trials.json").read_text())
    assert sorted(next(iter(trial["params"])) for trial in trials) == ["frames.count", "seed"]
    assert len({trial["study"] for trial in trials}) == 2
    assert "run 1 of 1 (trial 0): frames.count=" in out
    assert f"Next: python -m evqa.predict VIDEO --scorer {toy.runs}/default/" in out
