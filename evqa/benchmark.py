"""Measure reading, training or scoring, or count a step: `python -m evqa.benchmark MODE [KEY=VALUE ...]`."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evqa.benchmarking.cards import CARDS
from evqa.cli import Flags, command
from evqa.errors import ConfigError
from evqa.files.log import say_begin
from evqa.files.plain import write_json

if TYPE_CHECKING:
    from evqa.benchmarking.reports import DataReport, StepReport

ABOUT = """\
data   CPU time to read a clip, by stage and in total, decoded and from the cache, beside the published code's way
       (decord, Pillow, an ffmpeg program, 30 s of filter bank), and how it scales with workers. Without overrides it
       reads what the published recipe reads; with overrides, what that configuration reads.
train  time of a training step, wait for data, samples and tokens a second, memory, utilisation. The clips are read
       once before, so that the cache is warm; data.cache.folder=null measures decoding.
score  the same for scoring the validation split; for a model with a motion branch also what a clip's motion features
       cost, beside both of SlowFast's pathways as the original of VQA² runs them.
count  operations, memory traffic, kernels, waits and peak memory of a training step (--score: of a batch that is
       scored), without a GPU, weights or data, and what they would take on a named card: predicted, not measured.
"""
EXAMPLES = """\
examples:
  python -m evqa.benchmark data
  python -m evqa.benchmark data --videos 'videos/*.mp4' --json data.json --plot data.png
  python -m evqa.benchmark train model=videollama2 trainer=gpu data=snapugc data.csv=train.csv data.videos=videos/
  python -m evqa.benchmark count experiment=videollama2_av_lora data.batch_size=8 --card H100
"""


def parser() -> argparse.ArgumentParser:
    """Describe the flags."""
    flags = Flags(
        prog="evqa benchmark",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_argument("mode", choices=("data", "train", "score", "count"))
    flags.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings as for evqa.train")
    flags.add_argument("--videos", metavar="PLACE", help="data: a folder, a file or a pattern (default: made clips)")
    flags.add_argument("--clips", type=int, default=16, help="data: videos to use at most (default: 16)")
    flags.add_argument("--rounds", type=int, default=5, help="data: repetitions after a warm-up (default: 5)")
    flags.add_argument(
        "--workers", type=int, default=2, help="data: workers of the scaling test, 1 for none (default: 2)"
    )
    flags.add_argument("--steps", type=int, default=20, help="train, score: steps that count (default: 20)")
    flags.add_argument("--warmup", type=int, default=5, help="train, score: steps before (default: 5)")
    flags.add_argument(
        "--card", choices=tuple(CARDS), metavar="NAME", help=f"count: {', '.join(CARDS)} (default: H200)"
    )
    flags.add_argument(
        "--score", action="store_true", help="count: a batch that is scored, in place of a training step"
    )
    flags.add_argument("--json", type=Path, metavar="FILE", help="also write all figures here")
    flags.add_argument("--plot", type=Path, metavar="FILE.png", help="also draw them")
    return flags


@command
def main(arguments: list[str] | None = None) -> None:
    """Measure, print tables, write what was asked for."""
    flags = parser().parse_intermixed_args(arguments)
    _check(flags)
    say_begin("Loading PyTorch.")
    from evqa.benchmarking import show
    from evqa.files.terminal import terminal

    console = terminal(soft_wrap=False, width=None if sys.stdout.isatty() else 120)
    if flags.mode == "count":
        _count(flags, console)
        return
    report = _measure_data(flags, console) if flags.mode == "data" else _measure_steps(flags)
    show.print_report(console, report)
    if flags.json:
        write_json(flags.json, dataclasses.asdict(report))
    if flags.plot:
        show.plot_report(report, flags.plot)


def _check(flags: argparse.Namespace) -> None:
    least = {"clips": 1, "rounds": 1, "workers": 1, "steps": 1, "warmup": 1}
    given = vars(flags)
    problems = [f"--{name} is {given[name]}; it must be at least {n}." for name, n in least.items() if given[name] < n]
    files = [file for file in (flags.json, flags.plot) if file is not None]
    problems += [f"{file}: there is no folder {file.parent}." for file in files if not file.absolute().parent.is_dir()]
    if flags.videos is not None and flags.mode != "data":
        problems.append(f"--videos belongs to 'data'; for '{flags.mode}' choose data by overrides (data=snapugc ...).")
    if flags.card is not None and flags.mode != "count":
        problems.append(f"--card belongs to 'count'; '{flags.mode}' measures on the machine's own card.")
    if flags.score and flags.mode != "count":
        problems.append("--score belongs to 'count'; 'score' measures scoring.")
    if flags.plot is not None and flags.mode == "count":
        problems.append("--plot: 'count' draws nothing; --json FILE writes all of its figures.")
    if problems:
        raise ConfigError(problems)


def _count(flags: argparse.Namespace, console: Any) -> None:
    from evqa.benchmarking.count import count_scoring, count_training
    from evqa.benchmarking.show_count import print_count
    from evqa.config.compose import compose
    from evqa.training.plan import read_plan

    count = count_scoring if flags.score else count_training
    report = count(read_plan(compose(flags.overrides)), card_name=flags.card or "H200")
    print_count(console, report)
    if flags.json:
        write_json(flags.json, report.as_json())


def _measure_data(flags: argparse.Namespace, console: Any) -> DataReport:
    from evqa.benchmarking.clips import choose_clips
    from evqa.benchmarking.data import PUBLISHED, measure_data

    spec = PUBLISHED
    if flags.overrides:
        from evqa.config.compose import compose
        from evqa.training.build import build_model
        from evqa.training.plan import read_plan

        spec = build_model(read_plan(compose(flags.overrides)), load=False).model.preparer.clip
    paths = choose_clips(flags.videos, spec, console, at_most=flags.clips)
    return measure_data(paths, spec, rounds=flags.rounds, workers=flags.workers)


def _measure_steps(flags: argparse.Namespace) -> StepReport:
    from evqa.benchmarking.steps import measure_scoring, measure_training
    from evqa.config.compose import compose
    from evqa.runs.fit import load_data
    from evqa.runs.trainer import make_trainer
    from evqa.training.build import build_model, build_module
    from evqa.training.plan import read_plan

    plan = read_plan(compose(flags.overrides))
    settings = plan.trainer
    sharded = settings.shards and flags.mode == "train"
    built = build_model(plan, device=settings.device if sharded else "cpu", later=sharded)
    datamodule = load_data(plan, built)
    module = build_module(plan, built)
    measure, scoring = (measure_scoring, True) if flags.mode == "score" else (measure_training, False)
    return measure(
        lambda callbacks: make_trainer(settings, callbacks=callbacks, loggers=[], scoring=scoring),
        module,
        datamodule,
        warmup=flags.warmup,
        num_steps=flags.steps,
    )


if __name__ == "__main__":
    main(None)
