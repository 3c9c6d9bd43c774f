"""What tells settings apart in pictures: colours that belong to the modalities, and others for all other settings.

The colours are those of Okabe and Ito (2008) and three more, far enough apart for people with any common colour
blindness. Where settings share a colour, marker and line differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evqa.reporting.study import Setting

INK = "#1f2430"
OF_MODALITY = {"av": "#0072B2", "v": "#D55E00", "a": "#009E73"}
OTHERS = ("#CC79A7", "#E69F00", "#56B4E9", "#882255", "#B15928", "#A50026")
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES: tuple[Any, ...] = ("-", "--", "-.", (0, (6, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 0.6)))


@dataclass(frozen=True, kw_only=True)
class SettingStyle:
    """How a setting is drawn, in Matplotlib's words."""

    colour: str
    marker: str
    line: Any


def styles(settings: Sequence[Setting], shown: Sequence[Setting]) -> dict[str, SettingStyle]:
    """The style of every setting, by name. shown: those that all pictures show, as many as there are markers at most.

    A setting has its modality's colour where settings differ in it, or where it is the only one.
    """
    modalities = {one.name: _modality(one) for one in settings}
    tells_apart = len(set(modalities.values())) > 1 or len(settings) == 1
    own = {name: OF_MODALITY[each] for name, each in modalities.items() if tells_apart and each in OF_MODALITY}
    others, used = iter(OTHERS), Counter[str]()
    found = {one.name: SettingStyle(colour=own.get(one.name, INK), marker="o", line="-") for one in settings}
    for one, marker in zip(shown, MARKERS, strict=False):
        colour = own.get(one.name) or next(others)
        found[one.name] = SettingStyle(colour=colour, marker=marker, line=LINES[used[colour]])
        used[colour] += 1
    return found


def _modality(setting: Setting) -> str:
    node = setting.runs[0].config.get("modal")
    return str(node.get("name") if isinstance(node, Mapping) else node)
