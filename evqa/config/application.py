"""The shell around a command that composes a configuration: help, checks, single runs, sweeps, exit codes.

Exit codes: 0 done, 1 a fault of the program (with its traceback) or a sweep with failed members, 2 a mistake that
the user can mend (sentences, no traceback), 130 Ctrl-C. Hydra is used through its `Hydra` object instead of
`hydra.main`, so that a command line is checked before anything runs and Hydra's own error pages never appear.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from evqa.config.flags import read_flags
from evqa.errors import ConfigError, EvqaError
from evqa.files.progress import CONTINUES, Stopped
from evqa.files.refusals import as_users_error
from evqa.files.streams import accept_all_characters, say
from evqa.machine.imports import collect_again
from evqa.machine.program import end_of_pipe

if TYPE_CHECKING:
    from hydra._internal.hydra import Hydra
    from omegaconf import DictConfig

    from evqa.config.composer import Composer
    from evqa.config.examine import Plan

JobFunction = Callable[["DictConfig"], Any]


@dataclass(frozen=True, kw_only=True)
class Application:
    """A command. config_name: the root file in conf/; about: summary and examples for --help.

    job: called with the checked, resolved, read-only configuration; what it returns is what an optimising sweep
    optimises.
    """

    name: str
    config_name: str
    about: str
    job: JobFunction

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Run with a command line (without the program's name); returns the exit code."""
        arguments = list(sys.argv[1:] if argv is None else argv)
        accept_all_characters()
        gc.disable()  # until the job begins
        try:
            return self._run(arguments)
        except KeyboardInterrupt as stop:
            say(stop if isinstance(stop, Stopped) else f"Stopped; {CONTINUES}.", sys.stderr)
            return 130
        except BrokenPipeError:
            return end_of_pipe()
        except Exception as error:  # noqa: BLE001 (reported, with its traceback where the program is at fault)
            return report_failure(error)
        finally:
            collect_again()

    def _run(self, arguments: list[str]) -> int:
        if "--version" in arguments:
            from evqa import __version__

            _say(f"evqa {__version__}", sys.stdout)
            return 0
        flags = read_flags(arguments)
        if flags.help:
            from evqa.config.help import help_text

            _say(help_text(self.name, self.config_name, self.about, flags), sys.stdout)
            return 0
        composer, hydra = _start(self, flags)
        if flags.cfg or flags.info or flags.hydra_help:
            return _show(hydra, composer, flags)
        return self._launch(hydra, composer, flags, arguments)

    def _launch(self, hydra: Hydra, composer: Composer, flags: argparse.Namespace, arguments: list[str]) -> int:
        from hydra.types import RunMode

        from evqa.config.examine import examine

        plan = examine(composer, flags.overrides, multirun=flags.multirun)
        if plan.problems:
            raise ConfigError(plan.problems)
        for note in plan.notes:
            say(f"Note: {note}", sys.stderr)
        single = plan.mode == RunMode.RUN
        job = Job(run=self.job, command=_command(arguments, flags), raises=single)
        lines = [*plan.lines, f"hydra.mode={plan.mode.name}"]
        if not single:
            collect_again()
        try:
            if single:
                composer.loader.keep(plan.configuration, lines)
                hydra.run(composer.config_name, job, lines)
                return 0
            return int(getattr(hydra.multirun(composer.config_name, job, lines), "exit_code", 0))
        except JobFailedError as failure:
            return report_failure(failure.cause)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What Hydra calls: hands the settled configuration to the command's own function.

    command: the arguments of the process up to the overrides. raises: let an exception out past Hydra (a single
    run); a sweep's launcher collects it instead.
    """

    run: JobFunction
    command: tuple[str, ...]
    raises: bool

    def __call__(self, cfg: DictConfig) -> Any:
        """Run one configuration."""
        from hydra.core.hydra_config import HydraConfig

        from evqa.config.identity import settle

        hydra = HydraConfig.get()
        try:
            settled = settle(cfg, hydra.runtime.choices)
            collect_again()
            with _alone(self.command, list(hydra.overrides.task)):
                return self.run(settled)
        except Exception as error:
            known = as_users_error(error) or error
            if self.raises:
                raise JobFailedError(known) from error
            raise known from error


class JobFailedError(BaseException):
    """Carries a job's exception past Hydra, which would print the overrides and a page of its own."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def report_failure(error: Exception) -> int:
    """Print a sentence (2) for what the user can mend, a traceback (1) for everything else."""
    if isinstance(error, BrokenPipeError):
        return end_of_pipe()
    if known := as_users_error(error):
        say(_sentence(known), sys.stderr)
        return 2
    traceback.print_exception(type(error), error, _from_the_job(error.__traceback__))
    return 1


def _sentence(error: EvqaError) -> str:
    """An error's text without values from the environment."""
    from evqa.config.environment import hidden

    return hidden(error)


def _start(application: Application, flags: argparse.Namespace) -> tuple[Composer, Hydra]:
    from hydra._internal.hydra import Hydra

    from evqa.config.composer import open_configuration

    composer = open_configuration(
        flags.config_name or application.config_name,
        conf=Path(flags.config_path).resolve() if flags.config_path else None,
        folders=[Path(flags.config_dir)] if flags.config_dir else [],
    )
    return composer, Hydra(task_name=application.name, config_loader=composer.loader)


def _show(hydra: Hydra, composer: Composer, flags: argparse.Namespace) -> int:
    """Print the configuration or facts about it; it need not be complete for that."""
    from hydra._internal.utils import get_args_parser

    from evqa.config.examine import examine

    if flags.hydra_help:
        hydra.hydra_help(composer.config_name, args_parser=get_args_parser(), args=flags)
        return 0
    plan: Plan = examine(composer, flags.overrides, multirun=flags.multirun)
    if plan.cfg is None:
        raise ConfigError(plan.problems)
    if flags.cfg == "job" or (flags.cfg and flags.resolve):
        _say(_as_yaml(plan.cfg, flags.cfg, flags.package, resolve=flags.resolve), sys.stdout)
    elif flags.cfg:
        hydra.show_cfg(composer.config_name, plan.lines, flags.cfg, flags.package, flags.resolve)
    else:
        hydra.show_info(flags.info, composer.config_name, plan.lines)
    if plan.problems:
        say("\n".join(plan.problems), sys.stderr)
    return 0


def _as_yaml(cfg: DictConfig, part: str, package: str | None, *, resolve: bool) -> str:
    """The job's part of a configuration, Hydra's or all, or what lies at a key of it; environment variables stay."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from evqa.config import environment

    HydraConfig.instance().set_config(cfg)
    keys = [key for key in cfg if part == "all" or (key == "hydra") == (part == "hydra")]
    node: Any = OmegaConf.masked_copy(cfg, [str(key) for key in keys])
    if package not in (None, "_global_"):
        node = OmegaConf.select(cfg, str(package), throw_on_missing=False)
    if node is None:
        raise ConfigError([f"--package {package}: the configuration has no such key."])
    if not OmegaConf.is_config(node):
        return environment.hidden(node)
    if not resolve:
        return OmegaConf.to_yaml(node).rstrip()
    plain = {key: environment.settled_item(cfg, key) for key in keys} if package in (None, "_global_") else None
    return OmegaConf.to_yaml(OmegaConf.create(plain or environment.settled(node))).rstrip()


def _command(arguments: list[str], flags: argparse.Namespace) -> tuple[str, ...]:
    """The process's arguments up to the overrides: the program, a sub-command, where configurations lie."""
    given = sys.argv[-len(arguments) :] if arguments else []
    head = sys.argv[: len(sys.argv) - len(arguments)] if given == arguments else sys.argv[:1]
    places = {"--config-path": flags.config_path, "--config-name": flags.config_name, "--config-dir": flags.config_dir}
    return (*head, *(word for flag, place in places.items() if place for word in (flag, place)))


_running: ContextVar[tuple[str, ...]] = ContextVar("_running", default=())


def running_overrides() -> tuple[str, ...]:
    """The overrides of the job that is running, a sweep's values included; none outside a job. For the record only."""
    return _running.get()


@contextmanager
def _alone(command: Sequence[str], overrides: Sequence[str]) -> Iterator[None]:
    """Run a member of a sweep as if it were a program of its own, and undo its changes to the environment.

    Lightning starts the other processes of a node by repeating `sys.argv`, or, under Hydra, by a command that
    needs Hydra's output folder. Repeating a sweep's own arguments would start the sweep again. It also leaves
    LOCAL_RANK and the like behind, with which the next member would take itself for one of those processes.
    """
    from hydra.core.hydra_config import HydraConfig

    arguments, config, environment = sys.argv, HydraConfig.instance().cfg, dict(os.environ)
    sys.argv = [*command, *overrides, "hydra.mode=RUN"]
    HydraConfig.instance().cfg = None
    token = _running.set(tuple(overrides))
    try:
        yield
    finally:
        _running.reset(token)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv, HydraConfig.instance().cfg = arguments, config


def _say(text: object, stream: TextIO) -> None:
    stream.write(f"{text}\n")


def _from_the_job(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the command's own function on, without Hydra's and this shell's frames."""
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace
