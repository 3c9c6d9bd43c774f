"""Where things lie: the configuration files (beside the package, or inside it in a wheel), and the files of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from evqa.errors import ConfigError

PACKAGE = Path(__file__).resolve().parents[1]


def conf_folder() -> Path:
    """The folder with `train.yaml` and the groups; its `experiment` and `sweep` are groups as well.

    Raises ConfigError where neither a checkout nor an installed wheel holds the files.
    """
    candidates = (PACKAGE / "conf", PACKAGE.parent / "conf")
    for folder in candidates:
        if (folder / "train.yaml").is_file():
            return folder
    places = " nor in ".join(str(folder) for folder in candidates)
    raise ConfigError([f"The configuration files are neither in {places}. Install evqa again, or run from a checkout."])


def finished_mark(run: Path) -> Path:
    """The file that a run writes last: where it lies, the run was fitted and evaluated to its end."""
    return run / "predictions" / "finished"


def run_folders(place: Path) -> Iterator[Path]:
    """Yield a run's folder (it has settings), or the runs below a folder by name; no link is followed to find them."""
    if (place / "config.yaml").is_file():
        yield place
        return
    for child in sorted(place.iterdir()):
        if child.is_dir() and not child.is_symlink() and not child.name.startswith("."):
            yield from run_folders(child)


def surplus_checkpoints(run: Path) -> list[Path]:
    """List the checkpoints that nothing asks for once the run is finished: all but the one that is scored with."""
    folder = run / "checkpoints"
    scored = "best.ckpt" if (folder / "best.ckpt").exists() else "last.ckpt"
    names = (f"{name}.ckpt{side}" for name in ("previous", "last") for side in ("", ".sha256"))
    return [folder / name for name in names if not name.startswith(scored) and os.path.lexists(folder / name)]


def lock_file(run: Path) -> Path:
    """The file that the process which trains a run holds locked."""
    return run / ".lock"


def calibration_file(folder: Path) -> Path:
    """Where the calibration of a run, or of a merged folder, lies if there is one."""
    return folder / "calibration.json"


def is_unfinished(folder: Path) -> bool:
    """Whether a folder is that of a run (it has settings) that has not come to its end."""
    return (folder / "config.yaml").exists() and not finished_mark(folder).exists()


def group_folders(conf: Path) -> dict[str, Path]:
    """Every group below a configuration folder by name ('model', 'hydra/launcher'); a group holds YAML files."""
    found = {}
    for folder in sorted(_folders(conf)):
        if any(folder.glob("*.yaml")):
            found[folder.relative_to(conf).as_posix()] = folder
    return found


def group_options(folder: Path) -> list[str]:
    """The names that a group offers, sorted."""
    return sorted(file.stem for file in folder.glob("*.yaml"))


def _folders(folder: Path) -> list[Path]:
    children = [child for child in folder.iterdir() if child.is_dir() and not child.name.startswith((".", "__"))]
    return children + [below for child in children for below in _folders(child)]
