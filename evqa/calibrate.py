"""Give a run's scores the size of the labels, and intervals that `evqa predict` then prints.

`python -m evqa.calibrate runs/default/NAME --split test`
"""

from __future__ import annotations

import argparse
from pathlib import Path

from evqa.cli import Flags, command
from evqa.errors import ConfigError
from evqa.files.log import say_begin
from evqa.files.progress import BEGINS_ANEW, stoppable

METHODS = ("linear", "isotonic")


def parser() -> argparse.ArgumentParser:
    """Describe the flags."""
    flags = Flags(
        prog="evqa calibrate",
        description="Fit a map from a run's scores to the labels of a split, and intervals around it that hold a new "
        "video's label with the stated share. Both are kept as calibration.json in the run's folder; `evqa predict` "
        "and `evqa merge` use them. No model is loaded.",
        epilog="What is printed of errors and intervals is out of fold: of items that had no part in the map. Items "
        "of a group stay together. The scores themselves stay as they are.",
    )
    flags.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="run folder, or a folder of runs")
    flags.add_argument("--split", default="val", help="which predictions (default: val); better one that chose nothing")
    flags.add_argument(
        "--method",
        choices=METHODS,
        default="linear",
        help="a line (default), or any curve that never falls, which needs hundreds of items",
    )
    flags.add_argument(
        "--level", type=float, default=0.9, metavar="SHARE", help="share of labels inside the intervals (default: 0.9)"
    )
    flags.add_argument(
        "--labels", type=Path, metavar="CSV", help="table of labels, in place of those beside the predictions"
    )
    return flags


@command
@stoppable("before all runs were calibrated", then=BEGINS_ANEW)
def main(arguments: list[str] | None = None) -> None:
    """Parse, read, fit, write, print."""
    flags = parser().parse_args(arguments)
    if not 0 < flags.level < 1:
        raise ConfigError([f"--level {flags.level:g}: give a share between 0 and 1, for instance 0.9."])
    say_begin("Reading the predictions.")
    from evqa.scoring.calibrating import calibrate_runs

    calibrate_runs(flags.runs, split=flags.split, method=flags.method, level=flags.level, labels=flags.labels)


if __name__ == "__main__":
    main()
