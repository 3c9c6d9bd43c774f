"""Pieces of HTML. Whatever came from outside is escaped here, and nowhere else is HTML written."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evqa.files.progress import Standing

THUMBNAIL_HEIGHT = 120
WORDS_LENGTH = 40  # from which on a cell is given room on narrow screens
SORTING = (Path(__file__).parent / "sorting.js").read_text(encoding="utf-8")  # of a gr.HTML that holds tables


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, *content: str, **attributes: str) -> Markup:
    """Write an element; text that is no `Markup` is escaped. `class_` is written class, `aria_label` aria-label."""
    names = {key: key.rstrip("_").replace("_", "-") for key in attributes}
    written = "".join(f' {names[key]}="{escape(as_unicode(value))}"' for key, value in attributes.items())
    return Markup(f"<{name}{written}>{''.join(map(markup, content))}</{name}>")


def markup(text: str) -> str:
    """Escape what is no `Markup`."""
    return text if isinstance(text, Markup) else escape(as_unicode(text))


def as_unicode(text: str) -> str:
    r"""Write a byte of a name that is not UTF-8 as `\udce9`: no browser could be sent it."""
    return text.encode("utf-8", "backslashreplace").decode()


def alone(name: str, **attributes: str) -> Markup:
    """Write an element without content, as `img`."""
    return Markup(tag(name, **attributes).removesuffix(f"</{name}>"))


def error_box(sentences: str | Sequence[str]) -> Markup:
    """What went wrong, in the words of the command line; read out at once by a screen reader."""
    lines = [sentences] if isinstance(sentences, str) else sentences
    return tag("div", *(tag("p", line) for line in lines), class_="evqa-error", role="alert")


def progress_bar(standing: Standing, *, about: str) -> Markup:
    """Show how far something is. about: what is counted, for a screen reader."""
    bar = tag("progress", value=f"{standing.share:.4f}", aria_label=about)
    return tag("p", bar, f" {standing}", class_="evqa-progress", role="status")


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str, sorts: bool = False) -> Markup:
    """Write a table whose first column names the row. sorts: by a column when its header is pressed (`SORTING`)."""
    names = [tag("button", cell, type="button") for cell in header] if sorts else header
    head = tag("tr", *(tag("th", name, scope="col") for name in names))
    body = [tag("tr", tag("th", row[0], scope="row"), *map(_cell, row[1:])) for row in rows]
    inner = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body))
    return tag("div", inner, class_="evqa-scroll", tabindex="0", role="region", aria_label=caption)


def _cell(text: str) -> Markup:
    return tag("td", text, class_="evqa-words") if len(text) > WORDS_LENGTH else tag("td", text)


def jpeg_uri(frame_HWC: Tensor, *, height: int = THUMBNAIL_HEIGHT) -> str:
    """Return a uint8 frame as a small picture that stands in the page itself."""
    from PIL import Image

    image = Image.fromarray(frame_HWC.numpy())
    image.thumbnail((4 * height, height))
    file = io.BytesIO()
    image.save(file, "jpeg", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def heat_uri(values_RC: Tensor) -> str:
    """Return a matrix as a picture, low dark and high bright, rows upwards."""
    import matplotlib as mpl
    from PIL import Image

    span = float(values_RC.max() - values_RC.min()) or 1.0
    unit_RC = ((values_RC - values_RC.min()) / span).flip(0).numpy()
    colours = (mpl.colormaps["viridis"](unit_RC)[..., :3] * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(colours).save(file, "png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def wave_svg(waveform_S: Tensor, *, label: str, columns: int = 600) -> Markup:
    """Draw a waveform as the extent of each of its parts."""
    parts = waveform_S.tensor_split(min(columns, max(1, len(waveform_S))))
    low, high = (torch.stack([reduce(part) for part in parts]) for reduce in (torch.min, torch.max))
    lines = "".join(
        f"M{x} {50 - 48 * float(top):.1f}V{50 - 48 * float(bottom):.1f}"
        for x, (bottom, top) in enumerate(zip(low, high, strict=True))
    )
    path = tag("path", d=lines, stroke="currentColor", fill="none")
    return tag(
        "svg", path, viewBox=f"0 0 {len(parts)} 100", preserveAspectRatio="none", role="img", aria_label=label,
        class_="evqa-wave",
    )  # fmt: skip
