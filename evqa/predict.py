"""`python -m evqa.predict INPUT... --scorer PLACE`: score new videos."""

from __future__ import annotations

import argparse
from pathlib import Path

from evqa.cli import Flags, command


def parser() -> argparse.ArgumentParser:
    """Describe the flags."""
    flags = Flags(
        prog="evqa predict",
        description="Score new videos, one or a million. A terminal shows the first and the lowest scores; a pipe gets "
        "one line a video: id<TAB>score<TAB>notes.",
        epilog="A killed command with --out continues where it stood when it is given again. Exit status: 0 where "
        "something was scored, with --strict 3 where not all was; 2 where nothing was, or the command cannot be used.",
    )
    flags.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="+",
        type=Path,
        help="videos, images, folders, tables (.csv .tsv .jsonl .parquet)",
    )
    flags.add_argument(
        "--scorer",
        "--run",
        dest="scorer",
        required=True,
        metavar="PLACE",
        help="run folder (runs/<experiment>/<name>), merged folder, published checkpoint, or a name in conf/scorer",
    )
    flags.add_argument("--title", help="title of the video")
    flags.add_argument("--description", help="description of the video")
    flags.add_argument("--videos", type=Path, help="folder of a table's files (default: the table's own)")
    columns = flags.add_argument_group("columns of a table (default: those with a usual name, which is said)")
    columns.add_argument("--id-column", metavar="NAME", help="the id; without a path column it names the file too")
    columns.add_argument(
        "--path-column",
        action="append",
        default=[],
        metavar="NAME",
        help="the file, below --videos; once for each file of a record (a pair has two)",
    )
    columns.add_argument("--title-column", metavar="NAME")
    columns.add_argument("--description-column", metavar="NAME")
    flags.add_argument("--modal", choices=("a", "v", "av"), help="score with a part of the run's modalities")
    flags.add_argument("--ckpt", default="best", metavar="best|last|PATH", help="checkpoint (default: best)")
    flags.add_argument("--out", type=Path, help="write the scores here: .csv and .tsv (Id,<label>), .jsonl or .parquet")
    flags.add_argument("--overwrite", action="store_true", help="replace what another command has written there")
    flags.add_argument("--fill", type=float, help="score for videos that cannot be read, in --out only")
    flags.add_argument(
        "--json", action="store_true", help="print one JSON object a video, in the order of the inputs: docs/scoring.md"
    )
    flags.add_argument("--strict", action="store_true", help="exit with 3 where an input has no score")
    flags.add_argument(
        "--override", action="append", default=[], metavar="KEY=VALUE", help="trainer.accelerator=cpu ..."
    )
    return flags


@command
def main(arguments: list[str] | None = None) -> None:
    """Parse, score, print."""
    flags = parser().parse_args(arguments)
    from evqa.scoring.prediction import predict
    from evqa.scoring.request import Request

    predict(Request(**vars(flags)))


if __name__ == "__main__":
    main()
