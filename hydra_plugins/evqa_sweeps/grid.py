"""Every combination of the given values: `modal=a,v,av seed=0,1,2` are nine runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from evqa.config.compose import job_part
from evqa.config.composer import Composer
from evqa.errors import ConfigError

from ._naming import Naming, tell_names
from ._record import Member, SweepOutcome, only_driver, run_folder, summarise, write_members

log = logging.getLogger("evqa.sweep")


class GridSweeper(Sweeper):
    """Hydra's grid, with all members checked before the first one runs, and failed ones listed at the end.

    params: axes of a sweep file, `key: value,value`. max_batch_size: members handed to the launcher together.
    """

    def __init__(
        self,
        *,
        params: Mapping[str, str] | None = None,
        max_batch_size: Annotated[int, "1 <= max_batch_size"] | None = None,
    ) -> None:
        self.params, self.max_batch_size = params or {}, max_batch_size

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra."""
        self.loader, self.settings = hydra_context.config_loader, config
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> SweepOutcome:
        """Run all members; those that are done say so themselves and cost seconds."""
        batches = self.batches(arguments)
        members = self.checked([line for batch in batches for line in batch])
        folder = Path(str(self.settings.hydra.sweep.dir))
        naming = Naming.of([member.overrides for member in members])
        tell_names(self.launcher, naming)
        is_recorded = not self.settings.get("dry_run")  # of a dry run nothing is left
        with only_driver(folder):
            if is_recorded:
                write_members(folder, members)
            for first, results in self.launched(batches):
                for member, result in zip(members[first:], results, strict=False):
                    member.end(result)
                if is_recorded:
                    write_members(folder, members)
        if is_recorded:
            summarise(members, folder, naming=naming, monitor=str(self.settings.callbacks.checkpoints.monitor))
        return SweepOutcome(members=members, exit_code=int(any(member.status == "failed" for member in members)))

    def launched(self, batches: Sequence[list[list[str]]]) -> Iterator[tuple[int, Sequence[JobReturn]]]:
        """Launch batch by batch; yields the number of the first run of each, and how its runs have ended."""
        first = 0
        for batch in batches:
            yield first, self.launcher.launch(batch, initial_job_idx=first)
            first += len(batch)

    def batches(self, arguments: Sequence[str]) -> list[list[list[str]]]:
        """Overrides of each member, in batches. Raises ConfigError for an axis without separate values."""
        lines = [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
        overrides = OverridesParser.create(self.loader).parse_overrides(lines)
        endless = [o.key_or_group for o in overrides if o.is_sweep_override() and not o.is_discrete_sweep()]
        if endless:
            raise ConfigError(
                f"{key}: a grid needs single values, and this is an interval. Name values, or use hydra/sweeper=optuna."
                for key in endless
            )
        return BasicSweeper.split_arguments(overrides, self.max_batch_size)

    def checked(self, lines: Sequence[Sequence[str]]) -> list[Member]:
        """Compose and check every member. Raises ConfigError with all problems, and for two members in one folder."""
        composer = Composer(str(self.settings.hydra.job.config_name), self.loader)
        problems: list[str] = []
        members: dict[str, Member] = {}
        for overrides in lines:
            cfg = self.loader.load_sweep_config(self.settings, list(overrides))
            found = composer.check(cfg)
            problems += found
            member = Member(overrides=list(overrides), folder="" if found else run_folder(*_parts(cfg)))
            if not found and (twin := members.get(member.folder)):
                problems.append(f"'{twin}' and '{member}' would be the same run: nothing that differs changes results.")
            members[member.folder or str(len(members))] = member
        if problems:
            raise ConfigError(dict.fromkeys(problems))
        return list(members.values())


def _parts(cfg: DictConfig) -> tuple[DictConfig, Mapping[str, object]]:
    return job_part(cfg), cfg.hydra.runtime.choices
