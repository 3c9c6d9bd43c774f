"""The folder of a run: what lies where, who may write to it, and what it was run with."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from evqa.config.environment import environment_keys
from evqa.config.identity import ChangedKey, difference, fingerprint
from evqa.config.paths import finished_mark, lock_file
from evqa.config.saved import read_saved
from evqa.errors import RunError
from evqa.files.lock import held
from evqa.files.plain import write_json
from evqa.files.refusals import placed
from evqa.files.whole import write_whole
from evqa.machine.cores import cpu_name, num_cores
from evqa.machine.software import PACKAGES, commit, version

EXPORT_FILE = "evqa.json"  # beside the weights of a folder that `evqa.merge` wrote
CONFIG_SHA256 = "config_sha256"  # in environment.json: tells whether values from the environment have changed


@dataclass(frozen=True)
class RunFolder:
    """Names of the files of a run; the contract of design section 2."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        """Folder of best.ckpt, last.ckpt and previous.ckpt."""
        return self.path / "checkpoints"

    def prediction(self, name: str, kind: str = "csv") -> Path:
        """A file of predictions/, e.g. val.csv or val.json."""
        return self.path / "predictions" / f"{name}.{kind}"

    @property
    def is_finished(self) -> bool:
        """Whether the run was fitted and evaluated to the end."""
        return finished_mark(self.path).exists()

    def finish(self) -> None:
        """Mark the run as finished; written after everything else."""
        finished_mark(self.path).touch()

    def check(self) -> None:
        """Raise RunError where this is not a run folder."""
        if not self.config.exists() and not self.config.is_symlink():
            raise RunError(f"{self.path}: not a run (it has no config.yaml). A run is runs/<experiment>/<name>.")

    def read_config(self) -> DictConfig:
        """Load the configuration that the run was made with, unchecked: to compare with, not to build from.

        Raises:
            FileError, RunError: this is not a run folder, or its file is damaged.
        """
        self.check()
        return read_saved(self.config)

    @property
    def has_trained(self) -> bool:
        """Whether there is anything to continue or to lose; a run that ended before its first step left nothing."""
        return any(self.checkpoints.glob("*.ckpt")) or any((self.path / "predictions").glob("*"))

    def check_free(self, config: DictConfig) -> None:
        """Check that the folder is free for these settings.

        Raises:
            RunError: the folder holds a run with other settings.
        """
        if not self.has_trained:
            return
        saved = self.read_config()
        differing = self._differences(saved, config)
        if not differing and any(environment_keys(saved)) and not self._same_environment(config):
            keys = ", ".join(environment_keys(saved))
            raise RunError(
                f"{self.path} holds a run that had other values from the environment ({keys}). Choose another "
                "run.name, or set the variables as they were."
            )
        if differing:
            listed = "; ".join(map(str, differing[:5]))
            raise RunError(
                f"{self.path} holds a run with other settings: {listed}. Choose another run.name, or remove the folder."
                f"{self._why_not_longer(differing)}"
            )

    def prepare(self, config: DictConfig, overrides: list[str]) -> None:
        """Write the settings, where the folder does not hold a run of them already."""
        if self.has_trained:
            return
        (self.path / "predictions").mkdir(parents=True, exist_ok=True)
        write_whole(self.path / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(overrides)))
        facts = environment() | {CONFIG_SHA256: fingerprint(config)}
        write_json(self.path / "environment.json", facts)
        write_whole(self.config, OmegaConf.to_yaml(config))

    def _differences(self, saved: DictConfig, config: DictConfig) -> list[ChangedKey]:
        try:
            return difference(saved, config)
        except OmegaConfBaseException as error:
            raise RunError(f"{self.config}: cannot be worked out ({str(error).splitlines()[0]}).") from error

    def _why_not_longer(self, differing: Sequence[ChangedKey]) -> str:
        """Say why more epochs do not go on where a finished run ended, where they are all that differs."""
        if [change.key for change in differing] != ["trainer.epochs"] or not self.is_finished:
            return ""
        gone = "its optimizer's state is gone (callbacks.checkpoints.keep=all keeps it), and "
        has_state = any((self.checkpoints / name).exists() for name in ("last.ckpt", "previous.ckpt"))
        return f" More epochs cannot go on where it ended: {'' if has_state else gone}its schedule has run out."

    def _same_environment(self, config: DictConfig) -> bool:
        """Whether a configuration has the digest of the one that the run was made with; true where it is not known."""
        try:
            facts = json.loads((self.path / "environment.json").read_text(encoding="utf-8"))
            return bool(facts.get(CONFIG_SHA256, "") in ("", fingerprint(config)))
        except (OSError, ValueError, AttributeError):
            return True

    @contextlib.contextmanager
    def lock(self, *, patience_s: float = 0.0) -> Iterator[None]:
        """Hold the folder for one process; the system releases it when the process dies.

        A folder that holds nothing at the end (the run was refused before it began) is removed again.
        patience_s: how long to wait for the one that holds it, for it may be about to end.

        Raises:
            RunError: another process is running here.
        """
        made = [place for place in (self.path, *self.path.parents) if not place.exists()]
        with placed(self.path), held(lock_file(self.path), patience_s=patience_s) as is_ours:
            if not is_ours:
                raise RunError(
                    f"{self.path}: the same run is going on in another process. Wait for it, or change seed or "
                    "run.name."
                )
            try:
                yield
            finally:
                self._remove_if_empty(made)

    def _remove_if_empty(self, made: Sequence[Path]) -> None:
        """Remove a folder that holds its lock alone, and the folders that were `made` for it."""
        lock = lock_file(self.path)
        with contextlib.suppress(OSError):  # another run lies beside it, or somebody has removed the folder
            if list(self.path.iterdir()) == [lock]:
                lock.unlink()
                for place in made or [self.path]:
                    place.rmdir()


def environment() -> dict[str, Any]:
    """Describe versions, commit and hardware."""
    import torch

    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": {name: version(name) for name in PACKAGES},
        "commit": commit(),
        "cpu": cpu_name(),
        "num_cpus": num_cores(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }
