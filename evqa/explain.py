"""`python -m evqa.explain VIDEO --scorer PLACE --out FOLDER`: what a video's score depends on."""

from __future__ import annotations

import argparse
from pathlib import Path

from evqa.cli import Flags, command
from evqa.files.log import say_begin


def parser() -> argparse.ArgumentParser:
    """Describe the flags."""
    flags = Flags(
        prog="evqa explain",
        description="Score a video, its first 1, 2, ... seconds alone, and copies in which each second, the picture, "
        "the sound or the texts are hidden. Writes NAME.json and NAME.png, and prints the numbers.",
        epilog="It shows what the model reacts to, not what makes people stay. A copy that ends after three seconds "
        "is scored as a file that ends there would be.",
    )
    flags.add_argument("video", metavar="VIDEO", type=Path, help="a video, or an image")
    flags.add_argument(
        "--scorer",
        required=True,
        metavar="PLACE",
        help="run folder, merged folder, published checkpoint, or a name in conf/scorer",
    )
    flags.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="where both files go")
    flags.add_argument("--seconds", type=int, default=8, metavar="N", help="seconds looked at one by one (default: 8)")
    flags.add_argument("--title", help="title of the video")
    flags.add_argument("--description", help="description of the video")
    flags.add_argument("--modal", choices=("a", "v", "av"), help="a part of the scorer's modalities")
    flags.add_argument("--ckpt", default="best", metavar="best|last|PATH", help="checkpoint of a run (default: best)")
    flags.add_argument("--override", action="append", default=[], metavar="KEY=VALUE", help="model.checkpoint=... ...")
    return flags


@command
def main(arguments: list[str] | None = None) -> None:
    """Parse, load, score, write, print."""
    flags = vars(parser().parse_args(arguments))
    say_begin(f"Loading the scorer {flags['scorer']}.")
    from evqa.explaining.command import ExplanationRequest, explain_video

    explain_video(ExplanationRequest(**flags))


if __name__ == "__main__":
    main()
