"""Check a prediction file against the ids that it must hold, and pack it.

`python -m evqa.submit prediction.csv --targets val_data.csv --zip`
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from evqa.cli import Flags, command
from evqa.errors import ConfigError
from evqa.files.log import say_begin


def parser() -> argparse.ArgumentParser:
    """Describe the flags."""
    flags = Flags(
        prog="evqa submit",
        description="Check a prediction file before it is handed in: the header, every id of the table once and in its "
        "order, finite numbers.",
        epilog="A complete file comes from `evqa predict TABLE.csv --fill SCORE --out FILE.csv`.",
    )
    flags.add_argument("file", metavar="FILE", type=Path, help="the prediction: a CSV file with Id,<label>")
    flags.add_argument(
        "--targets", required=True, type=Path, metavar="CSV", help="table with the ids, in the column Id"
    )
    flags.add_argument("--label", default="ECR", help="name of the label (default: ECR)")
    flags.add_argument("--range", metavar="LOW,HIGH", help="ends of the label's scale; scores outside are refused")
    flags.add_argument("--zip", action="store_true", help="write FILE.zip beside it")
    return flags


@command
def main(arguments: list[str] | None = None) -> None:
    """Parse, check, pack, say what was checked."""
    flags = parser().parse_args(arguments)
    span = _span(flags.range)
    say_begin(f"Reading {flags.file}.")
    from evqa.ensembling.submission import check_submission, pack
    from evqa.files.terminal import terminal
    from evqa.metrics.score_table import ids_of

    scores = check_submission(flags.file, ids_of(flags.targets), label=flags.label, span=span)
    console = terminal()
    console.print(
        f"{flags.file}: the {len(scores)} ids of {flags.targets}, each once and in order; every score is finite "
        f"({min(scores):g} to {max(scores):g})."
    )
    if min(scores) == max(scores):
        console.print("Note: all scores are equal, so that no correlation can be computed.")
    if flags.zip:
        console.print(f"Wrote {pack(flags.file)}")


def _span(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low = high = math.nan
    if not low < high:
        raise ConfigError([f"--range {text}: give two numbers, the lower one first: --range 0,1."])
    return low, high


if __name__ == "__main__":
    main()
