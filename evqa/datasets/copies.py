"""Which videos look the same: copies of one another that were encoded, scaled or packed anew.

Their visual hash is of three frames, spread over the whole video and shrunk to 9 x 9: a bit is 1 where brightness
rises from left to right (the difference hash of N. Krawetz, 2013). It survives another codec, bit rate, size and
container; it does not survive a cut at another place, a crop, a mirror or a change of speed.

# N hashes, F frames, H, W height and width
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from evqa.media.limits import Limits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NO_HASH = "-"  # of a file without picture, and of one whose frames are empty: those of black videos are all alike
MAX_DIFFERENT = 12  # bits of 216
_RISE = 2.0  # grey levels; less is noise of the encoder
_CONTRAST = 24.0  # grey levels between the darkest and the brightest part of a frame that shows something
_BAND_BYTES = 2


def visual_hash(path: Path, limits: Limits) -> str:
    """Return the visual hash of a video, 216 bits as hexadecimal text, or NO_HASH. Raises MediaError."""
    # Here, because they take seconds to import and most processes that look into files do not need them.
    import numpy as np

    from evqa.media.clip import ClipSpec, FrameStream, read_clip
    from evqa.media.resize import Resize
    from evqa.media.sampling import FrameSampling

    stream = FrameStream(sampling=FrameSampling(policy="uniform", count=3), resize=Resize(mode="square", size=9))
    frames_FHWC = read_clip(path, ClipSpec(frames=stream, limits=limits)).frames_FHWC
    assert frames_FHWC is not None
    grey_FHW = frames_FHWC.float().mean(-1)
    contrasts_F = grey_FHW.amax((1, 2)) - grey_FHW.amin((1, 2))
    if (contrasts_F < _CONTRAST).any():
        return NO_HASH
    rises_FHW = (grey_FHW[:, :, 1:] - grey_FHW[:, :, :-1] > _RISE).numpy()
    return np.packbits(rises_FHW).tobytes().hex()


def alike(hashes: Mapping[str, str]) -> dict[str, str]:
    """Name the group of every path whose visual hash is nearly that of another; the name is the group's first path.

    Two hashes that differ in few bits agree wholly in at least one band of 16 bits, so only those are compared.
    """
    paths = sorted(path for path, bits in hashes.items() if bits not in ("", NO_HASH))
    if not paths:
        return {}
    import numpy as np

    hashes_NB = np.array([list(bytes.fromhex(hashes[path])) for path in paths], dtype=np.uint8)
    first = list(range(len(paths)))

    def root(place: int) -> int:
        while first[place] != place:
            first[place] = first[first[place]]
            place = first[place]
        return place

    for one, other in _pairs(hashes_NB):
        low, high = sorted((root(one), root(other)))
        first[high] = low
    groups = defaultdict[int, list[str]](list)
    for place, path in enumerate(paths):
        groups[root(place)].append(path)
    return {path: paths[head] for head, members in groups.items() if len(members) > 1 for path in members}


def _pairs(hashes_NB: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """Yield pairs of places whose hashes differ in at most MAX_DIFFERENT bits."""
    import numpy as np

    for band in range(MAX_DIFFERENT + 1):
        buckets = defaultdict[bytes, list[int]](list)
        for place, bits in enumerate(hashes_NB[:, band * _BAND_BYTES : (band + 1) * _BAND_BYTES]):
            buckets[bits.tobytes()].append(place)
        for places in map(np.array, buckets.values()):
            for at, place in enumerate(places[:-1]):
                different_N = np.bitwise_count(hashes_NB[places[at + 1 :]] ^ hashes_NB[place]).sum(1)
                yield from ((int(place), int(other)) for other in places[at + 1 :][different_N <= MAX_DIFFERENT])
