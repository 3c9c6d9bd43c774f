"""`python -m evqa.serve --scorer PLACE`: a page on this machine that scores, explains, compares and answers."""

from __future__ import annotations

import argparse
from pathlib import Path

from evqa.cli import Flags, command
from evqa.files.log import say_begin


def parser() -> argparse.ArgumentParser:
    """Describe the flags."""
    flags = Flags(
        prog="evqa serve",
        description="Open a page that scores videos, shows what a score depends on, compares, scores many files, and "
        "asks a model that answers. Only this machine can reach it unless --host says otherwise.",
        epilog="Nothing is fetched from, or sent to, other hosts. Uploads belong to their visitor and are deleted when "
        "the page is closed. What programs may call: docs/serving.md.",
    )
    flags.add_argument(
        "--scorer",
        action="append",
        default=[],
        metavar="PLACE",
        help="run folder, merged folder, published checkpoint, or a name in conf/scorer; may be given repeatedly",
    )
    flags.add_argument("--runs", type=Path, metavar="FOLDER", help="show the runs below a folder, which stays as it is")
    flags.add_argument("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1, this machine)")
    flags.add_argument("--port", type=int, default=7860, help="default: 7860; 0 takes a free one")
    who = flags.add_argument_group("a page that others can reach")
    who.add_argument("--password-file", type=Path, metavar="FILE", help="a line name:password for everybody")
    who.add_argument("--i-know-it-is-open", action="store_true", help="no password, whoever comes")
    limits = flags.add_argument_group("limits")
    limits.add_argument("--max-megabytes", type=float, default=200.0, metavar="N", help="of an upload (default: 200)")
    limits.add_argument(
        "--max-length",
        type=float,
        metavar="SECONDS",
        help="of picture or sound that is read of a file (default: the scorer's data.limits.max_seconds)",
    )
    limits.add_argument(
        "--max-time",
        type=float,
        default=1800.0,
        metavar="SECONDS",
        help="that one request, or its upload, may take; a batch then keeps what is done (default: 1800)",
    )
    limits.add_argument(
        "--max-waiting", type=int, default=20, metavar="N", help="requests that may wait for their turn (default: 20)"
    )
    flags.add_argument("--open", action="store_true", help="show the page in this machine's browser")
    flags.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    flags.add_argument("--override", action="append", default=[], metavar="KEY=VALUE", help="model.checkpoint=... ...")
    return flags


@command
def main(arguments: list[str] | None = None) -> None:
    """Parse, load, serve."""
    flags = vars(parser().parse_args(arguments))
    if flags["scorer"]:
        say_begin(f"Loading {', '.join(flags['scorer'])}.")
    from evqa.web.server import ServeRequest, check_installed, serve

    check_installed()
    serve(ServeRequest(**flags))


if __name__ == "__main__":
    main()
