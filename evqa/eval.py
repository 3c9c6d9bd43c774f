"""Score a split of a finished run's data, or with --scorer any scorer over data sets or a benchmark, as one table."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from evqa.cli import Flags, command
from evqa.errors import ConfigError
from evqa.files.log import say_begin
from evqa.machine.imports import importing

BENCHMARKS = ("q_bench_video",)
OF_BENCHMARKS = ("benchmark", "root", "judge_url", "judge_model", "judge_price")


def parser() -> argparse.ArgumentParser:
    """Describe the flags."""
    flags = Flags(
        prog="evqa eval",
        usage="evqa eval RUN [--split NAME] [...]\n       evqa eval --scorer PLACE --data NAME,NAME [...]\n"
        "       evqa eval --scorer PLACE --benchmark NAME --root DIR [...]",
        description="Score a split of a finished run's own data; or any scorer over data sets of conf/data, as one "
        "table beside what its authors have published; or put a benchmark's questions to a scorer that answers.",
        epilog="A killed evaluation over data sets continues where it stood when it is given again. A data set that "
        "cannot be read costs only its row; the exit status is 2 then.",
    )
    flags.add_argument("run", metavar="RUN", nargs="?", type=Path, help="run folder: runs/<experiment>/<name>")
    flags.add_argument(
        "--split", help="split of the run's data (default: val), or of the benchmark: dev (default), test"
    )
    sets = flags.add_argument_group("data sets and benchmarks")
    sets.add_argument(
        "--scorer",
        metavar="PLACE",
        help="run folder, merged folder, published checkpoint, or a name in conf/scorer",
    )
    sets.add_argument(
        "--data",
        metavar="NAME,NAME",
        help="data sets of conf/data; scored is the test table of each, of those without one all labelled rows",
    )
    sets.add_argument("--out", metavar="FOLDER", type=Path, help="results (default: evaluations/<name of the scorer>)")
    sets.add_argument("--overwrite", action="store_true", help="replace what another command has written there")
    _add_benchmark(flags)
    both = flags.add_argument_group("all")
    both.add_argument("--modal", choices=("a", "v", "av"), help="score with a part of the run's modalities")
    both.add_argument("--ckpt", default="best", metavar="best|last|PATH", help="checkpoint of a run (default: best)")
    both.add_argument(
        "--override",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a place that changed: data.videos=/new/folder, trainer.accelerator=cpu; over data sets also "
        "NAME.KEY=VALUE of one of them (konvid1k.root=/data/konvid)",
    )
    return flags


def _add_benchmark(flags: argparse.ArgumentParser) -> None:
    group = flags.add_argument_group("benchmarks")
    group.add_argument("--benchmark", choices=BENCHMARKS, help="questions to be answered: Q-Bench-Video")
    group.add_argument("--root", metavar="DIR", type=Path, help="folder of the benchmark as published")
    group.add_argument("--judge-url", metavar="URL", help="OpenAI-compatible endpoint that judges open-ended answers")
    group.add_argument("--judge-model", metavar="NAME", help="its model; Q-Bench-Video's own is gpt-4o")
    group.add_argument(
        "--judge-price",
        metavar="IN,OUT",
        type=_price,
        help="dollars for a million tokens, for the estimate before the first call",
    )


def _price(text: str) -> tuple[float, float]:
    try:
        price_in, price_out = map(float, text.split(","))
    except ValueError:
        price_in = price_out = math.nan
    if not (0 <= price_in < math.inf and 0 <= price_out < math.inf):
        raise argparse.ArgumentTypeError(f"{text}: give IN,OUT, dollars for a million tokens, as in 2.5,10")
    return price_in, price_out


@command
def main(arguments: list[str] | None = None) -> None:
    """Parse, score, write, print."""
    flags = parser().parse_args(arguments)
    _check(flags)
    say_begin(f"Loading {flags.run or f'the scorer {flags.scorer}'}.")
    given = {name: value for name, value in vars(flags).items() if value is not None and name != "run"}
    if flags.benchmark:
        with importing():
            from evqa.runs.q_bench_video import BenchmarkRequest, evaluate_q_bench_video
        del given["benchmark"]
        evaluate_q_bench_video(BenchmarkRequest(**given))
    elif flags.run is None:
        with importing():
            from evqa.runs.data_sets import DataSetsRequest, evaluate_data_sets
        evaluate_data_sets(DataSetsRequest(**given))
    else:
        with importing():
            from evqa.runs.evaluation import evaluate_split
        split = flags.split or "val"
        evaluate_split(flags.run, split=split, modal=flags.modal, checkpoint=flags.ckpt, overrides=flags.override)


def _check(flags: argparse.Namespace) -> None:
    """Refuse flags of one use with those of another. Raises ConfigError."""
    of_sets = {"--scorer": flags.scorer, "--data": flags.data, "--out": flags.out, "--overwrite": flags.overwrite}
    of_benchmarks = {f"--{name.replace('_', '-')}": getattr(flags, name) for name in OF_BENCHMARKS}
    given = [name for name, value in (of_sets | of_benchmarks).items() if value]
    if flags.run is not None and given:
        mend = f"RUN scores its own data; for data sets write --scorer {flags.run} --data NAME,NAME."
        raise ConfigError([f"RUN and {given[0]}: {mend}"])
    if flags.benchmark:
        _check_benchmark(flags)
    elif lost := [name for name, value in of_benchmarks.items() if value]:
        raise ConfigError([f"{lost[0]}: belongs to --benchmark ({', '.join(BENCHMARKS)})."])
    elif flags.run is None and not (flags.scorer and flags.data):
        raise ConfigError(["Give RUN, or both --scorer PLACE and --data NAME,NAME."])
    elif flags.run is None and flags.split:
        mend = "belongs to RUN. Of a data set its test table is scored, else all labelled rows."
        raise ConfigError([f"--split {flags.split}: {mend}"])


def _check_benchmark(flags: argparse.Namespace) -> None:
    if flags.data:
        raise ConfigError(["--benchmark and --data: give one of them."])
    if not (flags.scorer and flags.root):
        raise ConfigError(["--benchmark needs --scorer PLACE and --root DIR."])
    if flags.split not in (None, "dev", "test"):
        raise ConfigError([f"--split {flags.split}: {flags.benchmark} has dev and test."])
    if bool(flags.judge_url) != bool(flags.judge_model):
        raise ConfigError(["--judge-url and --judge-model belong together; give both."])


if __name__ == "__main__":
    main()
