"""Check a composed configuration against the signatures of the classes it names.

Every problem is one line: the key, the value, the rule, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, ListConfig, Node, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from evqa.config.kinds import Component, Kind, OneOf
from evqa.config.nearest import suggestion
from evqa.config.root import COMPANIONS, PLAIN_NODES
from evqa.config.signature import Parameter, Schema, UnknownTargetError, read_schema

HYDRA = "hydra"
BUILDING_KEYS = ("_target_", "_partial_", "_convert_", "_recursive_")


@dataclass
class Findings:
    """What checking found. problems: sentences. schemas: of every node with a `_target_`, by path."""

    problems: list[str] = field(default_factory=list)
    schemas: dict[str, Schema] = field(default_factory=dict)


def check(
    cfg: DictConfig,
    *,
    groups: tuple[str, ...] = (),
    also: tuple[str, ...] = (),
    plain_nodes: Mapping[str, str] = PLAIN_NODES,
    companions: Mapping[str, str] = COMPANIONS,
) -> Findings:
    """Check every node but Hydra's own.

    groups: root keys that are allowed because a folder of that name exists. also: nodes of Hydra's that are checked.
    """
    checker = _Checker(plain_nodes, companions, groups)
    checker.visit(cfg, "")
    for path in also:
        node = OmegaConf.select(cfg, path)
        if isinstance(node, DictConfig):
            checker.visit(node, path)
    return Findings(problems=checker.problems, schemas=checker.schemas)


class _Checker:
    def __init__(self, plain_nodes: Mapping[str, str], companions: Mapping[str, str], groups: tuple[str, ...]) -> None:
        self.plain_nodes, self.companions, self.groups = plain_nodes, companions, groups
        self.problems: list[str] = []
        self.schemas: dict[str, Schema] = {}

    def visit(self, node: DictConfig | ListConfig, path: str, *, free: bool = False) -> None:
        """Check a node's own keys, then what lies below it. free: names of the user's own are allowed."""
        if isinstance(node, DictConfig):
            self.check_keys(node, path, free=free)
        below = free or (path in self.schemas)
        for key, child in _children(node):
            if path == "" and key == HYDRA:
                continue
            if isinstance(child, DictConfig | ListConfig) and not _is_special(child):
                self.visit(child, _join(path, key), free=below)

    def check_keys(self, node: DictConfig, path: str, *, free: bool) -> None:
        schema = self.schema_of(node, path)
        keys = [str(key) for key in node if key not in BUILDING_KEYS and (path or key != HYDRA)]
        if schema is None:
            self.problems += [] if free or "_target_" in node else list(self.unread(node, path))
            self.problems += [f"{_join(path, key)}: {text}" for key, text in _value_problems(node, keys, {})]
            return
        parameters = dict(schema.parameters)
        if path in self.companions:
            parameters |= read_schema(self.companions[path]).parameters
        allowed = set(self.groups) if path == "" else set()
        if not schema.open:
            unknown = [key for key in keys if key not in parameters and key not in allowed]
            self.problems += [self.unknown_key(path, schema, key, {*parameters, *allowed}) for key in unknown]
        for key, text in _value_problems(node, keys, parameters):
            self.problems.append(f"{_join(path, key)}: {text}")
        if not node.get("_partial_", False):
            self.problems += [
                f"{_join(path, key)}: {schema.name} needs it and it is not set (expected {parameter.kind})."
                for key, parameter in parameters.items()
                if parameter.required and key not in keys
            ]

    def unread(self, node: DictConfig, path: str) -> Iterator[str]:
        """Values in a node that builds nothing: nobody would read them."""
        for key, child in _children(node):
            if not isinstance(child, DictConfig | ListConfig) and child is not None and not _is_null(node, key):
                yield f"{_join(path, key)}: nothing reads it, because '{path}' has no _target_."

    def unknown_key(self, path: str, schema: Schema, key: str, known: set[str]) -> str:
        if path == "":
            return f"{key}: the configuration has no such key. {suggestion(key, known)}"
        owner = path if path in self.plain_nodes else schema.name
        return f"{_join(path, key)}: {owner} takes no argument '{key}'. {suggestion(key, known)}"

    def schema_of(self, node: DictConfig, path: str) -> Schema | None:
        """The node's schema; None for a node that only groups others, or whose class is unknown (a problem)."""
        target = OmegaConf.to_container(node, resolve=False).get("_target_")  # type: ignore[union-attr]
        if target is None:
            return read_schema(self.plain_nodes[path]) if path in self.plain_nodes else None
        try:
            self.schemas[path] = read_schema(str(target))
        except UnknownTargetError as error:
            self.problems.append(f"{_join(path, '_target_')}: {error}")
            return None
        return self.schemas[path]


def _value_problems(
    node: DictConfig, keys: list[str], parameters: Mapping[str, Parameter]
) -> Iterator[tuple[str, str]]:
    """Values that are missing, cannot be resolved, or have the wrong type."""
    for key in keys:
        kind = parameters[key].kind if key in parameters else None
        if OmegaConf.is_missing(node, key):
            yield key, f"needs a value{f' (expected {kind})' if kind else ''}."
            continue
        try:
            value = _plain(node[key])
            if OmegaConf.is_config(node[key]) and OmegaConf.missing_keys(node[key]):
                continue  # reported where it is missing
        except OmegaConfBaseException as error:
            if OmegaConf.is_interpolation(node, key):
                yield key, f"cannot be worked out: {_first_line(error)}."
            continue  # a problem further down is reported there
        if kind is not None and (wrong := _misfit(kind, value)):
            yield key, wrong


def _misfit(kind: Kind, value: object) -> str | None:
    """Complain about a value; keys of a plain node that has its own schema are reported there."""
    kinds = kind.kinds if isinstance(kind, OneOf) else (kind,)
    if isinstance(value, Mapping) and "_target_" not in value and any(k in PLAIN_COMPONENTS for k in kinds):
        return None
    return kind.misfit(value)


PLAIN_COMPONENTS = tuple(Component(target.rpartition(".")[2]) for target in PLAIN_NODES.values())


def _children(node: DictConfig | ListConfig) -> Iterator[tuple[str, Any]]:
    if _is_special(node):
        return
    if isinstance(node, DictConfig):
        yield from ((str(key), child) for key, child in node.items_ex(resolve=False))
    else:
        yield from ((str(place), node._get_node(place)) for place in range(len(node)))


def _is_special(node: DictConfig | ListConfig) -> bool:
    """Null, missing, or an interpolation to another node, which is checked where it lies."""
    return node._is_none() or node._is_missing() or node._is_interpolation()


def _is_null(node: DictConfig, key: str) -> bool:
    child = node._get_node(key, validate_access=False)
    return isinstance(child, Node) and child._is_none()


def _plain(value: object) -> object:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
