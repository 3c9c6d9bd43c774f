"""`python -m evqa.eval`: score a split of a run's own data again, perhaps with a part of its modalities."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from evqa.datasets.base import Dataset
from evqa.errors import ConfigError, RunError
from evqa.files.progress import counted
from evqa.files.terminal import terminal, warn
from evqa.runs.origin import about_split, notes_on
from evqa.runs.preparation import check_files, known_facts
from evqa.runs.results import metrics_of, print_choices
from evqa.scoring.files import made_with, score_all, write_predictions
from evqa.scoring.places import LoadedRun, load_run, may_write
from evqa.training.conversations import check_conversations
from evqa.training.folder import RunFolder

OVERRIDES = "overrides"  # key of an evaluation's record; training's own records do not have it


def evaluate_split(
    path: Path, *, split: str, modal: str | None, checkpoint: str, overrides: Sequence[str]
) -> dict[str, object]:
    """Score, write `predictions/NAME.csv` and `.json` (see `_name`), print; returns the record."""
    run = load_run(path, checkpoint=checkpoint, overrides=overrides)
    dataset = run.plan.data.dataset
    _refuse_to_make(dataset, run)
    _stays_inside(run)
    annotations = dataset.load()
    if split not in annotations.splits:
        raise ConfigError([f"--split {split}: the run's data has {', '.join(annotations.splits)}."])
    records, unreadable = check_files(annotations.splits[split], run.plan.data, remember=run.may_write("data.prepared"))
    built = run.built
    check_conversations({split: records}, prompt=built.prompt, head=built.head, model=built.model)
    scorer = run.as_scorer(modal=modal)
    wanted, again = run.plan.trainer.progress, "the same command scores it from the beginning"
    with counted(f"scoring {split}", len(records), wanted=wanted, then=again) as counting:
        scores = score_all(scorer, records, watch=counting.watch)
    data = about_split(run.metadata, split, annotations.splits[split])
    for note in notes_on(run.checkpoint, run.metadata, data):
        warn(note)
    words = [split, *([modal] if modal else []), *([run.checkpoint.stem] if checkpoint != "best" else [])]
    name = _name(run.folder, words, overrides)
    record = write_predictions(
        run.folder,
        name,
        scores,
        records=records,
        rejects=[*annotations.rejects_of(split), *unreadable],
        scale=run.module.scale,
        about=made_with(run.plan, run.checkpoint, split, modal, note=run.note) | data | {OVERRIDES: list(overrides)},
        facts=known_facts(run.plan.data),
    )
    console = terminal()
    console.print(metrics_of(record, name=name))
    print_choices(console, run.folder, record, name=name, config=run.plan.recorded)
    if run.note:
        console.print(f"Note: {run.note}.")
    console.print(f"Predictions: {run.folder.prediction(name)}")
    return record


def _refuse_to_make(dataset: Dataset, run: LoadedRun) -> None:
    """A run folder may come from anybody, so it does not choose where clips are made."""
    made = dataset.makes()
    if made is not None and not may_write(run.plan.recorded, "data.folder", run.named):
        raise ConfigError(
            [
                f"data.folder={run.plan.recorded.data.folder}: the run's clips are not there, and the run's file does "
                "not choose where they are made. Name the place: --override data.folder=FOLDER"
            ]
        )


def _stays_inside(run: LoadedRun) -> None:
    """Predictions are written into the run's folder, and not to where a link in it leads."""
    home, place = run.folder.path.resolve(), run.folder.prediction("val").parent
    leaving = [path for path in (place, *place.glob("*")) if not path.resolve().is_relative_to(home)]
    if leaving:
        raise RunError(f"{leaving[0]}: a link that leads out of the run's folder. Remove it.")


def _name(folder: RunFolder, words: Sequence[str], overrides: Sequence[str]) -> str:
    """Name the files of an evaluation: `<split>[-<modal>][-<checkpoint>]`; what training wrote is never replaced.

    A split with overrides is `<split>-override-<digest>`, and `<split>-eval` where training has scored it already.
    """
    if len(words) > 1:
        return "-".join(words)
    if overrides:
        digest = hashlib.sha256("\n".join(sorted(overrides)).encode("utf-8", "surrogateescape")).hexdigest()
        return f"{words[0]}-override-{digest[:8]}"
    return f"{words[0]}-eval" if _is_of_training(folder, words[0]) else words[0]


def _is_of_training(folder: RunFolder, split: str) -> bool:
    """Whether the scores of a split are those that training left, and not an evaluation's."""
    try:
        return OVERRIDES not in json.loads(folder.prediction(split, "json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return folder.prediction(split).exists()
