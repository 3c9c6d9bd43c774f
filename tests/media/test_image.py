"""Still images: whole, in tiles, damaged, enormous."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from evqa.errors import ConfigError, MediaError
from evqa.media.audio import AudioWindow
from evqa.media.cache import CachedReader, CacheSettings
from evqa.media.clip import ClipSpec, FrameStream, read_clip
from evqa.media.decoding import decode_isolated
from evqa.media.image import Tiling
from evqa.media.probe import probe
from evqa.media.resize import Resize
from evqa.media.sampling import FrameSampling
from evqa.types import ImageGrid

NATIVE = Resize(mode="native")
ONE = ClipSpec(frames=FrameStream(sampling=FrameSampling(policy="each_second"), resize=NATIVE))
TILED = ClipSpec(image=Tiling(size=16, grids=((1, 2), (2, 1), (2, 2)), exact=True))
ONE_FRAME = "the file is a still image; it is taken as a video of one frame"


def pattern(height: int = 20, width: int = 30) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def save(tmp_path: Path):
    def save(name: str, pixels: np.ndarray | None = None, *, mode: str | None = None, **how: object) -> Path:
        image = Image.fromarray(pattern() if pixels is None else pixels)
        (image if mode is None else image.convert(mode)).save(tmp_path / name, **how)
        return tmp_path / name

    return save


def png(path: Path, *, width: int, height: int, bits: int, data: bytes) -> Path:
    """Write an RGB file whose header may say anything."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


@pytest.mark.parametrize(
    ("name", "how"), [("a.png", {}), ("a.webp", {"lossless": True}), ("no.xyz", {"format": "PNG"})]
)
def test_an_image_is_a_video_of_one_frame_whatever_its_name(save, name, how):
    clip = read_clip(save(name, **how), ONE)
    assert np.array_equal(clip.frames_FHWC.numpy(), pattern()[None])
    assert (clip.seconds_F.tolist(), clip.seconds, clip.num_frames, clip.image) == ([0.0], 0.0, 1, None)
    assert clip.missing == (ONE_FRAME,)


def test_a_jpeg_is_decoded_as_pillow_does(save):
    path = save("a.jpg")
    assert np.array_equal(read_clip(path, ONE).frames_FHWC[0].numpy(), np.asarray(Image.open(path)))


def test_a_count_of_frames_repeats_the_image_and_a_lack_of_sound_and_motion_is_said(save):
    spec = ClipSpec(
        frames=FrameStream(sampling=FrameSampling(), resize=Resize(size=8)),
        motion=FrameStream(sampling=FrameSampling(policy="all", multiple_of=4)),
        audio=AudioWindow(),
    )
    clip = read_clip(save("a.png"), spec)
    assert clip.frames_FHWC.shape == (8, 8, 8, 3)
    assert (clip.motion, clip.waveform_S) == (None, None)
    assert clip.missing == (
        "no motion: the file is a still image",
        ONE_FRAME,
        "no audio track: the file is a still image",
    )


def test_the_camera_s_orientation_is_honoured(save):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    clip = read_clip(save("a.png", exif=exif), ONE)
    assert np.array_equal(clip.frames_FHWC[0].numpy(), np.rot90(pattern(), -1))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK", "RGBA"])
def test_other_colour_models_become_rgb(save, mode):
    path = save("a.jpg" if mode == "CMYK" else "a.png", mode=mode)
    assert np.array_equal(read_clip(path, ONE).frames_FHWC[0].numpy(), np.asarray(Image.open(path).convert("RGB")))


def test_sixteen_bits_of_grey_keep_their_upper_half(save):
    grey = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30) * 109
    frame_HWC = read_clip(save("a.png", grey), ONE).frames_FHWC[0].numpy()
    assert np.array_equal(frame_HWC, np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2))


def test_sixteen_bits_of_colour_keep_their_upper_half(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 1 << 16, (20, 30, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    path = png(tmp_path / "a.png", width=30, height=20, bits=16, data=rows)
    assert np.array_equal(read_clip(path, ONE).frames_FHWC[0].numpy(), (pixels >> 8).astype(np.uint8))


def test_what_is_left_out_is_said(save):
    clear = np.concatenate([pattern(), np.zeros((20, 30, 1), np.uint8)], axis=2)
    assert "the image's transparency is left out" in read_clip(save("a.png", clear), ONE).missing
    frames = [Image.fromarray(pattern() + shift) for shift in (0, 1)]
    animated = save("b.png", save_all=True, append_images=frames[1:])
    clip = read_clip(animated, ONE)
    assert "the image is animated; its first picture is taken" in clip.missing
    assert np.array_equal(clip.frames_FHWC[0].numpy(), pattern())
    stereo = save("c.jpg", format="MPO", save_all=True, append_images=frames[1:])
    assert read_clip(stereo, ONE).missing[0].startswith("the file holds further pictures (as some cameras add them)")


# ---- tiles


def test_tiles_are_the_overview_and_then_row_by_row(save):
    path = save("a.png", pattern(32, 32))
    clip = read_clip(path, TILED)
    assert clip.image == ImageGrid(rows=2, columns=2, height=32, width=32)
    pixels = torch.from_numpy(pattern(32, 32))
    expected = [pixels[:16, :16], pixels[:16, 16:], pixels[16:, :16], pixels[16:, 16:]]
    assert torch.equal(clip.frames_FHWC[1:], torch.stack(expected))
    assert torch.equal(clip.frames_FHWC[0], Resize(size=16, exact=True).apply(pixels))
    assert clip.seconds_F.tolist() == [0.0] * 5
    assert clip.missing == ()


def test_an_image_of_another_shape_lies_in_the_middle_of_black(save):
    clip = read_clip(save("a.png", np.full((8, 32, 3), 200, np.uint8)), TILED)
    assert clip.image == ImageGrid(rows=1, columns=2, height=8, width=32)
    rows = clip.frames_FHWC[1:].float().mean((0, 2, 3))
    assert rows.tolist() == [0.0] * 4 + [200.0] * 8 + [0.0] * 4


def test_frames_of_videos_are_read_although_images_are_to_be_cut(make_video, save):
    both = dataclasses.replace(ONE, image=TILED.image)
    assert read_clip(make_video(), both).image is None
    assert read_clip(save("a.png"), both).image is not None
    assert read_clip(save("a.gif"), both).missing == ("a GIF is read as a video, not as a still image",)


def test_the_grid_is_chosen_as_published(vqa2):
    for row in json.loads((vqa2 / "tables.json").read_text())["anyres_best_resolution"]:
        width, height = row["size_wh"]
        size = row["best_resolution_wh"][0] // row["grid_wh"][0]
        assert list(Tiling(size=size).best(height, width)[::-1]) == row["grid_wh"], row


def test_tiles_are_vqa2s(vqa2, save):
    raw, pixels = np.load(vqa2 / "raw_frames.npz"), np.load(vqa2 / "pixels_u8.npz")
    cases = [case for case in json.loads((vqa2 / "cases.json").read_text()).values() if "tiles_key" in case]
    assert cases
    for case in cases:
        expected = pixels[case["tiles_key"]]
        path = save(f"{case['tiles_key']}.png", raw[case["tiles_key"].removesuffix("_tiles")])
        clip = read_clip(path, ClipSpec(image=Tiling(size=expected.shape[-1], exact=True)))
        assert np.array_equal(clip.frames_FHWC.permute(0, 3, 1, 2).numpy(), expected)
        assert [clip.image.width, clip.image.height] == case["image_size_wh"]
        assert clip.image.rows * clip.image.columns + 1 == case["num_tiles_incl_base"]
        quick = read_clip(path, ClipSpec(image=Tiling(size=expected.shape[-1])))
        difference = (quick.frames_FHWC.int() - clip.frames_FHWC.int()).abs().float()
        assert difference.mean() < 0.1


def test_tiles_at_the_published_size_are_vqa2s(vqa2, save):
    tensors = load_file(vqa2 / "preprocess_384.safetensors")
    expected = tensors["anyres_still_384_slice"]
    path = save("still.png", np.load(vqa2 / "raw_frames.npz")["still"])
    tiles = read_clip(path, ClipSpec(image=Tiling(exact=True))).frames_FHWC
    found = ((tiles / 255 - 0.5) / 0.5).permute(0, 3, 1, 2)
    step = found.shape[-1] // expected.shape[-1]
    assert len(found) == len(expected)
    assert (found[:, :, ::step, ::step] - expected).abs().max() < 2e-6
    assert torch.allclose(found.mean((2, 3)).double(), tensors["anyres_still_384_tile_mean"].double(), atol=1e-5)


def test_a_tiling_without_grids_is_refused():
    with pytest.raises(ConfigError, match=r"image.grids=\[\]: give at least one \[rows, columns\], each at least 1"):
        Tiling(grids=())
    assert Tiling(grids=[[1, 2]]).grids == ((1, 2),)


# ---- through processes and the cache


@pytest.mark.parametrize("spec", [ONE, TILED], ids=["whole", "tiles"])
def test_a_process_of_its_own_and_the_cache_give_the_same_image(save, tmp_path, spec):
    path = save("a.png")
    reader = CachedReader(CacheSettings(folder=str(tmp_path / "cache")), spec)
    direct = read_clip(path, spec)
    for clip in (decode_isolated(path, spec), reader.read(path), reader.read(path)):
        assert torch.equal(clip.frames_FHWC, direct.frames_FHWC)
        assert torch.equal(clip.seconds_F, direct.seconds_F)
        assert (clip.image, clip.missing, clip.num_frames) == (direct.image, direct.missing, 1)


@pytest.mark.parametrize("image", [None, TILED.image], ids=["whole", "tiles"])
def test_a_cached_image_has_no_motion_either(save, tmp_path, image):
    motion = FrameStream(sampling=FrameSampling(policy="all", multiple_of=4))
    reader = CachedReader(
        CacheSettings(folder=str(tmp_path / "cache")), dataclasses.replace(ONE, motion=motion, image=image)
    )
    path = save("a.png")
    first, again = reader.read(path), reader.read(path)
    assert first.motion is again.motion is None
    assert again.missing == first.missing


# ---- hostile files


def bomb(path: Path, side: int) -> Path:
    """A PNG of one colour: some bytes that would fill the memory."""
    return png(path, width=side, height=side, bits=8, data=bytes(1000))


@pytest.mark.parametrize("side", [8200, 10_000, 60_000])
def test_a_size_bomb_is_refused_before_anything_is_allocated(tmp_path, side):
    said = rf"is a still image of {side}x{side} pixels, more than the 67108864 allowed|more pixels than Pillow decodes"
    with pytest.raises(MediaError, match=said):
        read_clip(bomb(tmp_path / "bomb.png", side), ONE)


@pytest.mark.parametrize(("width", "height"), [(1, 65_536), (1_000_000, 1)])
def test_a_side_that_is_too_long_is_refused(tmp_path, width, height):
    path = png(tmp_path / "long.png", width=width, height=height, bits=8, data=bytes((1 + 3 * width) * height))
    said = f"is a still image of {width}x{height} pixels, with a side of more than the 65535 allowed; scale it down"
    with pytest.raises(MediaError, match=said):
        read_clip(path, TILED)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (1, 30_000), (30_000, 1)])
def test_an_image_of_any_shape_becomes_tiles(save, shape):
    clip = read_clip(save("a.png", pattern(*shape)), TILED)
    assert (clip.image.height, clip.image.width) == shape
    assert len(clip.frames_FHWC) == 1 + clip.image.rows * clip.image.columns
    assert clip.frames_FHWC[1:].any()


OTHERS = {
    "a.bmp": "BMP", "a.tiff": "TIFF", "a.jp2": "JPEG 2000",
    b"\0\0\0\x18ftypavif": "AVIF", b"\0\0\0\x18ftypheic": "HEIC",
    b"#?RADIANCE\n": "Radiance HDR", b"\0\0\0\x0cJXL \r\n": "JPEG XL",
}  # fmt: skip


@pytest.mark.parametrize("written", OTHERS)
def test_images_of_other_formats_are_refused_by_name(save, tmp_path, written):
    if isinstance(written, str):
        path = save(written)
    else:
        path = tmp_path / "image"
        path.write_bytes(written.ljust(64, b"\0"))
    said = f"is a still image of the format {OTHERS[written]}, which is not read; convert it to PNG, JPEG or WebP"
    for read in (lambda path: read_clip(path, ONE), probe):
        with pytest.raises(MediaError, match=said):
            read(path)


def test_a_damaged_image_is_refused_in_a_sentence(save, tmp_path):
    for suffix in ("png", "jpg", "webp"):
        data = save(f"a.{suffix}").read_bytes()
        broken = tmp_path / f"broken.{suffix}"
        for end in (12, 20, 40, len(data) // 2):
            broken.write_bytes(data[:end])
            with pytest.raises(MediaError, match="is a still image that cannot be decoded; it is damaged or cut off"):
                read_clip(broken, ONE)
    with pytest.raises(MediaError, match="damaged or cut off"):
        read_clip(bomb(tmp_path / "short.png", 100), ONE)


def test_flipped_bytes_never_cost_more_than_a_sentence(save, tmp_path):
    draw = np.random.default_rng(3)
    for suffix in ("png", "jpg", "webp"):
        data = np.frombuffer(save(f"a.{suffix}").read_bytes(), np.uint8)
        for _ in range(60):
            changed = data.copy()
            places = draw.integers(12, len(data), 3)
            changed[places] = draw.integers(0, 256, 3)
            path = tmp_path / "flipped"
            path.write_bytes(changed.tobytes())
            with contextlib.suppress(MediaError):
                read_clip(path, ONE)


def test_an_image_is_no_sound(save):
    with pytest.raises(MediaError, match="is a still image, and no frames are asked for; give a video, or a sound"):
        read_clip(save("a.png"), ClipSpec(audio=AudioWindow()))
