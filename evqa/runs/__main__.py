"""List the runs that are kept, best first; show one, remove some, or free disk space.

`python -m evqa.runs`, `python -m evqa.runs show RUN`
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from evqa.cli import Flags, command
from evqa.errors import RunError
from evqa.files.log import add_log_flags

ABOUT = """\
list   every run below the folders: setting, status, score with n, size, date; of each experiment the best first.
       A pipe gets one line a run, separated by tabs. This is what `evqa runs [PLACE...]` does, too.
show   one run: setting, metrics, files, software.
rm     remove runs, whole. Nothing outside their folders is touched; a run that is running is refused.
prune  free the space of what finished runs no longer need: every checkpoint but the one that is scored with.
"""
ACTIONS = ("list", "show", "rm", "prune")
ROOT = Path("runs")


def parser() -> argparse.ArgumentParser:
    """Describe the flags."""
    flags = Flags(prog="evqa runs", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = flags.add_subparsers(dest="action", metavar="|".join(ACTIONS), parser_class=Flags)
    listing = actions.add_parser("list", description="List runs, the best of each experiment first.")
    listing.add_argument("places", nargs="*", type=Path, metavar="PLACE", help="folders of runs (default: runs)")
    showing = actions.add_parser("show", description="Show one run.")
    showing.add_argument("run", type=Path, metavar="RUN", help="run folder: runs/<experiment>/<name>")
    removing = actions.add_parser("rm", description="Remove runs, whole.")
    removing.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folder: runs/<experiment>/<name>")
    pruning = actions.add_parser("prune", description="Free the space of what finished runs no longer need.")
    pruning.add_argument("places", nargs="*", type=Path, metavar="PLACE", help="folders of runs (default: runs)")
    pruning.add_argument(
        "--unfinished", action="store_true", help="also remove runs that have stopped before their end, whole"
    )
    for one in (removing, pruning):
        one.add_argument("--yes", action="store_true", help="do not ask")
    return flags


@command
def main(arguments: list[str] | None = None) -> None:
    """Do what was asked for."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if _names_places(given):
        given = ["list", *given]
    flags = parser().parse_args(given)
    if flags.action is None:
        flags = parser().parse_args([*given, "list"])
    if flags.action == "show":
        _show(flags.run)
    elif flags.action == "rm":
        _remove(flags.runs, yes=flags.yes)
    elif flags.action == "prune":
        _prune(flags.places or [ROOT], unfinished=flags.unfinished, yes=flags.yes)
    else:
        _list(flags.places or [ROOT])


def _names_places(given: Sequence[str]) -> bool:
    """Whether the first word that belongs to no flag is a folder, and no action."""
    common = argparse.ArgumentParser(prog="evqa runs", add_help=False)
    add_log_flags(common)
    words = common.parse_known_args(given)[1]
    return bool(words) and words[0] not in ACTIONS and Path(words[0]).is_dir()


def _list(places: Sequence[Path]) -> None:
    from evqa.runs.kept import kept_runs
    from evqa.runs.listing import is_for_person, print_list, write_lines

    experiments = [] if places == [ROOT] and not ROOT.exists() else kept_runs(places)
    if not experiments:
        sys.stderr.write(f"There are no runs in {', '.join(map(str, places))}.\n")
    elif is_for_person():
        print_list(experiments)
    else:
        write_lines(experiments, sys.stdout)


def _show(run: Path) -> None:
    from evqa.runs.kept import kept_run
    from evqa.runs.listing import print_run

    if not (run / "config.yaml").is_file():
        raise RunError(f"{run}: not a run (it has no config.yaml). A run is runs/<experiment>/<name>.")
    print_run(kept_run(run))


def _remove(runs: Sequence[Path], *, yes: bool) -> None:
    from evqa.files.terminal import terminal
    from evqa.runs.kept import kept_run
    from evqa.runs.listing import score_of, size
    from evqa.runs.removal import check_removable, remove

    runs = list(dict.fromkeys(runs))
    for run in runs:
        check_removable(run)
    kept = [kept_run(run) for run in runs]
    console = terminal()
    for one in kept:
        console.print(f"{one.path}: {one.status}, {score_of(one)}, {size(one.num_bytes)}")
    if _agreed(f"Remove {_counted(len(kept), 'run')} of {_exactly(sum(one.num_bytes for one in kept))}?", yes=yes):
        for run in runs:
            remove(run)
        console.print(f"Removed {_counted(len(kept), 'run')}: {_exactly(sum(one.num_bytes for one in kept))} are free.")


def _prune(places: Sequence[Path], *, unfinished: bool, yes: bool) -> None:
    from evqa.files.terminal import terminal
    from evqa.runs.listing import size
    from evqa.runs.removal import find_surplus, prune

    found = find_surplus(places, unfinished=unfinished)
    console = terminal()
    for one in found.surplus:
        names = f" ({', '.join(file.name for file in one.files)})" if one.files else ""
        console.print(f"{one.folder}: {one.reason}{names}, {size(one.num_bytes)}")
    for reason, count in found.left_alone.items():
        console.print(f"Left alone: {_counted(count, 'run')} that {reason}.")
    num_bytes = sum(one.num_bytes for one in found.surplus)
    if not found.surplus:
        console.print("Nothing to prune.")
    elif _agreed(f"Remove {_exactly(num_bytes)} from {_counted(len(found.surplus), 'folder')}?", yes=yes):
        for one in found.surplus:
            prune(one)
        console.print(f"Removed: {_exactly(num_bytes)} are free.")


def _agreed(question: str, *, yes: bool) -> bool:
    """Ask unless that is not wanted. Raises RunError where nobody can answer."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise RunError(f"{question} Nobody is there to ask, so nothing was removed; --yes removes.")
    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    agreed = sys.stdin.readline().strip().lower() in ("y", "yes")
    if not agreed:
        sys.stdout.write("Nothing was removed.\n")
    return agreed


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _exactly(num_bytes: int) -> str:
    return f"{num_bytes:,} bytes"


if __name__ == "__main__":
    main()
