import numpy as np
import pytest

from evqa.datasets.copies import MAX_DIFFERENT, NO_HASH, alike, visual_hash
from evqa.datasets.manifest import check_files
from evqa.datasets.snapugc import SnapUGC
from evqa.errors import AnnotationError
from evqa.media.encode import write_clip
from evqa.media.limits import Limits


def film(folder, name, *, seed, larger=1, lighter=0):
    """A moving texture, as it is or as a copy of other size and brightness."""
    draw = np.random.default_rng(seed)
    picture_HWC = np.kron(draw.integers(20, 200, (9, 9, 3)), np.ones((8, 8, 1)))
    frames_FHWC = np.stack([np.roll(picture_HWC, 2 * step, axis=0)[:64, :64] for step in range(8)]) + lighter
    frames_FHWC = frames_FHWC.repeat(larger, axis=1).repeat(larger, axis=2).astype(np.uint8)
    path = folder / f"{name}.mp4"
    write_clip(path, frames_FHWC=frames_FHWC, fps=8, waveform_S=np.zeros(1600, dtype=np.float32))
    return path


def test_copies_of_another_size_look_alike_and_other_videos_do_not(tmp_path):
    films = [film(tmp_path, f"film{seed}", seed=seed) for seed in range(12)]
    copies = [film(tmp_path, f"copy{seed}", seed=seed, larger=3, lighter=8) for seed in (2, 7)]
    groups = alike({str(path): visual_hash(path, Limits()) for path in [*films, *copies]})
    names = [{path for path in groups if groups[path] == group} for group in sorted(set(groups.values()))]
    assert names == [{str(films[2]), str(copies[0])}, {str(films[7]), str(copies[1])}]


def test_black_videos_are_no_copies_of_each_other(tmp_path):
    for name in ("a", "b"):
        black = np.zeros((8, 64, 64, 3), dtype=np.uint8)
        write_clip(tmp_path / f"{name}.mp4", frames_FHWC=black, fps=8, waveform_S=np.zeros(1600, dtype=np.float32))
        assert visual_hash(tmp_path / f"{name}.mp4", Limits()) == NO_HASH
    assert alike({"a": NO_HASH, "b": NO_HASH, "c": ""}) == {}


def test_hashes_are_alike_up_to_a_number_of_bits_wherever_they_are():
    draw = np.random.default_rng(0)
    bits = draw.integers(0, 2, (40, 216), dtype=np.uint8)
    bits[1::2] = bits[::2]
    for place, row in enumerate(bits[1::2]):  # every second pair differs in one bit too many
        row[draw.permutation(216)[: MAX_DIFFERENT + place % 2]] ^= 1
    groups = alike({f"{place:02}": np.packbits(row).tobytes().hex() for place, row in enumerate(bits)})
    pairs = [(place, place + 1) for place in range(0, 40, 4)]
    assert groups == {f"{place:02}": f"{pair[0]:02}" for pair in pairs for place in pair}


def test_near_copies_stay_on_one_side_once_the_files_were_hashed(tmp_path):
    for seed in range(6):
        film(tmp_path, f"film{seed}", seed=seed)
    film(tmp_path, "copy", seed=3, larger=2)
    rows = "".join(f"film{seed},0.{seed},,\n" for seed in range(6))
    (tmp_path / "train.csv").write_text(f"Id,ECR,Title,Description\n{rows}")
    (tmp_path / "val.csv").write_text("Id,ECR,Title,Description\ncopy,0.3,,\n")
    given = {"csv": str(tmp_path / "train.csv"), "val_csv": str(tmp_path / "val.csv"), "videos": str(tmp_path)}
    data = SnapUGC(**given, prepared=str(tmp_path / "prepared"), copies="near", overlap="drop")
    with pytest.raises(AnnotationError, match=r"data.copies=near: 7 of 7 files have no visual hash .*evqa.prepare"):
        data.load()
    manifest = data.prepared_folder() / "manifest.csv"
    check_files(data.read().splits, manifest=manifest, hashed=True)
    with pytest.raises(AnnotationError, match="7 of 7 files"):
        data.load()
    check_files(data.read().splits, manifest=manifest, hashed=True, visually_hashed=True)
    loaded = data.load()
    assert [failure.id for failure in loaded.dropped] == ["film3"]
    assert "same as that of copy in the val table" in loaded.dropped[0].reason
    assert len(loaded.splits["train"]) == 5
    folds = SnapUGC(**{**given, "val_csv": None}, prepared=str(tmp_path / "prepared"), folds=2, fold=0)
    assert len(folds.load().records) == 6
