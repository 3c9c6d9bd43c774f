"""Read what a class takes from its source file, without importing it.

Importing a model costs seconds (torch, transformers); its signature is text. Keyword-only parameters are the schema
of the class's YAML; positional ones are supplied by the program and do not belong to it.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from evqa.config.annotations import Lookup, read_annotation
from evqa.config.kinds import Kind
from evqa.config.nearest import suggestion


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


@dataclass(frozen=True, eq=False)
class Module:
    """A parsed source file and the dotted name under which it would be imported."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def package(self) -> str:
        """The name that relative imports start from."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


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
        raise UnknownTargetError(f"{module_name} has no '{name}'. {suggestion(name, _public_names(module))}")
    home, node = found
    if isinstance(node, ast.ClassDef):
        return _class_schema(home, node)
    parameters, more = _function_parameters(home, node, foreign=_is_foreign(home))
    return Schema(name=name, parameters=parameters, open=more, lineage=(name,))


@cache
def read_module(name: str) -> Module | None:
    """Parse a module's source; only its top package is looked up through Python's import machinery."""
    top, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    roots = [Path(root).joinpath(*rest) for root in spec.submodule_search_locations or ()]
    files = [file for root in roots for file in (root / "__init__.py", root.with_suffix(".py"))]
    if not rest and spec.origin:
        files.append(Path(spec.origin))
    for file in files:
        if file.suffix == ".py" and file.is_file():
            try:
                return Module(name, file, ast.parse(file.read_text(encoding="utf-8")))
            except (SyntaxError, ValueError):  # another package's file
                return None
    return None


Definition = ast.ClassDef | ast.FunctionDef


def find(module: Module, name: str, depth: int = 8) -> tuple[Module, Definition] | None:
    """Where a class or function is defined, followed through re-exports and aliases."""
    for node in _statements(module.tree.body):
        match node:
            case ast.ClassDef() | ast.FunctionDef() if node.name == name:
                return module, node
            case ast.Assign(targets=[ast.Name(id=alias)], value=ast.Name(id=other)) if alias == name and depth:
                return find(module, other, depth - 1)
            case ast.ImportFrom():
                for imported in node.names:
                    if (imported.asname or imported.name) == name and depth:
                        source = read_module(_absolute(module, node))
                        return find(source, imported.name, depth - 1) if source else None
    return None


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
    statements = [node for node in _statements(module.tree.body) if isinstance(node, ast.Import)]
    return any(alias.name == package and not alias.asname for node in statements for alias in node.names)


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


def lookup_in(module: Module, depth: int = 8) -> Lookup:
    """Resolve names as this module sees them: aliases and classes, here or in the modules it imports from."""

    def lookup(name: str) -> tuple[ast.expr, Lookup] | str | None:
        for node in _statements(module.tree.body):
            match node:
                case ast.ClassDef(name=found) if found == name:
                    return f"{module.name}.{name}"
                case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                    return value, lookup
                case ast.AnnAssign(target=ast.Name(id=found), value=ast.expr() as value) if found == name:
                    return value, lookup
                case ast.ImportFrom() if depth:
                    for imported in node.names:
                        if (imported.asname or imported.name) == name:
                            return _imported(module, node, imported.name, depth)
        return None

    return lookup


def _imported(module: Module, node: ast.ImportFrom, name: str, depth: int) -> tuple[ast.expr, Lookup] | str | None:
    source_name = _absolute(module, node)
    if source_name.partition(".")[0] not in (module.name.partition(".")[0], "evqa"):
        return None
    source = read_module(source_name)
    return lookup_in(source, depth - 1)(name) if source else None


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = module.package.split(".")
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Top-level statements, those under `if TYPE_CHECKING:` and `try:` included."""
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            yield from _statements(node.body)
        else:
            yield node


def _public_names(module: Module) -> list[str]:
    names = [node.name for node in _statements(module.tree.body) if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    return [name for name in names if not name.startswith("_")]
