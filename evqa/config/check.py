"""Check a composed configuration against the signatures of the classes it names.

Every problem is one line: the key, the value, the rule, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, ListConfig, Node, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from evqa.config.environment import comes_from_environment, is_special
from evqa.config.kinds import Choice, Component, Kind, alternatives, bare, item_kinds
from evqa.config.nearest import suggestion
from evqa.config.places import Place, place_at, places_of
from evqa.config.root import COMPANIONS, PLAIN_NODES
from evqa.config.signature import Parameter, Schema, UnknownTargetError, read_schema
from evqa.config.words import EXAMPLES

HYDRA = "hydra"
TARGET = "_target_"
BUILDING_KEYS = ("_args_", "_partial_", "_convert_", "_recursive_")  # Hydra's; ours are built whole, by keyword
DEEPEST = 12  # levels below the root; only a node that holds itself has more


@dataclass
class Findings:
    """What checking found. problems: sentences. schemas: of every node with a `_target_` that fits, by path."""

    problems: list[str] = field(default_factory=list)
    schemas: dict[str, Schema] = field(default_factory=dict)


def check(
    cfg: DictConfig,
    *,
    groups: tuple[str, ...] = (),
    also: tuple[str, ...] = (),
    plain_nodes: Mapping[str, str] = PLAIN_NODES,
    companions: Mapping[str, str] = COMPANIONS,
    placed: bool = False,
) -> Findings:
    """Check every node but Hydra's own.

    groups: root keys that are allowed because a folder of that name exists. also: nodes of Hydra's that are checked.
    placed: whether the nodes of the root have their places (see evqa.config.places); else any class of ours may stand
    there.
    """
    checker = _Checker(plain_nodes, companions, groups, placed=placed)
    checker.visit(cfg, "")
    for path in also:
        node = OmegaConf.select(cfg, path)
        if isinstance(node, DictConfig):
            checker.visit(node, path)
    return Findings(problems=list(dict.fromkeys(checker.problems)), schemas=checker.schemas)


class _Checker:
    def __init__(
        self, plain_nodes: Mapping[str, str], companions: Mapping[str, str], groups: tuple[str, ...], *, placed: bool
    ) -> None:
        self.plain_nodes, self.companions, self.groups, self.placed = plain_nodes, companions, groups, placed
        self.problems: list[str] = []
        self.schemas: dict[str, Schema] = {}

    def visit(
        self, node: DictConfig | ListConfig, path: str, *, kinds: tuple[Kind, ...] = (), free: bool = False
    ) -> None:
        """Check a node's own keys, then what lies below it.

        kinds: what the node may be, where it is an argument. free: names of the user's own are allowed.
        """
        if path.count(".") > DEEPEST:
            self.problems.append(f"{'.'.join(path.split('.')[:3])}: leads back to itself, or is nested too deeply.")
            return
        parameters = self.check_keys(node, path, kinds, free=free) if isinstance(node, DictConfig) else {}
        below = free or (path in self.schemas)
        for key, child in _nodes_below(node):
            if path == "" and key == HYDRA:
                continue
            if key in parameters:
                inside = alternatives(parameters[key].kind)
            else:
                inside = tuple(one for kind in kinds for one in item_kinds(kind, key))
            self.visit(child, _join(path, key), kinds=inside, free=below)

    def check_keys(
        self, node: DictConfig, path: str, kinds: tuple[Kind, ...], *, free: bool
    ) -> Mapping[str, Parameter]:
        """Check the keys of one node; returns the arguments that its class takes."""
        schema = self.schema_of(node, path, kinds)
        keys = [str(key) for key in node if key not in (TARGET, *BUILDING_KEYS) and (path or key != HYDRA)]
        self.problems += [
            f"{_join(path, key)}: components are built whole, from named arguments; take this key away."
            for key in BUILDING_KEYS
            if key in node
        ]
        if schema is None:
            self.problems += [] if free or TARGET in node else list(self.unread(node, path))
            self.problems += list(self.unbuilt(node, path))
            self.problems += [f"{_join(path, key)}: {text}" for key, text in _value_problems(node, keys, {})]
            return {}
        parameters = dict(schema.parameters)
        if path in self.companions:
            parameters |= read_schema(self.companions[path]).parameters
        allowed = set(self.groups) if path == "" else set()
        if not schema.open:
            unknown = [key for key in keys if key not in parameters and key not in allowed]
            self.problems += [self.unknown_key(path, schema, key, {*parameters, *allowed}) for key in unknown]
        for key, text in _value_problems(node, keys, parameters):
            example = EXAMPLES.get(_join(path, key)) if OmegaConf.is_missing(node, key) else None
            self.problems.append(f"{_join(path, key)}: {text}{f' For instance {example}.' if example else ''}")
        self.problems += [
            f"{_join(path, key)}: {schema.name} needs it and it is not set (expected {bare(parameter.kind)})."
            for key, parameter in parameters.items()
            if parameter.required and key not in keys
        ]
        return parameters

    def unread(self, node: DictConfig, path: str) -> Iterator[str]:
        """Values in a node that builds nothing: no code would read them."""
        for key, child in _children(node):
            if not isinstance(child, DictConfig | ListConfig) and child is not None and not _is_null(node, key):
                yield f"{_join(path, key)}: nothing reads it, because '{path}' has no _target_."

    def unbuilt(self, node: DictConfig, path: str) -> Iterator[str]:
        """A node that names no class although it says so, or although something is built at its place."""
        empty = self.placed and place_at(path) is not None and not list(self.unread(node, path))
        if _target(node) is None and (TARGET in node or empty):
            yield f"{_join(path, TARGET)}: names no class, and something is built here."

    def unknown_key(self, path: str, schema: Schema, key: str, known: set[str]) -> str:
        if path == "":
            return f"{key}: the configuration has no such key. {suggestion(key, known)}"
        owner = path if path in self.plain_nodes else schema.name
        return f"{_join(path, key)}: {owner} takes no argument '{key}'. {suggestion(key, known)}"

    def schema_of(self, node: DictConfig, path: str, kinds: tuple[Kind, ...]) -> Schema | None:
        """The node's schema; None for a node that only groups others, or whose class is unknown (a problem)."""
        target = _target(node)
        if target is None:
            return read_schema(self.plain_nodes[path]) if path in self.plain_nodes else None
        try:
            schema = self.fitting_schema(target, path, kinds)
        except UnknownTargetError as error:
            self.problems.append(f"{_join(path, TARGET)}: {error}")
            return None
        self.schemas[path] = schema
        return schema

    def fitting_schema(self, target: str, path: str, kinds: tuple[Kind, ...]) -> Schema:
        """The schema of a class that may stand at a path. Raises UnknownTargetError where it may not."""
        place = place_at(path) if self.placed else None
        places = (place,) if place is not None else places_of(kinds)
        if path in self.plain_nodes or (not places and (self.placed or kinds)):
            raise UnknownTargetError("nothing is built here; give plain values.")
        packages = {package for place in places for package in place.packages} or {"evqa"}
        if target.partition(".")[0] not in packages:
            raise UnknownTargetError(_foreign(target, places))
        schema = read_schema(target)
        reasons = [place.misfit(target, schema) for place in places]
        if reasons and None not in reasons:
            raise UnknownTargetError(reasons[0])
        return schema


def _foreign(target: str, places: tuple[Place, ...]) -> str:
    wanted = " or ".join(place.base.rpartition(".")[2] for place in places) or "class"
    return f"{target} is no class of evqa; only a {wanted} of evqa may be built here."


def quoted_choices(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Numbers that stand for a choice written as text (`trainer.precision=32`): keys and the texts that are meant."""
    for path, node in _nodes_below(cfg):
        for key, parameter in _known_parameters(node).items() if path != HYDRA else ():
            child = node._get_node(key, validate_access=False)  # type: ignore[arg-type]
            value = child._value() if isinstance(child, Node) and not OmegaConf.is_config(child) else None
            for kind in alternatives(parameter.kind):
                if isinstance(kind, Choice) and (text := kind.spelled(value)):
                    yield f"{path}.{key}", text


def _known_parameters(node: DictConfig | ListConfig) -> Mapping[str, Parameter]:
    try:
        target = _target(node) if isinstance(node, DictConfig) else None
        return {} if target is None else read_schema(target).parameters
    except UnknownTargetError:
        return {}


def _target(node: DictConfig) -> str | None:
    """The class that a node names, as it is written."""
    child = node._get_node(TARGET, validate_access=False)
    return str(child._value()) if isinstance(child, Node) and not child._is_none() else None


def _value_problems(
    node: DictConfig, keys: list[str], parameters: Mapping[str, Parameter]
) -> Iterator[tuple[str, str]]:
    """Values that are missing, cannot be resolved, or have the wrong type."""
    for key in keys:
        kind = parameters[key].kind if key in parameters else None
        if OmegaConf.is_missing(node, key):
            yield key, f"needs a value{f' (expected {bare(kind)})' if kind else ''}."
            continue
        try:
            value = _plain(node[key])
            if OmegaConf.is_config(node[key]) and OmegaConf.missing_keys(node[key]):
                continue  # reported where it is missing
        except (OmegaConfBaseException, ValueError) as error:
            if OmegaConf.is_interpolation(node, key):
                yield key, f"cannot be worked out: {_first_line(error)}."
            continue  # a problem further down is reported there
        except RecursionError:
            yield key, "leads back to itself."
            continue
        if kind is not None and (wrong := _misfit(kind, value)):
            yield key, _hide(wrong, node, key, kind)


def _hide(wrong: str, node: DictConfig, key: str, kind: Kind) -> str:
    """The complaint, without a value that comes from the environment."""
    if not comes_from_environment(node, key):
        return wrong
    raw = node._get_node(key, validate_access=False)
    return f"expected {kind}; what {raw._value() if isinstance(raw, Node) else key} gives is something else."


def _misfit(kind: Kind, value: object) -> str | None:
    """Complain about a value; keys of a plain node that has its own schema are reported there."""
    plain = any(one in PLAIN_COMPONENTS for one in alternatives(kind))
    if isinstance(value, Mapping) and TARGET not in value and plain:
        return None
    return kind.misfit(value)


PLAIN_COMPONENTS = tuple(Component(target.rpartition(".")[2]) for target in PLAIN_NODES.values())


def _children(node: DictConfig | ListConfig) -> Iterator[tuple[str, Any]]:
    if is_special(node):
        return
    if isinstance(node, DictConfig):
        yield from ((str(key), node._get_node(key)) for key in node)
    else:
        yield from ((str(place), node._get_node(place)) for place in range(len(node)))


def _nodes_below(node: DictConfig | ListConfig) -> Iterator[tuple[str, DictConfig | ListConfig]]:
    """The nodes in a node; one that an interpolation leads to counts where it is used."""
    for key, child in _children(node):
        if isinstance(child, Node) and child._is_interpolation():
            try:
                child = node[int(key)] if isinstance(node, ListConfig) else node[key]
            except (OmegaConfBaseException, ValueError, RecursionError):
                continue  # the value is complained about
            child = OmegaConf.create(child) if isinstance(child, dict | list) else child  # of oc.decode
        if isinstance(child, DictConfig | ListConfig) and not is_special(child):
            yield key, child


def _is_null(node: DictConfig, key: str) -> bool:
    child = node._get_node(key, validate_access=False)
    return isinstance(child, Node) and child._is_none()


def _plain(value: object) -> object:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
