"""The text of --help, made from the configuration files themselves."""

from __future__ import annotations

import textwrap

import yaml

from evqa.config.paths import conf_folder, group_folders, group_options

FLAGS = """\
  -m, --multirun            run every combination of the values given as a,b,c
  --cfg job                 print the composed configuration and stop (--resolve: with ${...} worked out)
  --info defaults           print which files it is composed of
  --config-dir DIR          read groups from this folder too
  --log-level LEVEL         info (default), warning or error: from where on messages are printed (EVQA_LOG_LEVEL)
  --log-times               begin each message with its time (EVQA_LOG_TIMES=1)
  --version, --help         print and stop"""


def help_text(name: str, config_name: str, about: str) -> str:
    """Summary, groups with their options, plain keys, flags, examples."""
    summary, _, examples = about.strip().partition("\n\n")
    root = (conf_folder() / f"{config_name}.yaml").read_text(encoding="utf-8")
    return f"""\
{summary}

Usage: python -m evqa.{name} [GROUP=OPTION ...] [KEY=VALUE ...] [FLAGS]

Groups and their options, the default first:
{_groups(root)}

Plain keys and their defaults (any key of a chosen option can be set too: GROUP.KEY=VALUE):
{textwrap.indent(_plain_keys(root), "  ")}

Flags:
{FLAGS}

{textwrap.dedent(examples).strip()}"""


def _groups(root: str) -> str:
    defaults: dict[str, object] = {}
    for item in yaml.safe_load(root).get("defaults", []):
        if isinstance(item, dict):
            defaults |= item
    folders = group_folders(conf_folder())
    lines = []
    for group, default in defaults.items():
        if group not in folders:
            continue
        options = group_options(folders[group])
        others = [option for option in options if option != default]
        words = ", ".join([*([str(default)] if default else []), *others])
        lines.append(textwrap.fill(words, 110, initial_indent=f"  {group:<11}", subsequent_indent=" " * 13))
    return "\n".join(lines)


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
