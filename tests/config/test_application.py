"""The shell, in processes of its own: what is imported, printed and left behind, and with which exit code."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "lightning", "transformers", "numpy", "decord", "av", "wandb", "rich", "statistics")
SECONDS = 4.0  # of CPU time on a busy, slow machine; an idle one takes 0.3 s, importing torch would take far more


def run(*arguments, cwd=ROOT, **environment):
    """Run Python; returns the finished process."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def toy(tmp_path):
    """A small application with its own configuration; the argument is the job's body."""
    conf = tmp_path / "conf"
    for group, options in {"modal": {"a": "name: a", "v": "name: v"}, "hydra/job_logging": {}}.items():
        (conf / group).mkdir(parents=True)
        for option, text in options.items():
            (conf / group / f"{option}.yaml").write_text(text)
    (conf / "train.yaml").write_text((ROOT / "conf/train.yaml").read_text().partition("defaults:")[0] + TOY_ROOT)

    def call(body, *arguments, wait=True):
        program = tmp_path / "toy.py"
        program.write_text(TOY.replace("BODY", body))
        command = [program, "--config-path", conf, *arguments]
        return run(*command, cwd=tmp_path) if wait else [sys.executable, *map(str, command)]

    return call


TOY_ROOT = dedent("""
    defaults: [_self_, modal: a, override hydra/job_logging: none, override hydra/hydra_logging: none]
    seed: 0
    run: {root: runs, experiment: null, name: null}
    resume: auto
    dry_run: false
    hydra: {run: {dir: .}, output_subdir: null, sweep: {dir: "${run.root}/sweeps/${evqa.experiment:}", subdir: .}}
""")
TOY = dedent("""
    import json, sys, time
    from evqa.config.application import Application, running_overrides
    from evqa.errors import MediaError

    def job(cfg):
        BODY

    main = Application(name="toy", config_name="train", about="A toy.", job=job)
    if __name__ == "__main__":
        raise SystemExit(main())
""")
REPORT = dedent("""
    import json, sys
    sys.argv[1:] = ARGUMENTS
    from evqa.train import main
    code = main()
    sys.stderr.write(json.dumps([name for name in HEAVY if name in sys.modules]))
    raise SystemExit(code)
""")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--help"], 0, "Usage: python -m evqa.train"),
        (["-h"], 0, "model       tiny"),
        (["--cfg", "job"], 0, "_target_: evqa.models.tiny.Tiny"),
        (["--cfg", "job", "--resolve", "-p", "audio"], 0, "seconds: 8.0"),
        (["--info", "defaults"], 0, "modal/av"),
        (["--version"], 0, "evqa "),
        (["modle=tiny", "seed=x"], 2, ""),
    ],
)
def test_answers_import_nothing_heavy_and_take_less_than_a_second(arguments, code, words):
    source = REPORT.replace("ARGUMENTS", repr(arguments)).replace("HEAVY", repr(HEAVY))
    for _attempt in range(3):  # neighbours on the same processor slow the first ones down
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        done = run("-c", source)
        seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
        if seconds < SECONDS:
            break
    assert done.returncode == code, done.stderr
    assert json.loads(done.stderr.splitlines()[-1]) == []
    assert words in done.stdout
    assert seconds < SECONDS


def test_problems_are_lines_without_a_traceback():
    done = run("-m", "evqa.train", "modle=tiny", "seed=x")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "modle: the configuration has no such key. Did you mean 'model'?\nseed: expected int, got 'x'.\n"
    )


def test_an_unknown_flag_is_told_how_settings_are_written():
    done = run("-m", "evqa.train", "--seed", "3")
    assert done.returncode == 2
    assert done.stderr == (
        "Unrecognized arguments: --seed. "
        "Settings are written without dashes, as key=value; --help lists what there is.\n"
    )


def test_a_job_gets_the_settled_configuration_and_leaves_no_trace_of_hydra(toy, tmp_path):
    body = "print(cfg.run.experiment, cfg.run.name, cfg.seed, list(running_overrides()), sys.argv[3:])"
    done = toy(body, "seed=3", "modal=v")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("default v-s3-")
    assert done.stdout.rstrip().endswith("['seed=3', 'modal=v'] ['seed=3', 'modal=v', 'hydra.mode=RUN']")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["conf", "toy.py"]


def test_a_users_mistake_inside_the_job_is_a_sentence_with_exit_code_2(toy):
    done = toy('raise MediaError("a.mp4", "is empty")')
    assert (done.returncode, done.stderr) == (2, "a.mp4: is empty\n")


def test_a_fault_of_the_program_keeps_its_traceback_and_exit_code_1(toy):
    done = toy('raise KeyError("gone")')
    assert done.returncode == 1
    assert "in job" in done.stderr
    assert done.stderr.endswith("KeyError: 'gone'\n")
    assert "hydra" not in done.stderr


def test_a_job_may_leave_with_its_own_exit_code(toy):
    assert toy("raise SystemExit(75)").returncode == 75


def test_ctrl_c_is_one_sentence(toy, tmp_path):
    command = toy('print("ready", flush=True); time.sleep(60)', wait=False)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell has it ignored
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (130, "Stopped; the same command continues.\n")


def test_another_folder_can_add_options(toy, tmp_path):
    (tmp_path / "mine/modal").mkdir(parents=True)
    (tmp_path / "mine/modal/both.yaml").write_text("name: av")
    done = toy("print(cfg.modal.name, sys.argv[1:])", "--config-dir", "mine", "modal=both")
    assert done.stdout.startswith("av ")
    assert "'--config-dir', 'mine', 'modal=both'" in done.stdout
    assert toy("pass", "--config-dir", "none").stderr == "--config-dir none: there is no such folder.\n"


def test_members_of_a_sweep_run_one_by_one_as_if_alone(toy):
    done = toy("print(cfg.run.name, sys.argv[3:])", "-m", "seed=1,2")
    assert done.returncode == 0, done.stderr
    assert [line.partition(" ")[2] for line in done.stdout.splitlines()] == [
        "['seed=1', 'hydra.mode=RUN']",
        "['seed=2', 'hydra.mode=RUN']",
    ]
