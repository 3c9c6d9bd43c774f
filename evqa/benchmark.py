"""Measure reading, training or scoring, or count a step: `python -m evqa.benchmark MODE [KEY=VALUE ...]`."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evqa.benchmarking.cards import CARDS
from evqa.benchmarking.gpu.settings import PARTS
from evqa.cli import Flags, command
from evqa.config.nearest import suggestion
from evqa.errors import ConfigError
from evqa.files.log import say_begin
from evqa.files.plain import write_json

if TYPE_CHECKING:
    from evqa.benchmarking.reports import DataReport
    from evqa.benchmarking.step_report import StepReport
    from evqa.training.plan import RunPlan

MINUTES = 9.0
OF_GPU = ("only", "out", "again", "minutes", "device", "size")
ABOUT = """\
data   CPU time to read a clip, by stage and in total, decoded and from the cache, beside the published code's way
       (decord, Pillow, an ffmpeg program, 30 s of filter bank), and how it scales with workers. Without overrides it
       reads what the published recipe reads; with overrides, what that configuration reads.
train  time of a training step and of the model's parts in it, wait for data, samples and tokens a second, memory, MFU
       and HFU. The clips are read once before, so that the cache is warm; data.cache.folder=null measures decoding.
score  the same for scoring the validation split; for a model with a motion branch also what a clip's motion features
       cost, beside both of SlowFast's pathways as the original of VQA² runs them.
count  operations, memory traffic, kernels, waits and peak memory of a training step (--score: of a batch that is
       scored), without a GPU, weights or data, and what they would take on a named card: predicted, not measured.
gpu    all of it on one GPU, in parts, on random weights of the published size and batches made in memory: speed and
       memory of training by setting and batch size, of scoring, of QLoRA, scores in bfloat16 and float32, Qwen's
       encoders, and the published code's order of work. Writes JSON, Markdown and a plot; no row is run twice.
"""
EXAMPLES = """\
examples:
  python -m evqa.benchmark data
  python -m evqa.benchmark data --videos 'videos/*.mp4' --json data.json --plot data.png
  python -m evqa.benchmark train model=videollama2 trainer=gpu data=snapugc data.csv=train.csv data.videos=videos/
  python -m evqa.benchmark train experiment=videollama2_av_lora --batches 1,2,4,8 --trace step.json.gz
  python -m evqa.benchmark count experiment=videollama2_av_lora data.batch_size=8 --card H100
  python -m evqa.benchmark gpu --only train,score --out h200/
"""


def parser() -> argparse.ArgumentParser:
    """Describe the flags."""
    flags = Flags(
        prog="evqa benchmark",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_argument("mode", choices=("data", "train", "score", "count", "gpu"))
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
        "--batches",
        type=_batch_sizes,
        metavar="1,2,4",
        help="train, score: these batch sizes in turn, until one does not fit the memory (default: data.batch_size)",
    )
    flags.add_argument(
        "--trace", type=Path, metavar="FILE.json", help="train, score: write two steps under torch's profiler here"
    )
    flags.add_argument(
        "--card", choices=tuple(CARDS), metavar="NAME", help=f"count: {', '.join(CARDS)} (default: H200)"
    )
    flags.add_argument(
        "--score", action="store_true", help="count: a batch that is scored, in place of a training step"
    )
    flags.add_argument(
        "--only", type=_parts, metavar="PART,PART", help=f"gpu: {', '.join(PARTS)} (default: all, in this order)"
    )
    flags.add_argument("--out", type=Path, metavar="DIR", help="gpu: for gpu.json, gpu.md, gpu.png (default: .)")
    flags.add_argument("--again", action="store_true", help="gpu: measure again what is there")
    flags.add_argument("--minutes", type=float, help="gpu: begin nothing that would take longer (default: 9)")
    flags.add_argument("--device", choices=("cuda", "cpu"), help="gpu: what computes (default: cuda)")
    flags.add_argument("--size", choices=("published", "tiny"), help="gpu: of the models (default: published)")
    flags.add_argument("--json", type=Path, metavar="FILE", help="also write all figures here")
    flags.add_argument("--plot", type=Path, metavar="FILE.png", help="also draw them")
    return flags


def _batch_sizes(text: str) -> list[int]:
    sizes = [int(word) if word.strip().isdecimal() else 0 for word in text.split(",")]
    if not all(sizes):
        raise argparse.ArgumentTypeError(f"{text!r}: give whole numbers from 1, such as 1,2,4,8")
    return sizes


def _parts(text: str) -> list[str]:
    parts = [word.strip() for word in text.split(",")]
    for part in parts:
        if part not in PARTS:
            raise argparse.ArgumentTypeError(f"there is no part '{part}'. {suggestion(part, PARTS)}")
    return parts


@command
def main(arguments: list[str] | None = None) -> None:
    """Measure, print tables, write what was asked for."""
    flags = parser().parse_intermixed_args(arguments)
    _check(flags)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler writes lines of its own; read when it is loaded
    say_begin("Loading PyTorch.")
    from evqa.files.terminal import terminal

    console = terminal(soft_wrap=False, width=None if sys.stdout.isatty() else 120)
    if flags.mode in ("count", "gpu"):
        (_count if flags.mode == "count" else _gpu)(flags, console)
        return
    from evqa.benchmarking import show

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
    files = [file for file in (flags.json, flags.plot, flags.trace) if file is not None]
    problems += [f"{file}: there is no folder {file.parent}." for file in files if not file.absolute().parent.is_dir()]
    if flags.videos is not None and flags.mode != "data":
        problems.append(f"--videos belongs to 'data'; for '{flags.mode}' choose data by overrides (data=snapugc ...).")
    if flags.card is not None and flags.mode != "count":
        problems.append(f"--card belongs to 'count'; '{flags.mode}' measures on the machine's own card.")
    if flags.score and flags.mode != "count":
        problems.append("--score belongs to 'count'; 'score' measures scoring.")
    if flags.mode not in ("train", "score"):
        problems += [f"--{name} belongs to 'train' and 'score'." for name in ("batches", "trace") if given[name]]
    if flags.mode == "gpu":
        problems += _gpu_problems(flags)
    else:
        problems += [f"--{name} belongs to 'gpu'." for name in OF_GPU if given[name]]
    if flags.plot is not None and flags.mode == "count":
        problems.append("--plot: 'count' draws nothing; --json FILE writes all of its figures.")
    if problems:
        raise ConfigError(problems)


def _gpu_problems(flags: argparse.Namespace) -> list[str]:
    """Flags and settings that `gpu` does not take."""
    files = [f"--{name}: 'gpu' writes its files to --out DIR." for name in ("json", "plot") if vars(flags)[name]]
    settings = ", ".join(flags.overrides)
    rows = "its rows are in evqa/benchmarking/gpu/settings.py"
    minutes = flags.minutes is not None and flags.minutes <= 0
    return [
        *files,
        *([f"{settings}: 'gpu' takes no settings; {rows}."] if settings else []),
        *([f"--minutes is {flags.minutes:g}; it must be more than 0."] if minutes else []),
    ]


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


def _gpu(flags: argparse.Namespace, console: Any) -> None:
    from evqa.benchmarking.gpu.bench import Bench
    from evqa.benchmarking.gpu.run import run_parts
    from evqa.runs.recomputation import choose_recomputed

    bench = Bench(
        device_name=flags.device or "cuda",
        size=flags.size or "published",
        make_trainer=_trainer,
        choose_recomputed=choose_recomputed,
    )
    parts = [part for part in PARTS if part in (flags.only or PARTS)]
    seconds = 60 * (flags.minutes or MINUTES)
    run_parts(bench, flags.out or Path(), parts, seconds=seconds, again=flags.again, console=console)


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


def _trainer(plan: RunPlan, callbacks: list[Any]) -> Any:
    from evqa.runs.trainer import make_trainer

    return make_trainer(plan.trainer, callbacks=callbacks, loggers=[])


def _measure_steps(flags: argparse.Namespace) -> StepReport:
    from evqa.benchmarking.step_timer import Steps
    from evqa.benchmarking.steps import measure_scoring, measure_training
    from evqa.config.compose import compose
    from evqa.runs.fit import load_data
    from evqa.runs.recomputation import choose_recomputed
    from evqa.training.build import build_model, build_module, build_scoring, speed_up
    from evqa.training.plan import read_plan

    plan = read_plan(compose(flags.overrides))
    plan.trainer.check_devices(scoring=flags.mode == "score")
    built = build_model(plan, device=plan.trainer.device, later=plan.trainer.shards and flags.mode == "train")
    datamodule = load_data(plan, built)
    steps = Steps(warmup=flags.warmup, timed=flags.steps, trace=flags.trace)
    batch_sizes = flags.batches or [plan.data.batches.batch_size]
    if flags.mode == "score":
        scoring = build_scoring(plan, built)
        return measure_scoring(plan, scoring, datamodule, steps=steps, batch_sizes=batch_sizes)
    plan.trainer.check_precision()
    module = build_module(plan, built)
    if built.model.recompute == "auto":
        choose_recomputed(plan, built.model)
    speed_up(plan, built.model)
    return measure_training(plan, module, datamodule, _trainer, steps=steps, batch_sizes=batch_sizes)


if __name__ == "__main__":
    main(None)
