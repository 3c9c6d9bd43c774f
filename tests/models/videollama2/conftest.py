import pytest
import torch

from evqa.models.videollama2 import model
from tests.models.videollama2 import reference


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A checkpoint folder in the published layout with the reference weights."""
    return reference.write_checkpoint(tmp_path_factory.mktemp("videollama2") / "checkpoint")


@pytest.fixture(scope="session")
def twin(folder):
    """The small model with vision and audio, exactly as the original."""
    return reference.build(folder, "av")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def pixels_given(monkeypatch):
    """The reference inputs hold pixel values, not frames."""
    monkeypatch.setattr(model, "normalise", lambda pixels: pixels)
