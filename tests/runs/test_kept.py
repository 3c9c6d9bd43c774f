"""`evqa runs` on folders as training leaves them, made of files: no training."""

import io
import json
import os
import subprocess
import sys

import pytest
import yaml

from evqa.config.paths import lock_file
from evqa.files.lock import held
from evqa.runs import listing
from evqa.runs.__main__ import main
from evqa.runs.removal import remove

ODD = "odd [red]x\x1b[31m " + os.fsdecode(b"caf\xe9")


def make(root, name, *, score=None, finished=True, metric="challenge", setting=(), experiment="exp", keep=None):
    """A run with checkpoints of 1000 bytes each."""
    folder = root / experiment / name
    (folder / "predictions").mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    for file in ("best", "last", "previous"):
        (folder / f"checkpoints/{file}.ckpt").write_bytes(bytes(1000))
    config = {"callbacks": {"checkpoints": {} if keep is None else {"keep": keep}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "overrides.yaml").write_text(yaml.safe_dump(list(setting)))
    (folder / "environment.json").write_text("{}")
    (folder / "metrics.jsonl").write_text('{"step": 7}\n{"step": 9, "cut')
    if finished:
        record = {"n": 12, "num_failed": 1, "failures": [], "metrics": {metric: {"value": score}}}
        (folder / "predictions/val.json").write_text(json.dumps(record))
        (folder / "predictions/finished").touch()
    return folder


def killed(place):
    raise KeyboardInterrupt


def lines(capsys):
    return [line.split("\t") for line in capsys.readouterr().out.splitlines()]


def refused(*arguments):
    with pytest.raises(SystemExit) as caught:
        main([*map(str, arguments)])
    assert caught.value.code == 2


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def test_a_list_has_the_best_of_each_experiment_first_and_says_only_what_differs(tmp_path, capsys):
    shared = ("data=table", "trainer.progress=false")
    make(tmp_path, "worse", score=0.2, setting=(*shared, "modal=a"))
    make(tmp_path, "better", score=0.8, setting=(*shared, "modal=av", "run.name=better"))
    make(tmp_path, "none", score=None, setting=shared)
    os.utime(tmp_path / "exp/none/predictions/finished", (1e9, 1e9))
    make(tmp_path, "killed", finished=False, setting=shared)
    make(tmp_path, "high", score=3.0, metric="loss", experiment="words")
    make(tmp_path, "low", score=1.0, metric="loss", experiment="words", setting=("seed=1",))
    main(["list", str(tmp_path)])
    head, *rows = lines(capsys)
    assert head == list(listing.COLUMNS)
    by_name = {row[0].rpartition("/")[2]: row[1:] for row in rows}
    assert list(by_name) == ["better", "worse", "killed", "none", "low", "high"]  # without a score the latest first
    assert by_name["better"][:4] == ["modal=av", "finished", "0.8", "12"]
    assert by_name["killed"][:4] == ["", "stopped", "", ""]
    assert int(by_name["better"][4]) == sum(f.stat().st_size for f in (tmp_path / "exp/better").rglob("*.*"))


@pytest.mark.parametrize("before", [True, False])
def test_flags_stand_before_or_behind_a_folder(tmp_path, capsys, monkeypatch, before):
    monkeypatch.setenv("EVQA_LOG_LEVEL", "info")
    flags = ["--log-level", "error"]
    main([*flags, str(tmp_path)] if before else [str(tmp_path), *flags])
    assert capsys.readouterr().err == f"There are no runs in {tmp_path}.\n"
    assert os.environ["EVQA_LOG_LEVEL"] == "error"


@pytest.mark.parametrize("width", [80, 120])
def test_a_person_gets_lines_that_fit_the_terminal(tmp_path, capsys, monkeypatch, width):
    monkeypatch.setattr(listing, "is_for_person", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    long = "a-name-of-many-letters-" * 3
    make(tmp_path, long, score=0.25, setting=[f"model.key_{number}=value" for number in range(12)])
    make(tmp_path, ODD, finished=False)
    main([".."])  # as `list ..`
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "odd [red]x\\x1b[31m caf\\xe9" in out
    assert "0.2500 (12)" in out
    assert "step 7" in out
    assert max(map(len, out.splitlines())) <= width
    assert out.count("model.key_") == 12


def test_one_run_is_shown_with_its_metrics_and_what_can_be_done(tmp_path, capsys):
    run = make(tmp_path, "one", score=0.5, setting=("modal=a",))
    blind = {"n": 0, "num_unlabelled": 7, "num_failed": 1, "metrics": {}}
    (run / "predictions/test.json").write_text(json.dumps(blind))
    main(["show", str(run)])
    out = capsys.readouterr().out
    assert "Setting: modal=a\n" in out
    assert "val: n=12, 1 failed; challenge 0.5000" in out
    assert "test: 7 scored, 1 failed; without labels there is nothing to compare the scores with\n" in out
    assert "checkpoints: 3.0 kB (best.ckpt, last.ckpt, previous.ckpt)" in out
    assert f"evqa predict VIDEO --scorer {run}" in out
    refused("show", tmp_path)


def test_damaged_files_of_a_run_cost_what_they_say_and_no_more(tmp_path, capsys):
    run = make(tmp_path, "damaged", score=0.5)
    (run / "predictions/val.json").write_text('{"metrics": [')
    (run / "overrides.yaml").write_text("a: [")
    (run / "metrics.jsonl").unlink()
    os.mkfifo(run / "metrics.jsonl")
    main(["list", str(tmp_path)])
    assert lines(capsys)[1][1:4] == ["", "finished", ""]
    main(["show", str(run)])


def test_a_run_is_removed_whole_and_nothing_outside_of_it(tmp_path, capsys):
    run, other = make(tmp_path, ODD, score=0.5), make(tmp_path, "other", score=0.6)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("kept")
    (run / "out").symlink_to(tmp_path / "precious")
    (run / "checkpoints/linked.ckpt").symlink_to(tmp_path / "precious/file")
    num_bytes = sum(path.stat().st_size for path in run.rglob("*") if path.is_file() and not path.is_symlink())
    main(["rm", str(run), "--yes"])
    assert f"Removed 1 run: {num_bytes:,} bytes are free." in capsys.readouterr().out
    assert list((tmp_path / "exp").iterdir()) == [other]
    assert (tmp_path / "precious/file").read_text() == "kept"


def test_without_yes_and_a_terminal_nothing_is_removed(tmp_path, capsys, monkeypatch):
    run = make(tmp_path, "one", score=0.5)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    refused("rm", run)
    assert "Nobody is there to ask, so nothing was removed; --yes removes." in capsys.readouterr().err
    assert run.exists()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda run: (run / "overrides.yaml").unlink(), r"not a run folder (it has no overrides.yaml)"),
        (lambda run: make(run, "inner", score=0.1), "holds another run"),
        (lambda run: os.chdir(run), "you are in this folder"),
        (lambda run: lock_file(run).symlink_to("/dev/null"), "cannot be used: too many levels of symbolic links"),
    ],
    ids=["no run", "another run", "the working directory", "a link as lock"],
)
def test_what_may_not_be_removed_stays_and_so_do_those_beside_it(tmp_path, capsys, spoil, words):
    run = make(tmp_path, "one", score=0.5)
    spoil(run)
    if "symbolic" not in words:
        other = make(tmp_path, "other", score=0.5)
        refused("rm", other, run, "--yes")
        assert other.exists()
    else:
        refused("rm", run, "--yes")
    assert words in capsys.readouterr().err
    assert (run / "config.yaml").exists()


def test_a_link_to_a_run_is_refused(tmp_path, capsys):
    run = make(tmp_path, "one", score=0.5)
    (tmp_path / "link").symlink_to(run)
    refused("rm", tmp_path / "link", "--yes")
    assert "is a link" in capsys.readouterr().err
    assert (run / "config.yaml").exists()


def test_a_running_run_is_said_and_neither_removed_nor_pruned(tmp_path, capsys):
    run = make(tmp_path, "live", finished=False)
    with held(lock_file(run)):
        main(["list", str(tmp_path)])
        assert lines(capsys)[1][2] == "running"
        refused("rm", run, "--yes")
        refused("prune", run, "--unfinished", "--yes")
        assert capsys.readouterr().err.count("is running just now. Stop it first") == 2
        main(["prune", str(tmp_path), "--unfinished", "--yes"])
    assert "Left alone: 1 run that is running." in capsys.readouterr().out
    assert (run / "checkpoints/last.ckpt").exists()


def test_pruning_leaves_what_is_scored_with_and_what_can_be_continued(tmp_path, capsys):
    done, all_kept = make(tmp_path, "done", score=0.5), make(tmp_path, "all", score=0.5, keep="all")
    no_best, killed = make(tmp_path, "no best", score=0.5), make(tmp_path, "killed", finished=False)
    (no_best / "checkpoints/best.ckpt").unlink()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/last.ckpt").touch()
    linked = make(tmp_path, "linked", score=0.5)
    for file in (linked / "checkpoints").iterdir():
        file.unlink()
    (linked / "checkpoints").rmdir()
    (linked / "checkpoints").symlink_to(tmp_path / "elsewhere")
    main(["prune", str(tmp_path / "exp"), "--yes"])
    out = capsys.readouterr().out
    kept = {
        run.name: sorted(path.stem for path in run.glob("checkpoints/*")) for run in (done, all_kept, no_best, killed)
    }
    every = ["best", "last", "previous"]
    assert kept == {"done": ["best"], "all": every, "no best": ["last"], "killed": every}
    assert (tmp_path / "elsewhere/last.ckpt").exists()
    assert "Removed: 3,000 bytes are free." in out
    assert "1 run that is not finished and can be continued" in out
    main(["prune", str(tmp_path / "exp"), "--unfinished", "--yes"])
    assert not killed.exists()
    main(["prune", str(tmp_path / "exp"), "--yes"])
    assert "Nothing to prune." in capsys.readouterr().out


def test_a_removal_that_was_killed_leaves_no_run_and_is_finished_by_pruning(tmp_path, capsys, monkeypatch):
    run = make(tmp_path, "one", score=0.5)
    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            remove(run)
    main(["list", str(tmp_path)])
    assert "There are no runs" in capsys.readouterr().err
    main(["prune", str(tmp_path), "--yes"])
    assert "left by a removal that was stopped" in capsys.readouterr().out
    assert list((tmp_path / "exp").iterdir()) == []


def test_listing_imports_nothing_heavy(tmp_path):
    make(tmp_path, "one", score=0.5)
    code = (
        "import sys\nfrom evqa.cli import main\n"
        f"main(['runs', 'list', {str(tmp_path)!r}])\nmain(['runs', 'rm', {str(tmp_path / 'exp/one')!r}, '--yes'])\n"
        "assert not {'torch', 'numpy', 'scipy', 'lightning'} & set(sys.modules)\n"
    )
    assert "finished" in subprocess.check_output([sys.executable, "-c", code], text=True)
    assert not (tmp_path / "exp/one").exists()
