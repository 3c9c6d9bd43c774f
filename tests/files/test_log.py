"""What is said beside the results, from which level on, and with the time or not."""

import re
import subprocess
import sys

import pytest

from evqa import ask, benchmark, cli, ensemble, merge, predict, report, submit
from evqa import eval as evaluation
from evqa.config.application import read_flags
from evqa.errors import ConfigError
from evqa.files import log
from evqa.files.terminal import terminal
from evqa.runs import __main__ as runs

ENDS_AT_TORCH = """
import sys
class Finder:
    def find_spec(self, name, *_):
        if name == "torch":
            sys.exit(9)
sys.meta_path.insert(0, Finder())
from evqa.cli import main
main(sys.argv[1:])
"""
STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    for name in (log.LEVEL, log.TIMES):
        monkeypatch.setenv(name, "")  # so that what a test sets is taken back
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "stderr", sys.stderr)


@pytest.mark.parametrize("level", log.LEVELS)
def test_what_is_below_the_level_is_not_said(level, monkeypatch, capsys):
    monkeypatch.setenv(log.LEVEL, level)
    for one in log.LEVELS:
        terminal(stderr=True, level=one).print(one)
    terminal().print("a result")
    said = capsys.readouterr()
    assert said.err.split() == [one for one in log.LEVELS if log.LEVELS.index(one) >= log.LEVELS.index(level)]
    assert said.out == "a result\n"


@pytest.mark.parametrize("command", [ask, benchmark, ensemble, evaluation, merge, predict, report, runs, submit])
def test_every_command_has_the_flags(command, capsys):
    with pytest.raises(SystemExit):
        command.parser().parse_args(["--help"])
    assert "--log-level {info,warning,error}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--log-level", "error", "list"], ["list", "--log-level", "error"]])
def test_sub_commands_have_them_too(arguments):
    assert not {"log_level", "log_times"} & vars(runs.parser().parse_args(arguments)).keys()
    assert not log.is_told("warning")


def test_the_commands_that_take_settings_have_them_too(monkeypatch):
    assert read_flags(["seed=1", "--log-level", "error"]).overrides == ["seed=1"]
    assert not log.is_told("warning")
    assert log.is_told("error")
    monkeypatch.setenv(log.LEVEL, "loud")
    with pytest.raises(ConfigError, match=r"EVQA_LOG_LEVEL=loud: give one of info, warning, error."):
        read_flags([])


def test_each_line_has_its_time_however_it_is_written(monkeypatch, capsys):
    monkeypatch.setenv(log.TIMES, "1")
    cli.exit_code(lambda: submit.parser().parse_args(["a", "--targets", "b"]))
    sys.stderr.write("one\ntw")
    sys.stderr.write("o\n")
    terminal(stderr=True).print("three")
    assert re.fullmatch(f"{STAMP}one\n{STAMP}two\n{STAMP}three\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "first"),
    [
        (["predict", "{clip}", "--scorer", "{run}"], "Loading the scorer {run}."),
        (["eval", "{run}"], "Loading {run}."),
        (["merge", "{run}", "--out", "{out}"], "Loading the run {run}."),
        (["train", "run.name=new", "dry_run=true"], "The settings are checked; loading PyTorch and Lightning."),
    ],
)
def test_a_line_appears_before_anything_heavy_is_imported(arguments, first, tmp_path):
    names = {"clip": __file__, "run": str(tmp_path), "out": str(tmp_path / "out")}
    command = [sys.executable, "-c", ENDS_AT_TORCH, *(argument.format(**names) for argument in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (9, f"{first.format(**names)}\n")
