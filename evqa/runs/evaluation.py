"""`python -m evqa.eval`: score a split of a run's own data again, perhaps with a part of its modalities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evqa.errors import ConfigError
from evqa.files.terminal import terminal
from evqa.runs import show
from evqa.runs.build import build_dataset
from evqa.runs.fit import describe
from evqa.runs.load import load_run
from evqa.runs.preparation import check_files, known_facts
from evqa.runs.scoring import score_split, write_predictions


def evaluate_split(
    path: Path, *, split: str, modal: str | None, checkpoint: str, overrides: Sequence[str]
) -> dict[str, object]:
    """Score, write `predictions/<split>[-<modal>][-<checkpoint>].csv` and `.json`, print; returns the record."""
    run = load_run(path, checkpoint=checkpoint, overrides=overrides)
    annotations = build_dataset(run.config).load()
    if split not in annotations.splits:
        raise ConfigError([f"--split {split}: the run's data has {', '.join(annotations.splits)}."])
    records, unreadable = check_files(annotations.splits[split], run.config)
    scored = score_split(run.trainer(), run.module, run.datamodule({split: records}, modal), split)
    words = [split, *([modal] if modal else []), *([run.checkpoint.stem] if checkpoint != "best" else [])]
    record = write_predictions(
        run.folder,
        "-".join(words),
        scored,
        records=records,
        rejects=[*annotations.rejects, *unreadable],
        scale=run.module.scale,
        about=describe(run.config, run.checkpoint, split, modal),
        facts=known_facts(run.config),
    )
    console = terminal()
    title = f"{'-'.join(words)}: n={record['n']}, {record['num_failed']} failed"
    console.print(show.metrics_table(record, title=title))
    console.print(f"Predictions: {run.folder.prediction('-'.join(words))}")
    return record
