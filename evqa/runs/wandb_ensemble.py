"""An ensemble as a run of W&B: it uses the predictions of its members' runs, and makes its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf.errors import OmegaConfBaseException

from evqa.config.reading import one_line
from evqa.config.saved import read_saved
from evqa.errors import RunError
from evqa.files.names import listed
from evqa.runs.wandb_artifacts import UPLOAD_MEGABYTES, make_artifact, predictions_artifact
from evqa.runs.wandb_log import Mode, has_login, online_or_offline


@dataclass(frozen=True, kw_only=True)
class LoggedMembers:
    """Members of an ensemble that W&B knows.

    runs: folders with their ids, of a member out of folds several. others: members that it does not know, or in part.
    """

    project: str
    entity: str | None
    runs: tuple[tuple[Path, str], ...]
    others: tuple[str, ...]


def logged_members(files: Mapping[str, Sequence[Path]]) -> LoggedMembers:
    """Find the runs that prediction files, by member, belong to; a file that is no run's has none.

    Raises:
        RunError: the runs lie in several projects, which W&B joins in no lineage.
    """
    runs = list[tuple[Path, str]]()
    others = list[str]()
    places: dict[tuple[str, str | None], str] = {}
    for name, file in ((name, file) for name, member in files.items() for file in member):
        folder = file.parent.parent
        kept = folder / "wandb" / "id"
        if file.parent.name == "predictions" and kept.is_file() and (folder / "config.yaml").is_file():
            runs.append((folder, kept.read_text(encoding="utf-8").strip()))
            places[_place(folder / "config.yaml")] = name
        else:
            others.append(name)
    if len(places) > 1:
        raise RunError(
            f"--wandb: {listed([f'{name} lies in {place[0]}' for place, name in places.items()])}; W&B's lineage stays "
            "within one project. Leave --wandb away, or combine runs of one project."
        )
    project, entity = next(iter(places), ("evqa", None))
    return LoggedMembers(project=project, entity=entity, runs=tuple(runs), others=tuple(dict.fromkeys(others)))


def _place(file: Path) -> tuple[str, str | None]:
    """Project and entity of a run."""
    try:
        logger = read_saved(file).get("logger") or {}
        return str(logger.get("project", "evqa")), logger.get("entity")
    except OmegaConfBaseException as error:
        raise RunError(f"{file}: where W&B has the run cannot be worked out ({one_line(error)}).") from error


def log_ensemble(
    members: LoggedMembers, split: str, written: Sequence[Path], *, config: dict[str, Any], summary: dict[str, Any]
) -> Path | None:
    """Log an ensemble as a W&B run that uses its members' predictions and makes its own; offline unless logged in.

    Returns the folder of that run beside the files that were `written`; None where W&B cannot be used.
    """
    out = written[0]

    def log(mode: Mode) -> Path:
        import wandb

        about: dict[str, Any] = {"project": members.project, "entity": members.entity, "name": out.stem}
        patience = wandb.Settings(init_timeout=10, finish_timeout=10, silent=True, console="off")  # seconds
        with wandb.init(
            **about, job_type="ensemble", config=config, dir=str(out.parent), mode=mode, settings=patience
        ) as run:
            for folder, run_id in members.runs:
                used = predictions_artifact(folder, split, run_id, facts={}, upload=UPLOAD_MEGABYTES)
                # `use_artifact` refuses offline, though an offline run's file can say the same.
                run._log_artifact(used, is_user_created=True, use_after_commit=True)
            run.log_artifact(make_artifact(f"ensemble-{run.id}", "predictions", written, {}, upload=UPLOAD_MEGABYTES))
            run.summary.update(summary)
            return Path(run.dir).parent

    return online_or_offline(log, out.parent, online=has_login())
