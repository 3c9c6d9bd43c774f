"""A place for modules that exist only as text, as if they lay in the package."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from textwrap import dedent

import pytest

import evqa

numbers = count()


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Write a module's source and get its dotted name; importing it would fail, so that only its text can be used."""

    def write(source: str) -> str:
        name = f"toy{next(numbers)}"
        (tmp_path / f"{name}.py").write_text(dedent(source) + "\nraise ImportError\n")
        return f"evqa.{name}"

    evqa.__path__.append(str(tmp_path))
    yield write
    evqa.__path__.remove(str(tmp_path))
