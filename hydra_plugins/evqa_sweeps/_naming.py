"""How the runs of a sweep are named in what is told: their number out of all of them, and only what differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hydra.plugins.launcher import Launcher

from evqa.files.progress import CONTINUES, Stopped, duration

ADDED = ("hydra.", "++callbacks.pruning.")  # overrides that the machinery adds


def words_of(overrides: Sequence[str]) -> str:
    """A member's overrides as a user would type them, without what the machinery adds."""
    return " ".join(line for line in overrides if not line.startswith(ADDED))


@dataclass(frozen=True, kw_only=True)
class Naming:
    """What a launcher, which is given a batch of runs, has to know of the whole sweep to name them.

    total: runs of the sweep, None where nobody has told. same: overrides that all of them share. trials: they are
    those of a search, which have numbers from 0 in its record.
    """

    total: int | None = None
    same: frozenset[str] = field(default=frozenset())
    trials: bool = False

    @classmethod
    def of(cls, members: Sequence[Sequence[str]]) -> Naming:
        """From the overrides of all runs."""
        return cls(total=len(members), same=frozenset.intersection(*map(frozenset, members)))

    def differing(self, overrides: Sequence[str]) -> list[str]:
        """The overrides that not every run has."""
        return [line for line in overrides if line not in self.same and not line.startswith(ADDED)]

    def number(self, number: int) -> str:
        """`run 3 of 9`, of the third one, whose number is 2."""
        out_of = "" if self.total is None else f" of {self.total}"
        return f"run {number + 1}{out_of}{f' (trial {number})' if self.trials else ''}"

    def label(self, number: int, overrides: Sequence[str], *, left_s: float | None = None) -> str:
        """`run 3 of 9: modal=v seed=0, about 2 min left`; left_s: to the end of the sweep."""
        words = " ".join(self.differing(overrides))
        left = [] if left_s is None else [f"about {duration(left_s)} left"]
        return ": ".join(filter(None, [self.number(number), ", ".join(filter(None, [words, *left]))]))

    def stopped(self, stop: KeyboardInterrupt, number: int, overrides: Sequence[str]) -> Stopped:
        """A Ctrl-C inside a run as one of the sweep's."""
        words = " ".join(self.differing(overrides))
        place = f"in {self.number(number)}{f' ({words})' if words else ''}"
        if isinstance(stop, Stopped):
            return Stopped(f"{place}, {stop.where}", then=stop.then)
        return Stopped(place, then=CONTINUES)


class NamingLauncher(Launcher):
    """A launcher that can be told how runs are named."""

    naming = Naming()


def tell_names(launcher: Launcher, naming: Naming) -> None:
    """Tell a launcher how runs are named; one that is not of this package takes no notice."""
    if isinstance(launcher, NamingLauncher):
        launcher.naming = naming
