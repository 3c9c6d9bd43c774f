"""The flags of a command that composes a configuration: Hydra's, and those of all commands."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from evqa.errors import ConfigError
from evqa.files.log import add_log_flags, take_log_flags

# Hydra's flags that are not taken, and what does the same.
REFUSED = {
    "experimental_rerun": "the same command finds its run again",
    "shell_completion": "'evqa completion bash' (or zsh, fish) prints a script for the shell",
}


def read_flags(arguments: Sequence[str]) -> argparse.Namespace:
    """Hydra's flags and the overrides, in any order. Raises ConfigError for an unknown flag, or one of no use here."""
    parser = flag_parser()
    parser.error = _refuse_flag  # type: ignore[method-assign]
    flags = parser.parse_intermixed_args(list(arguments))
    take_log_flags(flags)
    for name, instead in REFUSED.items():
        if getattr(flags, name):
            raise ConfigError([f"--{name.replace('_', '-')} is not supported: {instead}."])
    return flags


def flag_parser() -> argparse.ArgumentParser:
    """Hydra's flags and those that all commands have."""
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    add_log_flags(parser)
    return parser


def _refuse_flag(message: str) -> NoReturn:
    advice = "Settings are written without dashes, as key=value; --help lists what there is."
    raise ConfigError([f"{message[:1].upper()}{message[1:]}. {advice}"])
