"""Sweeps of a toy."""

import pytest

from tests.sweeps.toys import Toy


@pytest.fixture
def toy(tmp_path):
    return Toy(tmp_path)
