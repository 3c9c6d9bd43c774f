"""`python -m evqa.ask FILE [FILE] --scorer PLACE`: ask a model about a video, a pair, an image, or every second."""

from __future__ import annotations

import argparse
from pathlib import Path

from evqa.cli import Flags, command
from evqa.errors import ConfigError
from evqa.files.log import say_begin
from evqa.machine.imports import importing


def parser() -> argparse.ArgumentParser:
    """Describe the flags."""
    flags = Flags(
        prog="evqa ask",
        description="Ask a model about a video, an image, or two of them together. Answers are written as they come.",
        epilog='A line of a questions file: {"question": "..."}, with several turns {"question": ["...", "..."]}, '
        'with an "id", or with "files" of its own.',
    )
    flags.add_argument(
        "files", metavar="FILE", nargs="*", type=Path, help="a video or an image; two of them are a pair"
    )
    flags.add_argument(
        "--scorer",
        required=True,
        metavar="PLACE",
        help="run folder, merged folder, published checkpoint, or a name in conf/scorer (vqa2_assistant)",
    )
    asked = flags.add_mutually_exclusive_group(required=True)
    asked.add_argument("--question", metavar="TEXT", help="<media> in it is the place of a file; else files come first")
    asked.add_argument("--questions", type=Path, metavar="FILE", help="JSON lines, each with a question")
    asked.add_argument("--chat", action="store_true", help="several turns in a terminal, or a line each; Ctrl-D ends")
    asked.add_argument(
        "--each-second",
        action="store_true",
        help="eight dimensions of quality of every second of each video, also of folders of them: levels and answers",
    )
    flags.add_argument("--json", action="store_true", help="print one JSON object an answer, with --each-second a file")
    flags.add_argument("--pictures", type=Path, metavar="FOLDER", help="with --each-second: a heat map of every file")
    words = flags.add_argument_group("how answers are written (default: the likeliest word, always the same)")
    words.add_argument("--max-new-tokens", type=int, default=256, metavar="N", help="longest answer (default: 256)")
    words.add_argument("--temperature", type=float, default=0.0, metavar="T", help="above 0: words are drawn")
    words.add_argument("--top-p", type=float, default=1.0, metavar="P")
    words.add_argument("--top-k", type=int, default=0, metavar="K")
    words.add_argument("--repetition-penalty", type=float, default=1.0, metavar="R")
    words.add_argument("--stop", action="append", default=[], metavar="TEXT", help="text that ends an answer")
    words.add_argument("--seed", type=int, default=0, metavar="N", help="of the drawing")
    flags.add_argument("--ckpt", default="best", metavar="best|last|PATH", help="checkpoint of a run (default: best)")
    flags.add_argument(
        "--override", action="append", default=[], metavar="KEY=VALUE", help="prompt=vqa2_assistant_trained ..."
    )
    return flags


@command
def main(arguments: list[str] | None = None) -> None:
    """Parse, load, ask, print."""
    flags = vars(parser().parse_args(arguments))
    from evqa.prompts.decoding import Decoding

    loading = f"Loading the scorer {flags['scorer']}."
    own = Decoding(**{name: flags.pop(name) for name in (*Decoding.__dataclass_fields__,)})
    if flags.pop("each_second"):
        say_begin(loading)
        with importing():
            from evqa.scoring.each_second import SecondsRequest, annotate_files
        others = {name: flags[name] for name in ("files", "scorer", "pictures", "json", "ckpt", "override")}
        annotate_files(SecondsRequest(**others, decoding=own))
        return
    if (folder := flags.pop("pictures")) is not None:
        raise ConfigError([f"--pictures {folder}: pictures are drawn of seconds; give --each-second, or leave it out."])
    say_begin(loading)
    with importing():
        from evqa.scoring.conversations import QuestionRequest, converse
    converse(QuestionRequest(**flags, decoding=own))


if __name__ == "__main__":
    main()
