"""Nothing in the current folder is run, whatever it is called, by a command or by any process that it starts."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from evqa.machine import children

PROGRAM = Path(sys.executable).with_name("evqa")
TRAP = "import os, sys; open(os.environ['EVQA_MARKER'], 'a').write(f'{__name__} in {sys.argv}; ')"
# What `python -m` itself imports before a line of ours runs: Python's own rule, and no package can change it.
PYTHONS_OWN = {"runpy", "importlib", "pkgutil", "__main__"}
SMALL = (
    "data.num_train=16",
    "data.num_val=16",
    "data.workers=2",
    "model.width=16",
    "logger=csv",
    "trainer.progress=false",
    "run.name=x",
)
COMMANDS = {
    "prepare": ("prepare", *SMALL),
    "train": ("train", *SMALL, "trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu", "trainer.epochs=1"),
    "eval": ("eval", "runs/default/x"),
    "predict": ("predict", "VIDEO", "--run", "runs/default/x"),
    "report": ("report", "runs", "--out", "report"),
    "merge": ("merge", "runs/default/x", "--out", "merged"),
}


def lay_traps(folder: Path) -> None:
    installed = {name for name in importlib.metadata.packages_distributions() if name.isidentifier()}
    names = sys.stdlib_module_names | installed | {"sitecustomize", "usercustomize", "evqa", "hydra_plugins"}
    for name in names - PYTHONS_OWN:
        (folder / f"{name}.py").write_text(TRAP)
    for name in ("evqa", "hydra_plugins", "torch", "wandb"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(TRAP)


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    lay_traps(tmp_path)
    return tmp_path


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    environment |= {"EVQA_MARKER": str(folder / "marker")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
@pytest.mark.skipif(not PROGRAM.exists(), reason="the program `evqa` is not installed")
def test_no_command_and_no_process_of_it_runs_a_file_of_the_current_folder(trapped: Path) -> None:
    for name, arguments in COMMANDS.items():
        if name == "predict":
            arguments = (arguments[0], str(next(trapped.rglob("*.mp4"))), *arguments[2:])
        done = run(trapped, str(PROGRAM), *arguments)
        assert done.returncode == 0, (name, done.stdout, done.stderr)
        assert not (trapped / "marker").exists(), (name, (trapped / "marker").read_text())


def test_python_m_takes_the_current_folder_off_its_path_before_anything_is_imported(tmp_path: Path) -> None:
    """For `python -m`, Python itself looks into the current folder for `runpy`, its imports, and `evqa`."""
    listing = run(tmp_path, sys.executable, "-c", "import runpy, sys; print(*sys.modules)").stdout.split()
    lay_traps(tmp_path)
    for name in {"evqa", *(module.partition(".")[0] for module in listing)}:
        shutil.rmtree(tmp_path / name, ignore_errors=True)
        (tmp_path / f"{name}.py").unlink(missing_ok=True)
    for arguments in (["train", "--cfg", "job"], ["predict", "--help"], ["prepare", "modle=tiny"]):
        done = run(tmp_path, sys.executable, "-m", f"evqa.{arguments[0]}", *arguments[1:])
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "marker").exists(), (tmp_path / "marker").read_text()


@pytest.mark.parametrize("entry", ["", ".", "{here}"])
def test_children_get_the_path_without_the_current_folder(
    entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry.format(here=tmp_path), "/some/where", *sys.path])
    paths = children.child_environment()["PYTHONPATH"].split(os.pathsep)
    assert paths[0] == "/some/where"
    assert str(tmp_path) not in paths
    assert children.child_environment()["PYTHONSAFEPATH"] == "1"


def test_a_checkout_that_is_run_from_its_root_stays_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(children.PACKAGE_PLACE)
    monkeypatch.setattr(sys, "path", [children.PACKAGE_PLACE, *sys.path])
    monkeypatch.setattr(os, "environ", dict(os.environ))
    children.leave_current_folder()
    assert sys.path[0] == children.PACKAGE_PLACE
    assert children.PACKAGE_PLACE in os.environ["PYTHONPATH"].split(os.pathsep)
    assert os.environ["PYTHONSAFEPATH"] == "1"
