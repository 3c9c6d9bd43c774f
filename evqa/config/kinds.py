"""What a value in a YAML file may be: the few types that a configuration can hold, and sentences about misfits."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from evqa.config.nearest import nearest

PLAIN: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "str": (str,),
    "None": (type(None),),
    "Any": (object,),
}


class Kind(Protocol):
    """A type of value; `str()` names it as a user would read it."""

    def misfit(self, value: object) -> str | None:
        """Say what is wrong with a value ("expected int, got 'eight'."), or None where it fits."""


@dataclass(frozen=True)
class Plain:
    """A number, a text, true/false, nothing, or (Any) whatever it is."""

    name: str

    def __str__(self) -> str:
        return "null" if self.name == "None" else self.name

    def misfit(self, value: object) -> str | None:
        """True and false are no numbers; a whole number is a float as well."""
        wrong_bool = isinstance(value, bool) and self.name in ("int", "float")
        if isinstance(value, PLAIN[self.name]) and not wrong_bool:
            endless = isinstance(value, float) and not math.isfinite(value)
            return f"expected a finite {self}, got {value}." if endless and self.name != "Any" else None
        hint = f" Quote what is meant as text: '\"{value}\"'." if self.name == "str" and _is_scalar(value) else ""
        return f"expected {self}, got {_show(value)}.{hint}"


@dataclass(frozen=True)
class Choice:
    """One of a few literal values."""

    values: tuple[object, ...]

    def __str__(self) -> str:
        return "one of " + ", ".join(_show(value) for value in self.values)

    def misfit(self, value: object) -> str | None:
        """Name all choices, and the nearest."""
        if any(value == choice and type(value) is type(choice) for choice in self.values) or self.spelled(value):
            return None
        near = nearest(value, [v for v in self.values if isinstance(v, str)]) if isinstance(value, str) else None
        hint = f" Did you mean '{near}'?" if near else ""
        return f"expected {self}, got {_show(value)}.{hint}"

    def spelled(self, value: object) -> str | None:
        """The choice that a number means which was written without quotes: '32' for 32."""
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return str(value) if is_number and str(value) in self.values and value not in self.values else None


@dataclass(frozen=True)
class Ranged:
    """A number within bounds, written as a comparison such as "0 <= x < 1"."""

    kind: Kind
    rule: str

    def __str__(self) -> str:
        return f"{self.kind} with {self.rule}"

    def misfit(self, value: object) -> str | None:
        """Check the type first, then the bounds."""
        wrong = self.kind.misfit(value)
        if wrong or not isinstance(value, int | float) or _holds(self.rule, value):
            return wrong
        return f"expected {self}, got {_show(value)}."


@dataclass(frozen=True)
class ListOf:
    """A list of any length."""

    item: Kind

    def __str__(self) -> str:
        return f"list[{self.item}]"

    def misfit(self, value: object) -> str | None:
        """Name the first item that does not fit."""
        if not isinstance(value, Sequence) or isinstance(value, str):
            return f"expected {self}, got {_show(value)}. Write a list as [a,b]."
        return _first_misfit(zip(range(len(value)), value, [self.item] * len(value), strict=True))


@dataclass(frozen=True)
class TupleOf:
    """A list of fixed length with a type for each place."""

    items: tuple[Kind, ...]

    def __str__(self) -> str:
        return f"list of {len(self.items)} values ({', '.join(map(str, self.items))})"

    def misfit(self, value: object) -> str | None:
        """Check the length, then each item."""
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != len(self.items):
            return f"expected {self}, got {_show(value)}."
        return _first_misfit(zip(range(len(value)), value, self.items, strict=True))


@dataclass(frozen=True)
class DictOf:
    """Names and values."""

    value: Kind

    def __str__(self) -> str:
        return f"names with values of type {self.value}"

    def misfit(self, value: object) -> str | None:
        """Name the first key whose value does not fit."""
        if not isinstance(value, Mapping):
            return f"expected {self}, got {_show(value)}."
        return _first_misfit((key, item, self.value) for key, item in value.items())


@dataclass(frozen=True)
class Component:
    """A nested node that builds an object of a class or of one derived from it. path: the class with its module."""

    name: str
    path: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"a {self.name} (a node with _target_)"

    def misfit(self, value: object) -> str | None:
        """The node's own keys are checked where the node is met."""
        if isinstance(value, Mapping) and "_target_" in value:
            return None
        return f"expected {self}, got {_show(value)}."


@dataclass(frozen=True)
class OneOf:
    """Any of several kinds."""

    kinds: tuple[Kind, ...]

    def __str__(self) -> str:
        return " or ".join(map(str, self.kinds))

    def misfit(self, value: object) -> str | None:
        """Repeat the only kind's own sentence where the other is null: it knows more."""
        complaints = [kind.misfit(value) for kind in self.kinds]
        if None in complaints:
            return None
        telling = [text for kind, text in zip(self.kinds, complaints, strict=True) if kind != Plain("None")]
        if len(telling) == 1 and telling[0] is not None:
            return telling[0].replace(", got", " or null, got", 1)
        return f"expected {self}, got {_show(value)}."


ANY = Plain("Any")


def alternatives(kind: Kind) -> tuple[Kind, ...]:
    """The kinds that a value may be of."""
    return kind.kinds if isinstance(kind, OneOf) else (kind,)


def bare(kind: Kind) -> str:
    """A kind's name without its bounds, for where no value is judged."""
    return " or ".join(str(one.kind if isinstance(one, Ranged) else one) for one in alternatives(kind))


def item_kinds(kind: Kind, key: str) -> tuple[Kind, ...]:
    """The kinds that the item of a list, or the value of a name, may be of; none where the kind holds no items."""
    found: list[Kind] = []
    for one in alternatives(kind):
        match one:
            case ListOf(item=item) | DictOf(value=item):
                found += alternatives(item)
            case TupleOf(items=items) if key.isdigit() and int(key) < len(items):
                found += alternatives(items[int(key)])
    return tuple(found)


def _first_misfit(items: Iterable[tuple[object, object, Kind]]) -> str | None:
    for place, value, kind in items:
        if wrong := kind.misfit(value):
            return f"at '{place}': {wrong}"
    return None


def _holds(rule: str, value: float) -> bool:
    comparison = ast.parse(rule, mode="eval").body
    if not isinstance(comparison, ast.Compare):
        raise TypeError(f"'{rule}' is no comparison")
    terms = [comparison.left, *comparison.comparators]
    numbers = [value if isinstance(term, ast.Name) else ast.literal_eval(term) for term in terms]
    tests = {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}
    pairs = zip(numbers, comparison.ops, numbers[1:], strict=False)
    return all(tests[type(sign)](left, right) for left, sign, right in pairs)


def _is_scalar(value: object) -> bool:
    return isinstance(value, int | float | bool)


def _show(value: object) -> str:
    """Write a value as YAML would: null, true, 'text', 8."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return f"the keys {', '.join(map(str, value))}" if value else "an empty node"
    return repr(value)
