"""What is wrong with the left side of an override: groups, options and keys that do not exist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, ListConfig, OmegaConf

from evqa.config.composer import Composer
from evqa.config.kinds import DictOf, OneOf
from evqa.config.nearest import nearest, suggestion
from evqa.config.overrides import swept_values
from evqa.config.root import COMPANIONS, PLAIN_NODES
from evqa.config.signature import Parameter, UnknownTargetError, read_schema
from evqa.config.words import as_table, keys_like, keys_meant, only_key, other_name
from evqa.files.names import listed


@dataclass(frozen=True, kw_only=True)
class Spot:
    """How far a dotted key leads into a configuration.

    path: the deepest node that exists. rest: the parts of the key that do not. node: what lies at the path.
    """

    path: str
    rest: tuple[str, ...]
    node: object


def is_choice(composer: Composer, override: Override) -> bool:
    """Whether an override chooses an option of a group."""
    return bool(composer.options(override.key_or_group)) and not isinstance(override.value(), dict)


def choice_problem(composer: Composer, override: Override) -> str | None:
    """A group or an option that does not exist."""
    group = override.key_or_group
    if not is_choice(composer, override):
        return _no_group(composer, override) if "/" in group else None
    if override.is_delete():
        return None
    options = composer.options(group)
    values = [item for value in swept_values(override) for item in (value if isinstance(value, list) else [value])]
    if None in values:
        return f"{group}=null: to choose nothing write '~{group}'. Options: {', '.join(options)}."
    wrong = next((str(value) for value in values if str(value) not in options), None)
    if wrong is None:
        return None
    near = nearest(wrong, options)
    hint = f" Did you mean '{near}'?" if near else as_table(wrong) if group == "data" else ""
    return f"{group}={wrong}: {group} has no option '{wrong}'.{hint} Options: {', '.join(options)}."


def key_problem(composer: Composer, base: DictConfig, override: Override) -> str | None:
    """A key that does not exist, or one that holds a component and is given a text (a dot for a slash)."""
    key = override.key_or_group
    spot = locate(base, key)
    if not spot.rest:
        return _replaced_component(composer, spot, override)
    if override.is_add() or override.is_force_add() or must_be_added(base, override):
        return None
    if override.is_delete():
        return f"~{key}: there is nothing to take away. {suggestion(spot.rest[0], names_at(spot))}"
    return _choice_by_a_dot(composer, override) or _unknown_key(composer, base, spot, key)


def renamed(base: DictConfig, key: str) -> str | None:
    """The key that is meant by another data set's name for it; None where `key` is known, or no other one is."""
    other = other_name(key)
    if other is None or not locate(base, key).rest or _is_argument(base, key) or not _is_argument(base, other):
        return None
    return other


def must_be_added(base: DictConfig, override: Override) -> bool:
    """Whether a key that the YAML does not mention is an argument of its node's class all the same."""
    spot = locate(base, override.key_or_group)
    if not spot.rest or override.is_delete() or override.is_add() or override.is_force_add():
        return False
    if not isinstance(spot.node, DictConfig):
        return False
    return spot.rest[0] in parameters_at(spot.node, spot.path) or _is_free(base, spot.path)


def every_key(base: DictConfig, path: str = "") -> list[str]:
    """All keys below a node that can be set, those that the YAML does not mention too."""
    names = names_at(Spot(path=path, rest=(), node=base))
    keys = [f"{path}.{name}" if path else name for name in sorted(names)]
    below = {key: base._get_node(key.rpartition(".")[2], validate_access=False) for key in keys}
    return keys + [one for key, node in below.items() if isinstance(node, DictConfig) for one in every_key(node, key)]


def _is_argument(base: DictConfig, key: str) -> bool:
    spot = locate(base, key)
    return not spot.rest or (len(spot.rest) == 1 and spot.rest[0] in names_at(spot))


def locate(base: DictConfig, key: str) -> Spot:
    """Follow a dotted key as far as it exists; interpolations are not followed."""
    node: object = base
    parts = key.split(".")
    for depth, part in enumerate(parts):
        if not isinstance(node, DictConfig | ListConfig) or node._is_none() or node._is_missing():
            return Spot(path=".".join(parts[:depth]), rest=tuple(parts[depth:]), node=node)
        child = _child(node, part)
        if child is None:
            return Spot(path=".".join(parts[:depth]), rest=tuple(parts[depth:]), node=node)
        node = child
    return Spot(path=key, rest=(), node=node)


def parameters_at(node: DictConfig, path: str) -> Mapping[str, Parameter]:
    """The arguments that a node may hold: those of its class and of a companion; none where it has no class."""
    target = node._get_node("_target_", validate_access=False) if not node._is_none() else None
    name = str(target) if target is not None else PLAIN_NODES.get(path)
    if name is None:
        return {}
    try:
        found = dict(read_schema(name).parameters)
        return found | dict(read_schema(COMPANIONS[path]).parameters) if path in COMPANIONS else found
    except UnknownTargetError:
        return {}


def names_at(spot: Spot) -> set[str]:
    """Every name that would be known where a key came to its end."""
    if not isinstance(spot.node, DictConfig) or spot.node._is_none() or spot.node._is_missing():
        return set()
    keys = {str(key) for key in spot.node if not str(key).startswith("_")}
    return (keys | set(parameters_at(spot.node, spot.path))) - {"hydra"}


def _child(node: DictConfig | ListConfig, part: str) -> object | None:
    if isinstance(node, ListConfig):
        return node._get_node(int(part)) if part.isdigit() and int(part) < len(node) else None
    return node._get_node(part, validate_access=False)


def _is_free(base: DictConfig, path: str) -> bool:
    """Whether the node at a path is an argument with names of the user's own, such as `optimizer.rates`."""
    above, _, name = path.rpartition(".")
    parent = OmegaConf.select(base, above) if above else base
    if not isinstance(parent, DictConfig) or name not in (parameters := parameters_at(parent, above)):
        return False
    kind = parameters[name].kind
    return any(isinstance(one, DictOf) for one in (kind.kinds if isinstance(kind, OneOf) else (kind,)))


def _no_group(composer: Composer, override: Override) -> str:
    group = override.key_or_group
    known = [*composer.groups, *(f"hydra/{name}" for name in ("launcher", "sweeper", "job_logging"))]
    hint = f"For a key inside a group write dots: {group.replace('/', '.')}={override.get_value_element_as_str()}"
    top = group.partition("/")[0]
    return f"{group}: there is no such group. " + (hint if top in known else suggestion(group, known))


def _replaced_component(composer: Composer, spot: Spot, override: Override) -> str | None:
    value = override.value()
    if not isinstance(spot.node, DictConfig) or not isinstance(value, str) or spot.node._is_none():
        return None
    if override.is_delete() or "_target_" not in spot.node:
        return None
    key, top = override.key_or_group, override.key_or_group.partition(".")[0]
    groups = {name: composer.options(name) for name in (key.replace(".", "/"), top) if composer.options(name)}
    group = next((name for name, options in groups.items() if value in options), None)
    if group is not None:
        return (
            f"{key}={value} would replace a component by a string; to choose another {group} write '{group}={value}'."
        )
    known = "name" in parameters_at(spot.node, spot.path)
    mend = f"to name it write '{key}.name={value}'" if known else f"set one of its keys, '{key}.NAME=VALUE'"
    return f"{key}={value} would replace a component by a string; {mend}."


def _choice_by_a_dot(composer: Composer, override: Override) -> str | None:
    key, value = override.key_or_group, override.value()
    top = key.partition(".")[0]
    if "." in key and isinstance(value, str) and value in composer.options(top):
        return (
            f"{key}={value}: {top} has no key '{key.partition('.')[2]}'; to choose another {top} write '{top}={value}'."
        )
    return None


def _unknown_key(composer: Composer, base: DictConfig, spot: Spot, key: str) -> str:
    name, groups = spot.rest[0], composer.groups
    if spot.path == "" and name in groups:
        return f"{key}: nothing with settings is chosen for {name}. Options: {', '.join(composer.options(name))}."
    if not isinstance(spot.node, DictConfig) or spot.node._is_none():
        return f"{key}: '{spot.path}' is a single value and has no keys."
    known = {*names_at(spot), *(groups if spot.path == "" else ())}
    all_keys = every_key(base)
    meant = keys_meant(key, {*all_keys, *groups})
    if spot.path == "":
        meant = meant or ([] if nearest(name, known) else keys_like(name, all_keys))
        return f"{key}: the configuration has no such key. {_either(meant) or suggestion(name, known)}"
    only = only_key(name, all_keys)
    hint = _either(meant) or _other_options(composer, key) or _either(only) or suggestion(name, known)
    owner = f"'{spot.path}'"
    if "_target_" in spot.node:
        owner = str(spot.node._get_node("_target_", validate_access=False)).rpartition(".")[2]
    return f"{key}: {owner} takes no argument '{name}'. {hint}"


def _either(keys: list[str]) -> str:
    """Ask for one of a few keys; empty where there are none."""
    return f"Did you mean {' or '.join(map(repr, keys[:3]))}?" if keys else ""


def _other_options(composer: Composer, key: str) -> str:
    """Name the options of the key's group that take it, under this name or another; empty where none does."""
    group, _, name = key.partition(".")
    names = {name, (other_name(key) or "").partition(".")[2]}
    options = composer.alternatives(group).items() if group in composer.groups else ()
    able = {option: schema for option, schema in options if names & set(schema.parameters)}
    able = {option: schema for option, schema in able.items() if f".{option}." in schema.paths[0]} or able
    return f"It belongs to {listed([f'{group}={option}' for option in able], shown=4)}." if able else ""
