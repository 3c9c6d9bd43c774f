"""The program `evqa COMMAND ...`, the same as `python -m evqa.COMMAND ...`.

A command is a module of this package (or the `__main__` of a room) with a `main` that takes a list of arguments. They
are found by reading the files, so that nothing heavy is imported for a list or a typo.
"""

from __future__ import annotations

import argparse
import ast
import functools
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from evqa import __version__
from evqa.config.nearest import suggestion
from evqa.files.log import add_log_flags, take_log_flags
from evqa.files.names import shown_lines
from evqa.files.progress import say_stop
from evqa.files.refusals import as_users_error
from evqa.files.streams import accept_all_characters, say
from evqa.files.width import fitted
from evqa.machine.program import end_of_pipe

PACKAGE = Path(__file__).parent


class Flags(argparse.ArgumentParser):
    """The flags of a command, and those of all commands; what was typed is shown as text in its messages."""

    _has_common = False

    def parse_args(self, *arguments: Any) -> argparse.Namespace:  # type: ignore[override]
        """Parse, and follow the flags that all commands have."""
        return self._follow(super().parse_args, *arguments)

    def parse_intermixed_args(self, *arguments: Any) -> argparse.Namespace:  # type: ignore[override]
        """Parse flags between positional arguments, and follow those that all commands have."""
        return self._follow(super().parse_intermixed_args, *arguments)

    def parse_known_args(self, *arguments: Any) -> tuple[argparse.Namespace, list[str]]:  # type: ignore[override]
        """Parse; sub-commands come in here, and have the flags of all commands too."""
        self.add_common()
        return super().parse_known_args(*arguments)

    def add_common(self) -> None:
        """Describe the flags of all commands, once: behind a command's own, so that its help ends with them."""
        if not self._has_common:
            add_log_flags(self)
            self._has_common = True

    def _follow(self, parse: Callable[..., argparse.Namespace], *arguments: Any) -> argparse.Namespace:
        self.add_common()
        flags = parse(*arguments)
        take_log_flags(flags)
        return flags

    def format_help(self) -> str:
        """The help, wrapped at words where a command wrote its lines itself."""
        return fitted(super().format_help())

    def error(self, message: str) -> NoReturn:
        """Print usage and message, and end with 2."""
        super().error(shown_lines(message))


def command(function: Callable[[list[str] | None], object]) -> Callable[..., None]:
    """Make a command's `main`: what the user can mend ends with a sentence and exit code 2."""

    @functools.wraps(function)
    def main(arguments: list[str] | None = None) -> None:
        if code := exit_code(functools.partial(function, arguments)):
            raise SystemExit(code)

    return main


def exit_code(run: Callable[[], object]) -> int:
    """Run a command and return its exit code: an error's after its sentence, 130 after Ctrl-C, 141 after a closed pipe.

    A fault of the program is let out.
    """
    accept_all_characters()
    try:
        run()
        sys.stdout.flush()
    except KeyboardInterrupt as stop:
        say_stop(stop)
        return 130
    except BrokenPipeError:
        return end_of_pipe()
    except Exception as error:
        known = as_users_error(error)
        if known is None:
            raise
        from evqa.config.environment import hidden

        say(hidden(known), sys.stderr)
        return known.exit_status
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Hand the arguments to a command and return its exit code; 2 where there is no such command."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(f"{overview()}\n")
        return 0 if arguments else 2
    if arguments[0] == "--version":
        sys.stdout.write(f"evqa {__version__}\n")
        return 0
    name, *rest = arguments
    known = commands()
    if name not in known:
        say(f"evqa {name}: there is no such command. {suggestion(name, known)}", sys.stderr)
        return 2
    return int(load(name).main(rest) or 0)


def load(name: str) -> ModuleType:
    """Import a command's module."""
    return importlib.import_module(f"evqa.{name}" if (PACKAGE / f"{name}.py").is_file() else f"evqa.{name}.__main__")


def commands() -> dict[str, str]:
    """Every command and the first line of its description."""
    files = {file.stem: file for file in PACKAGE.glob("*.py") if file.stem not in ("cli", "__main__", "__init__")}
    files |= {file.parent.name: file for file in PACKAGE.glob("*/__main__.py")}
    found = {}
    for name, file in sorted(files.items()):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if any(_defines_main(node) for node in tree.body):
            found[name] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


def overview() -> str:
    """What `evqa` says without a command."""
    known = commands()
    width = max(map(len, known), default=0)
    lines = [f"  {name:<{width}}  {text}" for name, text in known.items()]
    return fitted("\n".join(["Usage: evqa COMMAND [ARGUMENTS]", "", "Commands (COMMAND --help tells more):", *lines]))


def _defines_main(node: ast.stmt) -> bool:
    if isinstance(node, ast.FunctionDef):
        return node.name == "main"
    return isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "main" for t in node.targets)
