"""Score a split of a finished run's data, or with --scorer and --data any scorer over data sets, as one table."""

from __future__ import annotations

import argparse
from pathlib import Path

from evqa.cli import Flags, command
from evqa.errors import ConfigError


def parser() -> argparse.ArgumentParser:
    """Describe the flags."""
    flags = Flags(
        prog="evqa eval",
        usage="evqa eval RUN [--split NAME] [...]\n       evqa eval --scorer PLACE --data NAME,NAME [...]",
        description="Score a split of a finished run's own data; or any scorer over data sets of conf/data, as one "
        "table beside what its authors have published.",
        epilog="A killed evaluation over data sets continues where it stood when it is given again. A data set that "
        "cannot be read costs only its row; the exit status is 2 then.",
    )
    flags.add_argument("run", metavar="RUN", nargs="?", type=Path, help="run folder: runs/<experiment>/<name>")
    flags.add_argument("--split", help="split of the run's data (default: val)")
    sets = flags.add_argument_group("data sets")
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
    both = flags.add_argument_group("both")
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


@command
def main(arguments: list[str] | None = None) -> None:
    """Parse, score, write, print."""
    flags = parser().parse_args(arguments)
    _check(flags)
    if flags.run is None:
        from evqa.runs.data_sets import DataSetsRequest, evaluate_data_sets

        given = {name: value for name, value in vars(flags).items() if name not in ("run", "split")}
        evaluate_data_sets(DataSetsRequest(**given))
        return
    from evqa.runs.evaluation import evaluate_split

    split = flags.split or "val"
    evaluate_split(flags.run, split=split, modal=flags.modal, checkpoint=flags.ckpt, overrides=flags.override)


def _check(flags: argparse.Namespace) -> None:
    """Refuse flags of one use with those of the other. Raises ConfigError."""
    of_sets = {"--scorer": flags.scorer, "--data": flags.data, "--out": flags.out, "--overwrite": flags.overwrite}
    given = [name for name, value in of_sets.items() if value]
    if flags.run is not None and given:
        raise ConfigError(
            [f"RUN and {given[0]}: RUN scores its own data; for data sets write --scorer {flags.run} --data NAME,NAME."]
        )
    if flags.run is None and not (flags.scorer and flags.data):
        raise ConfigError(["Give RUN, or both --scorer PLACE and --data NAME,NAME."])
    if flags.run is None and flags.split:
        raise ConfigError(
            [f"--split {flags.split}: belongs to RUN. Of a data set its test table is scored, else all labelled rows."]
        )


if __name__ == "__main__":
    main()
