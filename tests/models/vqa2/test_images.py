"""Still images: grid and tokens are those of transformers' LLaVA-OneVision; what the exact mode leaves out."""

import json

import pytest
import torch
from transformers.image_processing_utils import select_best_resolution

from evqa.errors import PromptError
from evqa.media.image import Tiling
from evqa.models.hub import find_checkpoint
from evqa.models.vqa2.dims import GRIDS, read_dims
from evqa.models.vqa2.images import num_image_tokens
from evqa.types import Clip, ImageGrid
from tests.models.vqa2 import reference

ODD = [(1, 1), (2, 2), (1, 5000), (30_000, 1), (3, 1000), (10, 4000), (2520, 700), (3024, 4032), (1080, 1920)]


def sizes(number):
    """Heights and widths: usual ones, odd ones, and 1 to 4096 evenly over their logarithms."""
    exponents = 12 * torch.rand(number, 2, generator=torch.Generator().manual_seed(5))
    return [*ODD, *((int(2**height), int(2**width)) for height, width in exponents.tolist())]


def a_grid(height, width, *, side, grids=GRIDS):
    rows, columns = Tiling(size=side, grids=grids).best(height, width)
    return ImageGrid(rows=rows, columns=columns, height=height, width=width)


@pytest.fixture(scope="module")
def models():
    """Two models with the same weights, by whether they are exact."""
    return {exact: reference.build_random(exact=exact) for exact in (False, True)}


@pytest.mark.parametrize("grids", [GRIDS, ((1, 2), (2, 1), (3, 1))])
def test_the_grid_is_transformers(grids):
    points = [[rows * 384, columns * 384] for rows, columns in grids]
    for size in sizes(400):
        found = a_grid(*size, side=384, grids=grids)
        assert (found.rows * 384, found.columns * 384) == select_best_resolution(size, points), size


def test_as_many_tokens_are_counted_as_transformers_packs(models):
    body, side = models[False].body, models[False].dims.vision.patches_per_side
    for height, width in sizes(150):
        grid = a_grid(height, width, side=56)
        tiles = torch.zeros(1 + grid.rows * grid.columns, side**2, 1)
        (packed,), _ = body.pack_image_features([tiles], torch.tensor([[height, width]]), image_newline=torch.ones(1))
        assert num_image_tokens(grid, side, overview=True) == len(packed), (height, width)
        assert num_image_tokens(grid, side, overview=False) == len(packed) - side**2


@torch.no_grad()
def test_the_exact_mode_drops_the_overview_and_nothing_else(models):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (130, 100, 3), dtype=torch.uint8, generator=generator)
    tiles, grid = models[True].preparer.clip.image.cut(pixels)
    pixels_NCHW = tiles.permute(0, 3, 1, 2) / 127.5 - 1
    mended, exact = (models[exact].encode_image(pixels_NCHW, height=130, width=100) for exact in (False, True))
    assert torch.equal(exact, mended[models[True].dims.vision.num_patches :])
    clip = Clip(frames_FHWC=tiles, image=grid)
    assert [models[exact].preparer.counts.picture(clip) for exact in (False, True)] == [len(mended), len(exact)]


@pytest.mark.parametrize(("rows", "columns", "height", "width"), [(2, 6, 1, 5000), (6, 2, 5000, 1)])
def test_an_image_of_which_no_patch_is_left_is_refused(models, rows, columns, height, width):
    grid = ImageGrid(rows=rows, columns=columns, height=height, width=width)
    clip = Clip(frames_FHWC=torch.zeros(1 + rows * columns, 56, 56, 3, dtype=torch.uint8), image=grid)
    with pytest.raises(PromptError, match=f"the image of {width}x{height} pixels is too narrow: no row or column"):
        models[False].preparer.counts.picture(clip)


def test_a_checkpoint_names_the_width_of_a_grid_first(models, tmp_path):
    config = models[False].dims.to_config()
    assert config["image_grid_pinpoints"][:2] == [[56, 56], [56, 112]]
    config["image_grid_pinpoints"] = [[56, 112], [168, 56]]
    (tmp_path / "config.json").write_text(json.dumps(config))
    checkpoint = find_checkpoint(str(tmp_path), revision=None, weights=False)
    assert read_dims(checkpoint).grids == ((2, 1), (1, 3))
