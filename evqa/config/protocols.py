"""Prompts that are whole protocols: options of `prompt` that set keys of other groups too, which must take them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from omegaconf import DictConfig

from evqa.config.rules import Design

GROUP = "prompt"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A chosen prompt. name: the option. sets: names of the keys that it sets, of each other group. others: prompts."""

    name: str
    sets: Mapping[str, tuple[str, ...]]
    others: Sequence[str]

    def untaken(self, design: Design) -> dict[str, list[str]]:
        """Find the keys that a group's class does not take, by group."""
        found = {}
        for group, names in self.sets.items():
            node, schema = design.value(group), design.schemas.get(group)
            if isinstance(node, DictConfig) and schema is not None:
                found[group] = [name for name in names if name in node and name not in schema.parameters]
        return {group: names for group, names in found.items() if names}


def keys_set(option: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    """Read from an option's file which keys of other groups it sets; none where it is a prompt alone."""
    if GROUP not in option:
        return {}
    others = {group: node for group, node in option.items() if group not in (GROUP, "defaults")}
    return {group: tuple(map(str, node)) for group, node in others.items() if isinstance(node, dict)}


def merged_problems(protocol: Protocol, design: Design, problems: Sequence[str]) -> list[str]:
    """Say once per group that a protocol does not fit, in place of a sentence for each of its keys."""
    untaken = protocol.untaken(design)
    keys = [f"{group}.{name}" for group, names in untaken.items() for name in names]
    covered = tuple(f"{key}{end}" for key in keys for end in (":", "."))
    return [*_misfits(protocol, design, untaken), *(one for one in problems if not one.startswith(covered))]


def _misfits(protocol: Protocol, design: Design, untaken: Mapping[str, list[str]]) -> Iterator[str]:
    for group, names in untaken.items():
        keys = " and ".join(f"{group}.{name}" for name in names)
        able = [
            f"{group}={option}"
            for option, schema in design.alternatives(group).items()
            if set(names) <= set(schema.parameters)
        ]
        yield (
            f"{GROUP}={protocol.name}: it sets {keys}, which {design.schemas[group].name} does not take. Choose a "
            f"{group} that does ({', '.join(able) or f'none in conf/{group}'}), or another prompt "
            f"({', '.join(protocol.others)})."
        )
