"""What a run's tracker is told beside the rows: at its opening, and where a sweep's agent asks for a finished run."""

from __future__ import annotations

from omegaconf import OmegaConf

from evqa.runs.run_log import RunLog, ended
from evqa.scoring.records import own_records
from evqa.training.callbacks.records import read_rows
from evqa.training.folder import RunFolder
from evqa.training.plan import RunPlan


def open_run_log(plan: RunPlan, folder: RunFolder) -> RunLog | None:
    """Open the tracker that the configuration asks for; None where there is none or it cannot be used."""
    log: RunLog | None = plan.logger.build(
        folder.path,
        name=folder.path.name,
        group=folder.path.parent.name,
        config=OmegaConf.to_container(plan.recorded, resolve=False),
        monitor=plan.make_checkpoints(str(folder.checkpoints)).monitor,
    )
    return log


def tell_agent(plan: RunPlan, folder: RunFolder) -> None:
    """Give the W&B sweep that has proposed a finished combination its history and its result."""
    log = open_run_log(plan, folder)
    if log is None:
        return
    with ended(log):
        log.replay(read_rows(folder.path / "metrics.jsonl"))
        for split, record in own_records(folder.path):
            log.summarize(split, record)
        log.publish(folder.path)
