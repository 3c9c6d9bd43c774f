"""The tree in docs/architecture.md, written from the modules' own first sentences: python -m tests.architecture."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/architecture.md"
BEGIN, END = "<!-- tree: python -m tests.architecture -->\n```\n", "```\n<!-- end of tree -->"
WIDTH, INDENT = 36, "  "
LONGEST = 130


def first_sentence(path):
    """The first line of a module's docstring, as far as it is one sentence."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    line = text.splitlines()[0].rstrip(".") if text else ""
    return line if len(line) + WIDTH <= LONGEST else line[: LONGEST - WIDTH - 4].rsplit(" ", 1)[0] + " ..."


def entries(folder, depth=0):
    """Lines of a folder: its files, then its folders."""
    yield f"{INDENT * depth}{folder.name}/", first_sentence(folder / "__init__.py")
    children = sorted(path for path in folder.iterdir() if path.name not in ("__pycache__", "__init__.py"))
    for path in (path for path in children if path.suffix == ".py"):
        yield f"{INDENT * (depth + 1)}{path.name}", first_sentence(path)
    for path in (path for path in children if (path / "__init__.py").is_file()):
        yield from entries(path, depth + 1)


def tree():
    return "".join(f"{name:<{WIDTH}}{sentence}".rstrip() + "\n" for name, sentence in entries(ROOT / "evqa"))


def written():
    """The tree as the page has it."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + tree() + END + rest.partition(END)[2], encoding="utf-8")
