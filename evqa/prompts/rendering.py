"""A conversation as a person reads it: what is learned stands out, media are counts.

The idea is nanochat's (`visualize_tokenization`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from rich.text import Text

from evqa.prompts.chat import IGNORED, Encoded

LEARNED = "green"  # style of the tokens that are targets
MEDIA_STYLE = "cyan"


def rendered(encoded: Encoded, spell: Callable[[Sequence[int]], str], media: Sequence[str], *, colours: bool) -> Text:
    """Write a conversation out. Negative ids are places of media, which `media` describes in their order.

    colours: learned tokens are green; without them they stand in `[learned: ...]`.
    """
    descriptions, text = iter(media), Text()
    for (is_media, is_learned), tokens in groupby(_marked(encoded), key=lambda marked: marked[1:]):
        ids = [token for token, *_ in tokens]
        if is_media:
            text.append("".join(f"<{next(descriptions)}>" for _ in ids), style=MEDIA_STYLE if colours else "")
        elif not is_learned:
            text.append(spell(ids))
        else:
            text.append(spell(ids) if colours else f"[learned: {spell(ids)}]", style=LEARNED if colours else "")
    return text


def _marked(encoded: Encoded) -> Iterator[tuple[int, bool, bool]]:
    """Yield every token with whether it is a place of media, and whether it is learned; the last target comes last."""
    learned = [False, *(target != IGNORED for target in encoded.targets)]
    ids = [*encoded.ids, *(target for target in encoded.targets[-1:] if target != IGNORED)]
    return ((token, token < 0, is_learned) for token, is_learned in zip(ids, learned, strict=False))
