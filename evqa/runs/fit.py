"""`python -m evqa.train`: compose, check, build, fit, evaluate, record."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import lightning
from lightning.fabric.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig

from evqa.config import identity
from evqa.config.application import running_overrides
from evqa.config.environment import environment_keys, hidden
from evqa.errors import RunError
from evqa.files.progress import counted
from evqa.files.terminal import terminal, warn
from evqa.machine.parent import end_with_parent
from evqa.metrics.evaluation import plain_failures
from evqa.models.base import RANDOM_WEIGHTS
from evqa.models.license import terms_of
from evqa.runs import show
from evqa.runs.card import cost_card
from evqa.runs.example import example_of
from evqa.runs.finished import tell_finished
from evqa.runs.losses import evaluate_losses, with_turns_to_learn
from evqa.runs.origin import check_checkpoint, origin_of, write_origin
from evqa.runs.preparation import check_files, known_facts
from evqa.runs.previous import merge_previous
from evqa.runs.processes import ended_together, is_first
from evqa.runs.recomputation import choose_recomputed
from evqa.runs.results import print_result
from evqa.runs.resuming import Start, say_what_cannot_be_restored, start_of
from evqa.runs.run_log import RunLog, ended
from evqa.runs.sessions import session
from evqa.runs.tracking import open_run_log, tell_agent
from evqa.runs.trainer import make_trainer
from evqa.runs.wandb_log import asked_by_agent
from evqa.scoring.assembly import assemble
from evqa.scoring.files import made_with, score_all, write_predictions
from evqa.scoring.training_labels import write_training_labels
from evqa.training.build import BuiltModel, build_datamodule, build_model, build_module, speed_up
from evqa.training.callbacks.checkpoints import Checkpoints
from evqa.training.callbacks.progress import TrainingProgress
from evqa.training.callbacks.randomness import StatelessRandomness
from evqa.training.callbacks.records import MetricsFile, read_rows
from evqa.training.callbacks.requeue import Stops
from evqa.training.callbacks.speed import Speed
from evqa.training.datamodule import ScoreDataModule
from evqa.training.folder import RunFolder
from evqa.training.kept_weights import weights_to_score
from evqa.training.module import ScoreModule
from evqa.training.plan import RunPlan, read_plan
from evqa.training.sharding import in_step
from evqa.training.tuning import trained_parts
from evqa.types import Failure

REQUEUED_PATIENCE_SECONDS = 120.0  # on a lost node the job's last life may not have noticed yet
console = terminal()


def run(config: DictConfig) -> float | None:
    """Run one configuration to its end; returns what sweepers compare runs by.

    That is the challenge score on validation; the loss, of which less is better, where the head gives no scores.

    Running the same configuration again continues it, or reports that it is done.
    """
    plan = read_plan(config)
    merge_previous(plan)
    if config.dry_run:
        _dry_run(plan)
        return None
    folder = RunFolder(identity.folder(config))
    stops = Stops()
    with stops.listening():
        if not is_first(plan.trainer.num_processes):  # the first process holds the lock, and speaks
            stops.first_process, console.quiet = False, True
            end_with_parent(check_seconds=1.0)  # waiting for a dead one to answer takes half an hour
            with (
                contextlib.suppress(KeyboardInterrupt),
                open(os.devnull, "w") as nowhere,  # noqa: PTH123 (no place of the user's)
                contextlib.redirect_stdout(nowhere),
            ):
                return _run(plan, folder, stops)
            raise SystemExit(130)
        rank_zero_only.rank = 0  # type: ignore[attr-defined]  # also in a task of srun that is a run of its own
        with folder.lock(patience_s=REQUEUED_PATIENCE_SECONDS if "SLURM_RESTART_COUNT" in os.environ else 0.0):
            if folder.is_finished:
                if asked_by_agent():
                    tell_agent(plan, folder)
                return tell_finished(config, folder, console=console)
            return _run(plan, folder, stops)


def _dry_run(plan: RunPlan) -> None:
    """Print what a run would cost, and what the model would be asked about the first record."""
    built = build_model(plan, load=False)
    example = example_of(plan, built, colours=console.is_terminal and not console.no_color)
    show.print_card(console, cost_card(plan, built))
    show.print_example(console, example)


def _run(plan: RunPlan, folder: RunFolder, stops: Stops) -> float | None:
    plan.trainer.check_precision()
    plan.trainer.check_devices()
    plan.logger.check()
    lightning.seed_everything(plan.seed, verbose=False)
    folder.check_free(plan.recorded)
    console.print(f"Run: {folder.path}")
    if keys := list(environment_keys(plan.recorded)):
        console.print(f"From the environment, and so not recorded with their values: {', '.join(keys)}.", markup=False)
    module, datamodule = _module_and_data(plan)
    start = _start(plan, folder, module, datamodule)
    metrics = MetricsFile(folder.path)
    checkpoints: Checkpoints = plan.make_checkpoints(str(folder.checkpoints))
    checkpoints.stops = stops
    progress = TrainingProgress(monitor=checkpoints.monitor, wanted=plan.trainer.progress)
    trainer = _trainer(plan, metrics, [progress, checkpoints])
    say_what_cannot_be_restored(trainer, start.checkpoint)
    if stops.first_process:  # and not before all that may refuse the run
        folder.prepare(plan.recorded, list(running_overrides()))
        if start.checkpoint is None:
            write_origin(folder, datamodule.origin)
            write_training_labels(folder.path, datamodule.splits["train"])
    metrics.resume_at(start.step)
    log = open_run_log(plan, folder)
    if log is not None:
        log.replay(read_rows(metrics.path))
        metrics.mirror = log.log
    device, is_new = trainer.strategy.root_device.type, start.checkpoint is None
    where: dict[str, Any] = {"device": device, "num_processes": plan.trainer.num_processes}
    where["num_recomputed"] = module.model.num_recomputed
    costs = session(folder.path, is_new=is_new, **where) if stops.first_process else contextlib.nullcontext()
    with costs, progress.stopped(checkpoints), ended_together(trainer), ended(log), stops.deferred():
        trainer.fit(module, datamodule=datamodule, ckpt_path=start.checkpoint, weights_only=True)
        return evaluate_run(plan, folder, module, datamodule, log, stops=stops)


def _module_and_data(plan: RunPlan) -> tuple[ScoreModule, ScoreDataModule]:
    """Build what learns and what it learns from, and say what they are."""
    built = build_model(plan, device=plan.trainer.device, later=plan.trainer.shards)
    if (base := built.model.base_name()) != RANDOM_WEIGHTS:
        console.print(f"Weights: {hidden(base)}; license: {terms_of(base, built.model.license)}", markup=False)
    datamodule = load_data(plan, built)
    module = build_module(plan, built)
    speed_up(plan, built.model)
    module.metadata["origin"] = datamodule.origin
    show.print_parts(console, trained_parts(module.model, module.head), module.optimizer)
    if not module.head.takes_loss:
        console.print(show.words_line(module.head, plan.loss), markup=False)
    if module.model.recompute == "auto":
        console.print(f"model.recompute=auto: {choose_recomputed(plan, module.model)}.", markup=False)
    return module, datamodule


def _start(plan: RunPlan, folder: RunFolder, module: ScoreModule, datamodule: ScoreDataModule) -> Start:
    """Where the run begins or goes on, and what is to be said of that."""
    start = start_of(plan, folder, module, _warn)
    if start.checkpoint is not None:
        console.print(f"Continuing from {start.checkpoint.name}: epoch {start.epoch}, step {start.step}.")
        for note in check_checkpoint(start.checkpoint, start.metadata, datamodule.origin):
            _warn(note)
    return start


def load_data(plan: RunPlan, built: BuiltModel) -> ScoreDataModule:
    """Load the records, leave out the files that cannot be read, and say how many.

    Raises:
        RunError: more items are unusable than `data.max_failures` allows.
    """
    annotations = plan.data.dataset.load()
    if "train" not in annotations.splits:
        there = ", ".join(annotations.splits)
        raise RunError(f"The data set has nothing to train on, only {there}; choose another one with data=...")
    splits, by_split = {}, dict[str, tuple[Failure, ...]]()
    for name, records in annotations.splits.items():
        splits[name], unreadable = check_files(records, plan.data)
        splits[name], silent = (splits[name], ()) if built.head.gives_scores else with_turns_to_learn(splits[name])
        by_split[name] = (*annotations.rejects_of(name), *unreadable, *silent)
    for note in annotations.notes:
        _warn(note)
    failures = [failure for of_split in by_split.values() for failure in of_split]
    num_rows = len(failures) + sum(map(len, splits.values()))
    show.print_data(console, splits, failures, annotations.dropped)
    allowed = plan.data.batches.max_failures
    if len(failures) > allowed * num_rows:
        raise RunError(
            f"{len(failures)} of {num_rows} items cannot be used, more than data.max_failures={allowed} allows. Mend "
            "the data (python -m evqa.prepare lists every reason) or raise data.max_failures."
        )
    for name in ("train", "val"):
        if not splits.get(name):
            raise RunError(f"The split '{name}' has no usable items; check data.csv and data.val_fraction.")
    datamodule = build_datamodule(plan, built, splits, by_split)
    datamodule.origin = origin_of(annotations.splits, splits)
    return datamodule


def _trainer(plan: RunPlan, metrics: MetricsFile, last: Sequence[lightning.Callback]) -> lightning.Trainer:
    first = [StatelessRandomness(plan.seed), Speed(every=plan.trainer.log_every)]
    callbacks = [*first, *(make() for make in plan.make_callbacks), *last]
    return make_trainer(plan.trainer, callbacks=callbacks, loggers=[metrics])


def evaluate_run(
    plan: RunPlan,
    folder: RunFolder,
    module: ScoreModule,
    datamodule: ScoreDataModule,
    log: RunLog | None = None,
    *,
    stops: Stops,
) -> float | None:
    """Score every split but the training one with the best checkpoint, and write the prediction files."""
    weights = weights_to_score(folder, mapped=plan.trainer.shards)
    if weights.note:
        console.print(f"Note: {weights.note}.")
    module.load_trained(weights.state)
    rejects, untrained = datamodule.failures, plain_failures(datamodule.failures["train"] + module.train_failures())

    def about(split: str) -> dict[str, Any]:
        data = {"data": datamodule.origin["data"][split], "data_changed": []}
        return made_with(plan, weights.path, split, note=weights.note) | data | {"train_failures": untrained}

    if module.head.gives_scores:
        _score_splits(plan, folder, module, datamodule, rejects=rejects, about=about, log=log, stops=stops)
    else:
        evaluate_losses(folder, module, datamodule, rejects=rejects, about=about, log=log)
    if not module.trainer.is_global_zero:
        return None
    folder.finish()
    cast("Checkpoints", module.trainer.checkpoint_callback).drop_surplus()
    if log is not None:
        log.publish(folder.path)
    return print_result(console, folder, config=plan.recorded)


def _score_splits(
    plan: RunPlan,
    folder: RunFolder,
    module: ScoreModule,
    datamodule: ScoreDataModule,
    *,
    rejects: Mapping[str, Sequence[Failure]],
    about: Callable[[str], dict[str, Any]],
    log: RunLog | None,
    stops: Stops,
) -> None:
    trainer = module.trainer
    scorer = assemble(plan, module, datamodule.pipeline, device=str(trainer.strategy.root_device))
    is_shown = plan.trainer.progress and stops.first_process
    for split in [name for name in datamodule.splits if name != "train"]:
        records = datamodule.splits[split]
        with counted(f"scoring {split}", -(-len(records) // trainer.world_size), wanted=is_shown) as counting:
            scores = score_all(
                scorer, records, watch=lambda scores: in_step(module.shards, counting.watch(stops.between(scores)))
            )
        if not trainer.is_global_zero:
            continue
        record = write_predictions(
            folder,
            split,
            scores,
            records=records,
            rejects=rejects[split],
            scale=module.scale,
            about=about(split),
            facts=known_facts(plan.data),
        )
        if log is not None:
            log.summarize(split, record)
            log.show_items(split, scores, records, limits=plan.data.batches.limits)


def _warn(sentence: str) -> None:
    """Print a warning, unless another process speaks for all."""
    if not console.quiet:
        warn(sentence)
