"""`python -m evqa.predict INPUT... --run RUN`: score new videos."""

from __future__ import annotations

import argparse
from pathlib import Path

from evqa.cli import Flags, command


def parser() -> argparse.ArgumentParser:
    """Describe the flags."""
    flags = Flags(prog="evqa predict", description="Score new videos with a finished run.")
    flags.add_argument("inputs", metavar="INPUT", nargs="+", type=Path, help="video files, folders, or one CSV")
    flags.add_argument("--run", required=True, type=Path, help="run folder: runs/<experiment>/<name>")
    flags.add_argument("--title", help="title of the video")
    flags.add_argument("--description", help="description of the video")
    flags.add_argument("--videos", type=Path, help="folder of a CSV's videos (default: the CSV's own)")
    flags.add_argument("--modal", choices=("a", "v", "av"), help="score with a part of the run's modalities")
    flags.add_argument("--ckpt", default="best", metavar="best|last|PATH", help="checkpoint (default: best)")
    flags.add_argument("--out", type=Path, help="write Id,<label> here (a .csv file)")
    flags.add_argument("--fill", type=float, help="score for videos that cannot be read, in --out only")
    flags.add_argument("--json", action="store_true", help="print one JSON object a video")
    flags.add_argument(
        "--override", action="append", default=[], metavar="KEY=VALUE", help="trainer.accelerator=cpu ..."
    )
    return flags


@command
def main(arguments: list[str] | None = None) -> None:
    """Parse, score, print."""
    flags = parser().parse_args(arguments)
    from evqa.scoring.prediction import Request, predict

    predict(Request(**vars(flags)))


if __name__ == "__main__":
    main()
