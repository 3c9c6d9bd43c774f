"""Values of environment variables (`${oc.env:NAME}`) in a configuration: used, but neither written nor shown.

A settled configuration keeps such a value as it was written, and gives it whenever it is asked for. So whatever is
written without resolving (config.yaml, checkpoints, W&B, `--cfg`) holds the variable's name and not its value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, ListConfig, Node, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

SHORTEST = 4  # characters of a value that is searched for in sentences; shorter ones occur in many words
_PLAIN = re.compile(r"[\w./-]+")


@dataclass
class _Watch:
    """What one value was made of: the calls that read the environment, by the mark that stood for them meanwhile."""

    marks: dict[str, str] = field(default_factory=dict)

    def mark(self, call: str) -> str:
        name = f"\0{len(self.marks)}\0"
        self.marks[name] = call
        return name

    def spelled(self, text: str) -> str:
        """The text with every mark replaced by its call; what would be read as a call is escaped."""
        escaped = text.replace("${", "\\${")
        for name, call in reversed(self.marks.items()):
            escaped = escaped.replace(name, call)
        return escaped


_watching: ContextVar[_Watch | None] = ContextVar("_watching", default=None)
_given: dict[str, str] = {}  # values that this process has taken from the environment, and the calls that gave them


def register_resolvers() -> None:
    """Put ours in the place of OmegaConf's `oc.env` and `oc.decode`; they give the same values."""
    OmegaConf.register_new_resolver("oc.env", _env, replace=True)
    OmegaConf.register_new_resolver("oc.decode", _decode, replace=True)


def comes_from_environment(node: DictConfig | ListConfig, key: str | int) -> bool:
    """Whether the value of a key, or anything below it, takes its value from an environment variable."""
    with _watched() as watch, suppress(OmegaConfBaseException):
        _deep_value(node, key)
    return bool(watch.marks)


def settled(node: Any) -> Any:
    """Plain containers with everything worked out but what comes from the environment, which stays as a call.

    A text that only looks like an interpolation is escaped, so that the result can be made a configuration again.
    """
    if isinstance(node, DictConfig) and not is_special(node):
        return {key: settled_item(node, key) for key in node}
    if isinstance(node, ListConfig) and not is_special(node):
        return [settled_item(node, place) for place in range(len(node))]
    return node.replace("${", "\\${") if isinstance(node, str) else node


def hidden(text: object) -> str:
    """A sentence in which values from the environment are replaced by the calls that gave them."""
    shown = str(text)
    for value in sorted(_given, key=len, reverse=True):
        shown = shown.replace(value, _given[value])
    return shown


def environment_keys(node: Any) -> Iterator[str]:
    """Keys of a settled configuration whose values come from the environment."""
    return (name for name, parent, key in interpolations(node) if comes_from_environment(parent, key))


def interpolations(node: Any, path: str = "") -> Iterator[tuple[str, DictConfig | ListConfig, Any]]:
    """Every interpolation in a configuration: its whole key, the node that holds it, and its key there."""
    if isinstance(node, DictConfig | ListConfig):
        keys: Iterable[Any] = node if isinstance(node, DictConfig) else range(len(node))
        for key in keys:
            child = node._get_node(key)
            name = f"{path}.{key!s}" if path else str(key)
            if isinstance(child, Node) and child._is_interpolation():
                yield name, node, key
            else:
                yield from interpolations(child, name)


def settled_item(node: DictConfig | ListConfig, key: Any) -> Any:
    """What `settled` makes of one key of a node."""
    raw = node._get_node(key)
    if not (isinstance(raw, Node) and raw._is_interpolation()):
        return settled(
            raw if isinstance(raw, DictConfig | ListConfig) else raw._value() if isinstance(raw, Node) else raw
        )
    with _watched() as watch:
        value = _deep_value(node, key)
    if not watch.marks:
        return settled(node[key])
    return watch.spelled(value) if isinstance(value, str) else str(raw._value())


def _deep_value(node: DictConfig | ListConfig, key: Any) -> Any:
    value = node[key]
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


@contextmanager
def _watched() -> Iterator[_Watch]:
    watch = _Watch()
    token = _watching.set(watch)
    try:
        yield watch
    finally:
        _watching.reset(token)


def _env(key: str, *default: Any) -> Any:
    watch = _watching.get()
    call = _call("oc.env", key, *default)
    if watch is not None:
        return watch.mark(call)
    value = oc.env(key, *default)
    if isinstance(value, str) and len(value) >= SHORTEST and default[:1] != (value,):
        _given[value] = call
    return value


def _decode(expression: str | None, _parent_: Any, _node_: Any) -> Any:
    watch = _watching.get()
    if watch is not None and isinstance(expression, str) and any(mark in expression for mark in watch.marks):
        return watch.mark(f"${{oc.decode:{watch.spelled(expression)}}}")
    return oc.decode(expression, _parent_=_parent_, _node_=_node_)


def _call(name: str, *arguments: Any) -> str:
    return f"${{{name}:{','.join(map(_argument, arguments))}}}"


def _argument(value: Any) -> str:
    if value is None:
        return "null"
    text = str(value)
    if not isinstance(value, str) or _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def is_special(node: DictConfig | ListConfig) -> bool:
    """Whether a node is null, missing, or an interpolation to another node."""
    return node._is_none() or node._is_missing() or node._is_interpolation()
