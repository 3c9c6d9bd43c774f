"""One option of a group as its files write it: keys, values and remarks, without composing the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf

from evqa.config.composer import GLOBAL_GROUPS
from evqa.config.keys import every_key, locate, parameters_at
from evqa.config.kinds import Choice, Kind, OneOf, Plain
from evqa.config.paths import conf_folder


@dataclass(frozen=True, kw_only=True)
class OptionKey:
    """A key that an option takes. value: as its files write it, None where they do not mention the key.

    remark: the comment beside it, else what it may hold. words: its values, where there are only a few.
    """

    key: str
    value: str | None
    remark: str
    words: tuple[str, ...]


def option_keys(group: str, option: str) -> list[OptionKey]:
    """Every key that an option takes, sorted; those of a recipe, a sweep or a scorer are in the groups they choose."""
    if group in GLOBAL_GROUPS:
        return []
    remarks: dict[str, str] = {}
    base = _read(group, option, remarks)
    keys = [key for key in every_key(base) if key.startswith(f"{group}.")]
    parents = {key.rpartition(".")[0] for key in keys}
    return [_described(base, key, remarks) for key in sorted(set(keys) - parents)]


def _described(base: DictConfig, key: str, remarks: Mapping[str, str]) -> OptionKey:
    spot = locate(base, key)
    above, _, name = key.rpartition(".")
    owner = locate(base, above).node
    parameter = parameters_at(owner, above).get(name) if isinstance(owner, DictConfig) else None
    return OptionKey(
        key=key,
        value=None if spot.rest else _written(spot.node),
        remark=remarks.get(key, str(parameter.kind) if parameter else ""),
        words=tuple(few_words(parameter.kind)) if parameter else (),
    )


def _written(node: object) -> str:
    if OmegaConf.is_config(node):
        node = OmegaConf.to_container(node) if not node._is_none() else None  # type: ignore[attr-defined]
    elif hasattr(node, "_value"):
        node = node._value()
    return "null" if node is None else str(node).lower() if isinstance(node, bool) else str(node)


def few_words(kind: Kind) -> Iterator[str]:
    """The values of a kind that has only a few."""
    match kind:
        case Plain(name="bool"):
            yield from ("true", "false")
        case Plain(name="None"):
            yield "null"
        case Choice(values=values):
            yield from map(str, values)
        case OneOf(kinds=kinds) if any(isinstance(one, Choice) for one in kinds):
            for one in kinds:
                yield from few_words(one)


def _read(group: str, name: str, remarks: dict[str, str]) -> DictConfig:
    """The option's own node below its group, with those it builds on merged beneath; fills in the remarks."""
    text = (conf_folder() / group / f"{name}.yaml").read_text(encoding="utf-8")
    own = OmegaConf.create(text)
    assert isinstance(own, DictConfig)
    bases = []
    for item in own.pop("defaults", ()):
        if isinstance(item, str) and item != "_self_":
            bases.append(_read(group, item, remarks))
        elif isinstance(item, DictConfig):
            places = [(f"{group}/{str(key)[:-7]}", one) for key, one in item.items() if str(key).endswith("@_here_")]
            bases.extend(OmegaConf.create({group: _read(place, one, remarks)[place]}) for place, one in places)
    is_global = text.startswith("# @package _global_")
    remarks |= dict(_remarks(text, "" if is_global else group.partition("/")[0]))
    merged = OmegaConf.merge(*bases, own if is_global else OmegaConf.create({group: own}))
    assert isinstance(merged, DictConfig)
    return merged


def _remarks(text: str, package: str) -> Iterator[tuple[str, str]]:
    """Comments beside keys, by key; indentation says which node a key is in."""
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        key, separator, rest = line.partition(":")
        if not separator or not key.strip().isidentifier():
            continue
        depth = len(key) - len(key.lstrip())
        above = [one for one in above if one[0] < depth] + [(depth, key.strip())]
        if " # " in rest:
            yield ".".join([*([package] if package else []), *(word for _, word in above)]), rest.partition(" # ")[2]
