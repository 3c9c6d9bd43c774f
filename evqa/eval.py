"""`python -m evqa.eval RUN`: score a split of a finished run's data."""

from __future__ import annotations

import argparse
from pathlib import Path

from evqa.cli import Flags, command


def parser() -> argparse.ArgumentParser:
    """Describe the flags."""
    flags = Flags(prog="evqa eval", description="Score a split with a finished run.")
    flags.add_argument("run", metavar="RUN", type=Path, help="run folder: runs/<experiment>/<name>")
    flags.add_argument("--split", default="val", help="split of the run's data (default: val)")
    flags.add_argument("--modal", choices=("a", "v", "av"), help="score with a part of the run's modalities")
    flags.add_argument("--ckpt", default="best", metavar="best|last|PATH", help="checkpoint (default: best)")
    flags.add_argument(
        "--override",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a place that changed: data.videos=/new/folder",
    )
    return flags


@command
def main(arguments: list[str] | None = None) -> None:
    """Parse, score, write into the run's predictions folder, print."""
    flags = parser().parse_args(arguments)
    from evqa.runs.evaluation import evaluate_split

    evaluate_split(flags.run, split=flags.split, modal=flags.modal, checkpoint=flags.ckpt, overrides=flags.override)


if __name__ == "__main__":
    main()
