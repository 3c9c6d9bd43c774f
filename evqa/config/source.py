"""Source files as text: find a module, what it defines, and what its names stand for, without importing it.

Importing a model costs seconds (torch, transformers); its source is parsed in milliseconds.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from evqa.config.annotations import Lookup


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
    for node in statements(module.tree.body):
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


def lookup_in(module: Module, depth: int = 8) -> Lookup:
    """Resolve names as this module sees them: aliases and classes, here or in the modules it imports from."""

    def lookup(name: str) -> tuple[ast.expr, Lookup] | str | None:
        for node in statements(module.tree.body):
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


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Top-level statements, those under `if TYPE_CHECKING:` and `try:` included."""
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            yield from statements(node.body)
        else:
            yield node


def public_names(module: Module) -> list[str]:
    """Classes and functions of a module, in order."""
    names = [node.name for node in statements(module.tree.body) if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    return [name for name in names if not name.startswith("_")]
