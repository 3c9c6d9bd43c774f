"""Export a finished run as a standard folder: merged weights (or the adapter alone), the head, and a model card."""

from __future__ import annotations

import argparse
from pathlib import Path

from evqa.cli import Flags, command
from evqa.files.log import say_begin
from evqa.files.progress import BEGINS_ANEW, stoppable
from evqa.files.refusals import placed
from evqa.machine.imports import importing


def parser() -> argparse.ArgumentParser:
    """Describe the flags."""
    flags = Flags(
        prog="evqa merge",
        description="Export a finished run: a Hugging Face folder, VideoLLaMA2's published layout, or a peft adapter.",
    )
    flags.add_argument("run", metavar="RUN", type=Path, help="run folder: runs/<experiment>/<name>")
    flags.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="new or empty folder to write")
    flags.add_argument("--adapter", action="store_true", help="only what was trained, in peft's format")
    flags.add_argument("--ckpt", default="best", metavar="best|last|PATH", help="checkpoint (default: best)")
    flags.add_argument(
        "--override",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a place that changed: model.checkpoint=/new/folder",
    )
    return flags


@command
@stoppable("before anything was written", then=BEGINS_ANEW)
def main(arguments: list[str] | None = None) -> None:
    """Parse, rebuild the run's model, write the folder."""
    flags = parser().parse_args(arguments)
    say_begin(f"Loading the run {flags.run}.")
    with importing():
        from evqa.runs.merging import export_run
    with placed(flags.out):
        export_run(flags.run, out=flags.out, adapter=flags.adapter, checkpoint=flags.ckpt, overrides=flags.override)


if __name__ == "__main__":
    main()
