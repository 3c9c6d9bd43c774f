"""Read what a class takes from its source file, without importing it.

Keyword-only parameters are the schema of the class's YAML; positional ones are supplied by the program and do not
belong to it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from evqa.config.annotations import read_annotation
from evqa.config.kinds import Kind
from evqa.config.nearest import suggestion
from evqa.config.source import Module, find, lookup_in, public_names, read_module, statements


class UnknownTargetError(LookupError):
    """A `_target_` that names no class; the text says what is there instead."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One key of a node."""

    kind: Kind
    required: bool


@dataclass(frozen=True, kw_only=True)
class Schema:
    """What a class takes and what it says about itself.

    parameters: the keys of its YAML. open: takes further keys that cannot be read from the source. facts: literal
    class attributes, inherited ones included. lineage: names of the class and of its bases as far as readable; paths:
    the same with the modules that define them; none for a function. abstract: methods that a subclass has to add.
    positional: how many arguments the program has to give.
    """

    name: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    open: bool = False
    facts: Mapping[str, object] = field(default_factory=dict)
    lineage: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    abstract: frozenset[str] = frozenset()
    positional: int = 0


@cache
def read_schema(target: str) -> Schema:
    """The schema of a class or function by its dotted path.

    Raises UnknownTargetError with a sentence where there is no such module or name.
    """
    module_name, _, name = target.rpartition(".")
    named = all(part.isidentifier() for part in target.split("."))
    module = read_module(module_name) if module_name and named else None
    if module is None:
        raise UnknownTargetError(f"there is no module '{module_name or target}'.")
    found = find(module, name)
    if found is None:
        raise UnknownTargetError(f"{module_name} has no '{name}'. {suggestion(name, public_names(module))}")
    home, node = found
    if isinstance(node, ast.ClassDef):
        return _class_schema(home, node)
    parameters, more = _function_parameters(home, node, foreign=_is_foreign(home))
    return Schema(name=name, parameters=parameters, open=more, lineage=(name,))


def _class_schema(module: Module, node: ast.ClassDef) -> Schema:
    bases = [_class_schema(*base) for base in _bases(module, node)]
    facts: dict[str, object] = {}
    for base in reversed(bases):
        facts |= base.facts
    parameters, more = _class_parameters(module, node, bases)
    return Schema(
        name=node.name,
        parameters=parameters,
        open=more,
        facts=facts | dict(_literals(node)),
        lineage=(node.name, *(name for base in bases for name in base.lineage)),
        paths=(f"{module.name}.{node.name}", *(path for base in bases for path in base.paths)),
        abstract=_abstract_methods(node, bases),
        positional=_num_positional(node, bases),
    )


def _abstract_methods(node: ast.ClassDef, bases: list[Schema]) -> frozenset[str]:
    methods = [statement for statement in node.body if isinstance(statement, ast.FunctionDef)]
    own = {method.name for method in methods if any("abstract" in ast.unparse(d) for d in method.decorator_list)}
    inherited = {name for base in bases for name in base.abstract}
    return frozenset(own | (inherited - {method.name for method in methods}))


def _num_positional(node: ast.ClassDef, bases: list[Schema]) -> int:
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            return len(statement.args.args) - 1 - len(statement.args.defaults)
    return bases[0].positional if bases else 0


def _class_parameters(module: Module, node: ast.ClassDef, bases: list[Schema]) -> tuple[dict[str, Parameter], bool]:
    foreign = _is_foreign(module)
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            return _function_parameters(module, statement, foreign=foreign)
    inherited: dict[str, Parameter] = {}
    for base in reversed(bases):
        inherited |= base.parameters
    if (decorator := _dataclass_decorator(node)) is not None:
        return inherited | dict(_fields(module, node, kw_only=decorator or foreign)), False
    return inherited, any(base.open for base in bases) or (foreign and not bases and bool(node.bases))


def _is_foreign(module: Module) -> bool:
    return not module.name.startswith(("evqa.", "hydra_plugins.evqa_"))


def _bases(module: Module, node: ast.ClassDef) -> Iterator[tuple[Module, ast.ClassDef]]:
    for base in node.bases:
        found = None
        match base.value if isinstance(base, ast.Subscript) else base:
            case ast.Name(id=name):
                found = find(module, name)
            case ast.Attribute(value=ast.Name(id=package), attr=name) if _imports(module, package):
                source = read_module(package)
                found = find(source, name) if source else None
        if found is not None and isinstance(found[1], ast.ClassDef) and found[1] is not node:
            yield found[0], found[1]


def _imports(module: Module, package: str) -> bool:
    found = [node for node in statements(module.tree.body) if isinstance(node, ast.Import)]
    return any(alias.name == package and not alias.asname for node in found for alias in node.names)


def _function_parameters(module: Module, node: ast.FunctionDef, *, foreign: bool) -> tuple[dict[str, Parameter], bool]:
    """Other packages do not know our rule of keyword-only parameters: there any named one may be set, none must."""
    found = {}
    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        kind = read_annotation(argument.annotation, lookup_in(module))
        found[argument.arg] = Parameter(kind=kind, required=default is None and not foreign)
    if foreign:
        for argument in node.args.args[1:]:
            kind = read_annotation(argument.annotation, lookup_in(module))
            found[argument.arg] = Parameter(kind=kind, required=False)
    return found, node.args.kwarg is not None


def _fields(module: Module, node: ast.ClassDef, *, kw_only: bool) -> Iterator[tuple[str, Parameter]]:
    for statement in node.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=default):
                text = ast.unparse(annotation)
                if "KW_ONLY" in text:
                    kw_only = True
                elif kw_only and "ClassVar" not in text and not _is_internal(default):
                    kind = read_annotation(annotation, lookup_in(module))
                    yield name, Parameter(kind=kind, required=not _has_default(default))


def _dataclass_decorator(node: ast.ClassDef) -> bool | None:
    """Whether the class is a keyword-only dataclass; None where it is no dataclass."""
    for decorator in node.decorator_list:
        call = decorator if isinstance(decorator, ast.Call) else None
        if ast.unparse(call.func if call else decorator).rpartition(".")[2] == "dataclass":
            keywords = {word.arg: ast.unparse(word.value) for word in call.keywords} if call else {}
            return keywords.get("kw_only") == "True"
    return None


def _field_keywords(default: ast.expr | None) -> dict[str | None, str] | None:
    if isinstance(default, ast.Call) and ast.unparse(default.func).rpartition(".")[2] == "field":
        return {word.arg: ast.unparse(word.value) for word in default.keywords}
    return None


def _has_default(default: ast.expr | None) -> bool:
    keywords = _field_keywords(default)
    if keywords is None:
        return default is not None
    return "default" in keywords or "default_factory" in keywords


def _is_internal(default: ast.expr | None) -> bool:
    return (_field_keywords(default) or {}).get("init") == "False"


def _literals(node: ast.ClassDef) -> Iterator[tuple[str, object]]:
    for statement in node.body:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                try:
                    yield name, ast.literal_eval(value)
                except ValueError:
                    continue
