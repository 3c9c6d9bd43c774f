"""A run that is finished already: it says so, with its results, before torch is imported."""

from __future__ import annotations

from omegaconf import DictConfig

from evqa.config import identity
from evqa.errors import AnnotationError
from evqa.files.terminal import Terminal, terminal, warn
from evqa.runs.origin import check_finished, digest
from evqa.runs.processes import is_first
from evqa.runs.results import print_result
from evqa.runs.wandb_log import asked_by_agent
from evqa.training.folder import RunFolder
from evqa.training.plan import read_dataset


def is_finished(config: DictConfig) -> bool:
    """Whether there is nothing to do but to tell so; a W&B agent is told more, and a dry run is another matter."""
    num_processes = config.trainer.devices * config.trainer.num_nodes
    return (
        RunFolder(identity.folder(config)).is_finished
        and not config.dry_run
        and not asked_by_agent()
        and is_first(num_processes)
    )


def repeat_finished(config: DictConfig) -> float | None:
    """Do what `evqa.runs.fit.run` does with a finished run; raises as `tell_finished` and the folder's lock do."""
    folder = RunFolder(identity.folder(config))
    with folder.lock():
        return tell_finished(config, folder, console=terminal())


def tell_finished(config: DictConfig, folder: RunFolder, *, console: Terminal) -> float | None:
    """Print that a run is finished and its results; returns what `evqa.runs.fit.run` does.

    Raises:
        RunError: the folder holds a run of other settings or other data.
    """
    folder.check_free(config)
    _check_data(config, folder)
    console.print(f"{folder.path} is finished already; nothing to do.")
    return print_result(console, folder, config=config)


def _check_data(config: DictConfig, folder: RunFolder) -> None:
    """Compare the data of a finished run with what lies there now; only tables and sizes of files are looked at."""
    try:
        given = read_dataset(config).load().splits
    except AnnotationError as error:
        warn(f"Whether the data is still that of the run cannot be told: {error}")
        return
    for note in check_finished(folder, {name: digest(records) for name, records in given.items()}):
        warn(note)
