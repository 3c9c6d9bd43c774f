"""What the model saw and heard of a file."""

from __future__ import annotations

from torch import Tensor

from evqa.types import SAMPLE_RATE_HZ, Clip
from evqa.web.fragments import Markup, alone, heat_uri, jpeg_uri, tag, wave_svg

MOST_FRAMES = 64  # that are shown


def clip_view(clip: Clip, waveform_S: Tensor | None) -> Markup:
    """Show the frames with their times, the sound's waveform and its filter bank."""
    return tag("div", _frames(clip), _sound(clip, waveform_S), class_="evqa-seen")


def _frames(clip: Clip) -> Markup:
    if clip.frames_FHWC is None or clip.seconds_F is None:
        return tag("p", "No picture was read.")
    times = clip.seconds_F.tolist()
    figures = [
        tag(
            "figure",
            alone("img", src=jpeg_uri(frame_HWC), alt=f"frame {number} of {len(times)}"),
            tag("figcaption", f"{seconds:.2f} s" if clip.image is None else ("all of it", "a tile")[number > 1]),
        )
        for number, (frame_HWC, seconds) in enumerate(zip(clip.frames_FHWC[:MOST_FRAMES], times, strict=False), 1)
    ]
    rest = f" (the first {MOST_FRAMES} are shown)" if len(times) > MOST_FRAMES else ""
    motion = "" if clip.motion is None else f" Beside them {clip.motion.num_frames} frames of motion."
    heading = tag("p", f"{len(times)} frames that the model saw{rest}, with the times at which they come up.{motion}")
    return tag("section", heading, tag("div", *figures, class_="evqa-frames"))


def _sound(clip: Clip, waveform_S: Tensor | None) -> Markup:
    pictures = []
    if waveform_S is not None and len(waveform_S):
        label = f"Waveform of the {len(waveform_S) / SAMPLE_RATE_HZ:.1f} s of sound that the model was given."
        pictures += [tag("p", label), wave_svg(waveform_S, label=label)]
    if clip.fbank_RM is not None and len(clip.fbank_RM):
        label = "It was given them as this filter bank, low tones at the bottom."
        pictures += [tag("p", label), alone("img", src=heat_uri(clip.fbank_RM.T), alt=label, class_="evqa-fbank")]
    return tag("section", *(pictures or [tag("p", "No sound was read.")]))
