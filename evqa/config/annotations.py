"""Read a parameter's annotation from source text, without importing what it names."""

from __future__ import annotations

import ast
from collections.abc import Callable

from evqa.config.kinds import ANY, PLAIN, Choice, Component, DictOf, Kind, ListOf, OneOf, Plain, Ranged, TupleOf

LISTS = ("list", "Sequence", "Iterable", "set", "frozenset")
DICTS = ("dict", "Mapping")

# What a name stands for in its module: an annotation elsewhere (an alias), a component's dotted path, or nothing known.
Lookup = Callable[[str], "tuple[ast.expr, Lookup] | str | None"]


def read_annotation(node: ast.expr | None, lookup: Lookup) -> Kind:
    """The kind of value that an annotation allows; what cannot be read allows anything."""
    match node:
        case ast.Constant(value=None):
            return Plain("None")
        case ast.Constant(value=str() as text):
            return read_annotation(ast.parse(text, mode="eval").body, lookup)
        case ast.BinOp(op=ast.BitOr()):
            return one_of([read_annotation(node.left, lookup), read_annotation(node.right, lookup)])
        case ast.Subscript():
            return _read_subscript(_last_name(node.value), node.slice, lookup)
        case ast.Name() | ast.Attribute():
            return _read_name(_last_name(node), lookup)
    return ANY


def one_of(kinds: list[Kind]) -> Kind:
    """Join kinds and flatten nested joins."""
    flat: list[Kind] = []
    for kind in kinds:
        flat += kind.kinds if isinstance(kind, OneOf) else [kind]
    return flat[0] if len(flat) == 1 else OneOf(tuple(flat))


def _read_subscript(name: str, inside: ast.expr, lookup: Lookup) -> Kind:
    parts = inside.elts if isinstance(inside, ast.Tuple) else [inside]
    if name == "Literal":
        return Choice(tuple(ast.literal_eval(part) for part in parts))
    if name == "Annotated":
        rules = [part.value for part in parts[1:] if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        kind = read_annotation(parts[0], lookup)
        return Ranged(kind, rules[0]) if rules else kind
    kinds = [read_annotation(part, lookup) for part in parts]
    if name == "Optional":
        return one_of([*kinds, Plain("None")])
    if name == "Union":
        return one_of(kinds)
    if name == "tuple":
        endless = isinstance(parts[-1], ast.Constant) and parts[-1].value is Ellipsis
        return ListOf(kinds[0]) if endless else TupleOf(tuple(kinds))
    if name in LISTS:
        return ListOf(kinds[0])
    return DictOf(kinds[-1]) if name in DICTS else ANY


def _read_name(name: str, lookup: Lookup) -> Kind:
    if name in PLAIN:
        return Plain(name)
    if name in (*LISTS, "tuple"):
        return ListOf(ANY)
    if name in DICTS:
        return DictOf(ANY)
    found = lookup(name)
    if isinstance(found, str):
        return Component(name, path=found)
    return ANY if found is None else read_annotation(*found)


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""
