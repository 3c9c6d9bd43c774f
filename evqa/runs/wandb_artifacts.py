"""Artifacts of W&B: a run's checkpoint and its predictions.

An artifact's name holds its run's id, and equal files are one version: an ensemble (`wandb_ensemble`) declares the
predictions that it reads in the same words as the run that wrote them, and W&B joins the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

UPLOAD_MEGABYTES = 100.0


def run_artifacts(folder: Path, run_id: str, records: Mapping[str, dict[str, Any]], *, upload: float) -> Iterator[Any]:
    """Make the artifacts of a finished run: the checkpoint that was scored with, and the predictions of each split.

    records: of the scored splits. upload: megabytes; a larger file is referred to where it lies.
    """
    checkpoint = next(path for name in ("best", "last") if (path := folder / f"checkpoints/{name}.ckpt").exists())
    about = next(iter(records.values()), {})
    names: Sequence[str] = ("checkpoint_sha256", "config_sha256", "modal")
    facts = {name: about[name] for name in names if name in about}
    yield make_artifact(f"checkpoint-{run_id}", "model", [checkpoint], facts, upload=upload)
    for split, record in records.items():
        yield predictions_artifact(folder, split, run_id, facts={"n": record["n"], **facts}, upload=upload)


def predictions_artifact(folder: Path, split: str, run_id: str, *, facts: dict[str, Any], upload: float) -> Any:
    """Make the artifact of the prediction file of a split, its record, and the labels where they are known."""
    names = (f"{split}.csv", f"{split}.json", f"{split}.targets.csv")
    files = [path for name in names if (path := folder / "predictions" / name).exists()]
    return make_artifact(f"predictions-{run_id}-{split}", "predictions", files, facts, upload=upload)


def make_artifact(name: str, kind: str, files: Sequence[Path], facts: dict[str, Any], *, upload: float) -> Any:
    """Make an artifact of files, referring to those larger than `upload` megabytes."""
    import wandb

    artifact = wandb.Artifact(name, type=kind, metadata=facts)
    for path in files:
        if path.stat().st_size > upload * 1e6:
            artifact.add_reference(f"file://{path.absolute()}", name=path.name)
        else:
            artifact.add_file(str(path), policy="immutable")  # sent from where it lies, not from a copy
    return artifact
