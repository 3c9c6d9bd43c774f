"""Examine a command line: every mistake in it at once, and the overrides as Hydra needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from evqa.config.composer import GLOBAL_GROUPS, Composer, CompositionError
from evqa.config.keys import choice_problem, is_choice, key_problem, must_be_added, renamed
from evqa.config.overrides import explain_sweep, read_overrides, swept_lines


@dataclass
class Plan:
    """What to do with a command line.

    lines: overrides for Hydra. problems: sentences, empty where all is well. notes: worth telling. cfg: the
    configuration (of a sweep, its first one) with Hydra's own node; None where it cannot be composed.
    """

    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    mode: RunMode = RunMode.RUN
    cfg: DictConfig | None = None

    @property
    def configuration(self) -> DictConfig:
        """The configuration where nothing is wrong with it."""
        assert self.cfg is not None
        return self.cfg


def examine(composer: Composer, arguments: Sequence[str], *, multirun: bool = False) -> Plan:
    """Check overrides and the configuration that they make; of a sweep, every value of each axis by itself."""
    return _Examination(composer, multirun=multirun).run(arguments)


class _Examination:
    def __init__(self, composer: Composer, *, multirun: bool) -> None:
        self.composer, self.multirun = composer, multirun
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.blind: set[str] = set()  # groups whose choice is wrong: their keys cannot be judged

    def run(self, arguments: Sequence[str]) -> Plan:
        given = self.choose(arguments)
        if self.blind & set(GLOBAL_GROUPS):  # nothing is left to compare further overrides with
            return Plan(problems=self.problems)
        try:
            base = self.compose_choices(given)
            mode = RunMode.MULTIRUN if self.multirun or base.hydra.mode == RunMode.MULTIRUN else RunMode.RUN
            axes: list[Override] = []
            self.multirun = mode == RunMode.MULTIRUN
            if self.multirun:
                axes = self.configured_axes(base, given)
                swept = [o for o in (*axes, *given) if o.is_sweep_override() and is_choice(self.composer, o)]
                base = self.compose_choices([*axes, *given]) if swept else base
        except CompositionError as error:
            return Plan(problems=[*self.problems, explain_failure(error)])
        given, axes = self.rename(base, given), self.rename(base, axes)
        kept = self.judge(base, given, sweeps=self.multirun)
        cfg = self.try_out(base, [*self.judge(base, axes, sweeps=True), *kept])
        lines = [override.input_line or "" for override in kept]
        problems = list(dict.fromkeys(self.problems))
        return Plan(lines=lines, problems=problems, notes=self.notes, mode=mode, cfg=cfg)

    def choose(self, arguments: Sequence[str]) -> list[Override]:
        """Read overrides and drop those that choose what does not exist."""
        reading = read_overrides(arguments, self.composer.loader)
        self.problems += reading.problems
        kept = []
        for override in reading.overrides:
            problem = choice_problem(self.composer, override)
            if problem is None:
                kept.append(override)
            else:
                self.problems.append(problem)
                self.blind.add(override.key_or_group)
        return kept

    def compose_choices(self, overrides: Sequence[Override]) -> DictConfig:
        """The configuration that the choices make, before single values are set; of a sweep, its first choice."""
        lines = [first_line(o) for o in overrides if is_choice(self.composer, o) or _is_needed_early(o)]
        return self.composer.compose(lines, mode=RunMode.MULTIRUN)

    def configured_axes(self, base: DictConfig, given: Sequence[Override]) -> list[Override]:
        """The axes that a sweep's own file names, without those that the command line sets."""
        params = OmegaConf.select(base, "hydra.sweeper.params") or {}
        axes = self.choose([f"{key}={value}" for key, value in params.items()])
        taken = {override.key_or_group for override in given}
        return [axis for axis in axes if axis.key_or_group not in taken]

    def rename(self, base: DictConfig, overrides: Sequence[Override]) -> list[Override]:
        """Write keys that another data set calls differently as the chosen one does, and say so."""
        given, kept = {override.key_or_group for override in overrides}, list[Override]()
        for override in overrides:
            key = override.key_or_group
            other = renamed(base, key)
            if other is None:
                kept.append(override)
            elif other in given:
                self.problems.append(f"{key}: this is {other}, which is given too; leave one away.")
            else:
                line = (override.input_line or "").replace(key, other, 1)
                kept += read_overrides([line], self.composer.loader).overrides
                self.notes.append(f"{key} is read as {other}, its name in the data set that is chosen.")
        return kept

    def judge(self, base: DictConfig, overrides: Sequence[Override], *, sweeps: bool) -> list[Override]:
        """Drop overrides that cannot work, and mark with '+' the arguments that the YAML does not mention."""
        kept = []
        for override in overrides:
            if override.key_or_group.partition(".")[0] in self.blind:
                continue
            choice = is_choice(self.composer, override)
            problem = explain_sweep(override, choice=choice) if override.is_sweep_override() and not sweeps else None
            if problem is None and not choice:
                problem = key_problem(self.composer, base, override)
            if problem:
                self.problems.append(problem)
            elif must_be_added(base, override):
                kept += read_overrides([f"+{override.input_line}"], self.composer.loader).overrides
            else:
                kept.append(override)
        return kept

    def try_out(self, base: DictConfig, overrides: Sequence[Override]) -> DictConfig | None:
        """Check with the first value of each axis, then with each other value in turn; returns the first."""
        lines = [first_line(override) for override in overrides]
        axes = [(place, swept_lines(override)[1:]) for place, override in enumerate(overrides)]
        others = [(place, line) for place, values in axes for line in values]
        first = self.with_values(base.copy() if others else base, lines)
        for cfg in (first, *(self.varied(base, lines, place, line) for place, line in others)):
            self.problems += self.composer.check(cfg, sweep=self.multirun) if cfg is not None else []
        return first

    def with_values(self, cfg: DictConfig, lines: Sequence[str]) -> DictConfig | None:
        """Set single values in a composed configuration as Hydra would; None (and a problem) where that fails."""
        overrides = read_overrides(lines, self.composer.loader).overrides
        try:
            self.composer.set_values(cfg, [o for o in overrides if not is_choice(self.composer, o)])
        except CompositionError as error:
            self.problems.append(explain_failure(error))
            return None
        return cfg

    def varied(self, base: DictConfig, lines: Sequence[str], place: int, line: str) -> DictConfig | None:
        """The configuration with another value at one place; only another choice is worth composing anew."""
        changed = [*lines[:place], line, *lines[place + 1 :]]
        overrides = read_overrides(changed, self.composer.loader).overrides
        if not is_choice(self.composer, overrides[place]):
            return self.with_values(base.copy(), changed)
        try:
            return self.with_values(self.compose_choices(overrides), changed)
        except CompositionError as error:
            self.problems.append(explain_failure(error))
            return None


def first_line(override: Override) -> str:
    """The override itself, or the first value of a sweep."""
    return swept_lines(override)[0] if override.is_sweep_override() else override.input_line or ""


def explain_failure(error: Exception) -> str:
    """One line from what Hydra or OmegaConf say about files that do not fit together."""
    texts = [str(error), str(error.__cause__ or "")]
    lines = [line.strip() for text in texts for line in text.splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("full_key:", "object_type=", "reference_type="))]
    return " ".join(dict.fromkeys(kept)) or f"{type(error).__name__} while composing the configuration."


def _is_needed_early(override: Override) -> bool:
    return override.key_or_group in ("hydra.mode", "hydra.searchpath")
