"""What a run without scores leaves of every split: how well its words are predicted, and no prediction file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from evqa.config.environment import hidden
from evqa.files.plain import write_json
from evqa.metrics.evaluation import plain_failures
from evqa.metrics.proportion import wilson_interval
from evqa.runs.run_log import RunLog
from evqa.training.datamodule import ScoreDataModule
from evqa.training.folder import RunFolder
from evqa.training.module import ScoreModule
from evqa.training.token_loss import TokenLoss
from evqa.types import Failure, Record


def evaluate_losses(
    folder: RunFolder,
    module: ScoreModule,
    datamodule: ScoreDataModule,
    *,
    rejects: Mapping[str, Sequence[Failure]],
    about: Callable[[str], dict[str, Any]],
    log: RunLog | None,
) -> None:
    """Write `predictions/<split>.json` for every split but the training one.

    rejects: of each split, rows that never became items. about: (split) -> what the record says of checkpoint, data
    and so on.
    """
    trainer = module.trainer
    for split in [name for name in datamodule.splits if name != "train"]:
        datamodule.trainer = trainer
        trainer.validate(module, datamodule.evaluation_loader(split), verbose=False)
        if trainer.is_global_zero:
            record = about(split) | loss_record(module.token_loss, rejects[split])
            write_json(folder.prediction(split, "json"), record)
            if log is not None:
                log.summarize(split, record)


def with_turns_to_learn(records: Sequence[Record]) -> tuple[tuple[Record, ...], tuple[Failure, ...]]:
    """Separate the records that bring a turn to learn from those that would teach nothing."""
    has_turn = [any(turn.learn and turn.text for turn in record.turns) for record in records]
    reason = "it brings no conversation with a turn to learn, and head=conversation learns nothing else"
    return (
        tuple(record for record, has in zip(records, has_turn, strict=True) if has),
        tuple(Failure(id=record.id, reason=reason) for record, has in zip(records, has_turn, strict=True) if not has),
    )


def loss_record(seen: TokenLoss, rejects: Iterable[Failure]) -> dict[str, Any]:
    """State the loss of a split and the share of items that are right, what of, and the items that gave none."""
    failures = [replace(failure, reason=hidden(failure.reason)) for failure in (*seen.failures, *rejects)]
    lacks = {} if seen.num_tokens else {"value": None, "low": None, "high": None, "reason": "no token to learn"}
    low, high = wilson_interval(seen.accuracy, seen.num_items)
    loss = {
        "value": seen.mean if math.isfinite(seen.mean) else None,
        "low": None,
        "high": None,
        "reason": "no interval: a mean over tokens",
    }
    accuracy = {"value": seen.accuracy, "low": low, "high": high, "reason": ""}
    return {
        "n": seen.num_items,
        "num_failed": len(failures),
        "failures": plain_failures(failures),
        "num_tokens": seen.num_tokens,
        "metrics": {"loss": loss | lacks, "accuracy": accuracy | lacks},
    }
