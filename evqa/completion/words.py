"""The words that can follow on a command line: commands, flags and their values, groups, options and keys."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from evqa.config.composer import GLOBAL_GROUPS
from evqa.config.flags import REFUSED
from evqa.config.option import few_words, option_keys
from evqa.config.paths import conf_folder, group_folders, group_options
from evqa.config.root import PLAIN_NODES
from evqa.config.signature import read_schema

Words = tuple[str, ...]
Vocabulary = Mapping[str, Words]


def vocabulary(parsers: Mapping[str, argparse.ArgumentParser], *, configured: Words) -> Vocabulary:
    """Words by what they are to a command line, read from the commands' parsers and the configuration files.

    "commands", of these "configured": those that take settings. Of each COMMAND, also of two words ("runs prune"):
    "flags COMMAND", "valued COMMAND" (its flags that take a value), "values COMMAND FLAG", and "values COMMAND" where
    it has commands of its own. Of settings: "groups" ("GROUP=", "GROUP."), "plain" (keys of no group), "values GROUP=",
    "values KEY=", "keys GROUP=OPTION"; "chosen", "chosen experiment=NAME": what is chosen then, as "GROUP=OPTION".
    """
    found = {"commands": tuple(parsers), "configured": configured}
    groups = _groups()
    for name, parser in parsers.items():
        found |= _of_command(name, parser, groups)
    return found | _of_settings(groups)


def _groups() -> dict[str, Words]:
    """Each group's options; of those below others only what a command line chooses."""
    inner = ("hydra/launcher", "hydra/sweeper")
    folders = group_folders(conf_folder())
    return {name: tuple(group_options(folder)) for name, folder in folders.items() if "/" not in name or name in inner}


def _of_command(name: str, parser: argparse.ArgumentParser, groups: Mapping[str, Words]) -> dict[str, Words]:
    """A command's flags and their values: a few words, or options where the flag is named like a group."""
    found: dict[str, Words] = {}
    taken = [action for action in parser._actions if action.dest not in REFUSED]
    flags = [flag for action in taken for flag in action.option_strings]
    valued = [(action, flag) for action in taken for flag in action.option_strings if action.nargs != 0]
    found[f"flags {name}"] = tuple(flag for flag in flags if flag.startswith("--"))
    found[f"valued {name}"] = tuple(flag for _, flag in valued)
    for action, flag in valued:
        found[f"values {name} {flag}"] = tuple(map(str, action.choices or groups.get(flag.lstrip("-"), ())))
    for action in taken:
        if action.choices and not action.option_strings:
            found[f"values {name}"] = tuple(map(str, action.choices))
        if isinstance(action, argparse._SubParsersAction):
            for inner, below in action.choices.items():
                found |= _of_command(f"{name} {inner}", below, groups)
    return found


def _of_settings(groups: Mapping[str, Words]) -> dict[str, Words]:
    found = {f"values {group}=": options for group, options in groups.items()}
    with_keys = [group for group in groups if group not in GLOBAL_GROUPS and "/" not in group]
    for choice in (f"{group}={option}" for group in with_keys for option in groups[group]):
        keys = option_keys(*choice.split("="))
        found[f"keys {choice}"] = tuple(f"{one.key}=" for one in keys)
        found |= {f"values {one.key}=": one.words for one in keys if one.words}
    found["chosen"] = tuple(_chosen(conf_folder() / "train.yaml"))
    for group in GLOBAL_GROUPS:
        for option in groups[group]:
            found[f"chosen {group}={option}"] = tuple(_chosen(conf_folder() / group / f"{option}.yaml"))
    plain = {
        f"{node}.{key}" if node else key: parameter
        for node in ("", "run")
        for key, parameter in read_schema(PLAIN_NODES[node]).parameters.items()
        if key not in (*groups, "run")
    }
    found |= {f"values {key}=": tuple(few_words(parameter.kind)) for key, parameter in plain.items()}
    starts = (*(f"{group}=" for group in groups), *(f"{group}." for group in with_keys))
    return found | {"groups": starts, "plain": tuple(f"{key}=" for key in plain)}


def _chosen(file: Path) -> Iterator[str]:
    """The options that a file's defaults choose, as "GROUP=OPTION", those of the files that it builds on first."""
    for item in yaml.safe_load(file.read_text(encoding="utf-8")).get("defaults", ()):
        if isinstance(item, dict):
            yield from (f"{group.removeprefix('override /')}={option}" for group, option in item.items() if option)
        elif item != "_self_":
            yield from _chosen(file.with_name(f"{item}.yaml"))
