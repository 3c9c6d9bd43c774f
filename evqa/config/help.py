"""The text of --help, made from the configuration files themselves."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path

import yaml

from evqa.config.nearest import suggestion
from evqa.config.paths import conf_folder, group_folders, group_options
from evqa.errors import ConfigError
from evqa.files.width import fitted

COLUMN = 36  # of the remarks beside an option's keys

FLAGS = """\
  -m, --multirun            run every combination of the values given as a,b,c
  --cfg job                 print the composed configuration and stop (--resolve: with ${...} worked out)
  --info defaults           print which files it is composed of
  --config-dir DIR          read groups from this folder too
  --log-level LEVEL         info (default), warning or error: from where on messages are printed (EVQA_LOG_LEVEL)
  --log-times               begin each message with its time (EVQA_LOG_TIMES=1)
  --version, --help         print and stop"""


def help_text(name: str, config_name: str, about: str, flags: argparse.Namespace) -> str:
    """Summary, groups with their options, plain keys, flags, examples; the keys of options that are chosen instead.

    Raises ConfigError for an option that does not exist.
    """
    known = _options()
    settings = [(group, value.split(",")) for group, _, value in (one.partition("=") for one in flags.overrides)]
    chosen = [(group, option) for group, options in settings if group in known for option in options if option]
    folders = [*([Path(flags.config_dir)] if flags.config_dir else []), conf_folder()]
    files = {one: _file(*one, folders) for one in chosen}
    wrong = [one for one, file in files.items() if file is None]
    if wrong:
        raise ConfigError(
            [f"{group}={option}: no such option. {suggestion(option, known[group])}" for group, option in wrong]
        )
    parts = [_keys(*one, file) for one, file in files.items() if file]
    return "\n\n".join(parts) or fitted(_overview(name, config_name, about))


def _file(group: str, option: str, folders: Sequence[Path]) -> Path | None:
    found = (folder / group for folder in folders if option in group_options(folder / group))
    return next((folder / f"{option}.yaml" for folder in found), None)


def _overview(name: str, config_name: str, about: str) -> str:
    summary, _, examples = about.strip().partition("\n\n")
    root = (conf_folder() / f"{config_name}.yaml").read_text(encoding="utf-8")
    return f"""\
{summary}

Usage: python -m evqa.{name} [GROUP=OPTION ...] [KEY=VALUE ...] [FLAGS]

Groups and their options, the default first ('GROUP=OPTION --help' lists an
option's keys, which are set as GROUP.KEY=VALUE):
{_groups(root)}

Plain keys and their defaults:
{textwrap.indent(_plain_keys(root), "  ")}

Flags:
{FLAGS}

{textwrap.dedent(examples).strip()}"""


def _groups(root: str) -> str:
    defaults: dict[str, object] = {}
    for item in yaml.safe_load(root).get("defaults", []):
        if isinstance(item, dict):
            defaults |= item
    known = _options()
    lines = []
    for group, default in defaults.items():
        if group not in known:
            continue
        others = [option for option in known[group] if option != default]
        words = ", ".join([*([str(default)] if default else []), *others])
        lines.append(f"  {group:<10}  {words}")
    return "\n".join(lines)


def _options() -> dict[str, list[str]]:
    return {group: group_options(folder) for group, folder in group_folders(conf_folder()).items() if "/" not in group}


def _keys(group: str, option: str, file: Path) -> str:
    """Our option's keys with their values and remarks; of a recipe, and of a file of the user's own, its text."""
    from evqa.config.option import option_keys

    keys = option_keys(group, option) if file.is_relative_to(conf_folder()) else []
    if not keys:
        text = file.read_text(encoding="utf-8").rstrip()
        return f"{group}={option} sets:\n\n{textwrap.indent(text, '  ')}"
    settings = [one.key if one.value is None else f"{one.key}={one.value}" for one in keys]
    lines = [f"  {text:<{COLUMN}}  # {one.remark}".rstrip("# ") for text, one in zip(settings, keys, strict=True)]
    head = f"Keys of {group}={option} (???: must be given; no value: the class's own):"
    return fitted("\n".join([head, *lines]))


def _plain_keys(root: str) -> str:
    """The root file's own keys as they are written there, with their comments."""
    kept: list[str] = []
    inside = False
    for line in root.splitlines():
        if line and not line.startswith((" ", "#", "-")):
            inside = not line.startswith(("defaults:", "hydra:"))
        if inside and line.strip():
            kept.append(line)
    return "\n".join(kept)
