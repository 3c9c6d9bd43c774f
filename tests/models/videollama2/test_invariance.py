"""The default mode: a score depends on the video alone, not on neighbours, padding or order."""

import pytest
import torch

from evqa.media.fbank import SILENCE
from evqa.media.sampling import FrameSampling
from evqa.models.base import BuildOptions
from evqa.models.videollama2.model import Videollama2
from evqa.types import Clip
from tests.asking import Answer, a_record, answers, prepare
from tests.models.videollama2 import reference

ALIKE = 1e-5
ANSWER = Answer(prefix="The engagement of the video is")


@pytest.fixture(scope="module", params=["sdpa", "eager"])
def model(request, folder):
    return reference.build(folder, exact=False, logits=True, attention=request.param)


@pytest.fixture(scope="module")
def head(model):
    head = reference.original_head(model)
    head.pooling = "masked"
    return head


def clip(*, frames=8, rows=0, seed=0, size=56):
    generator = torch.Generator().manual_seed(seed)
    fbank = torch.randn(rows, 128, generator=generator) * 4 + 12
    pixels = torch.randint(0, 256, (frames, size, size, 3), dtype=torch.uint8, generator=generator)
    return Clip(frames_FHWC=pixels if frames else None, fbank_RM=fbank if rows else None)


def item(model, clip, *, title="My dog", answer=ANSWER):
    return prepare(model.preparer, a_record(name="a", path="a.mp4", title=title), clip, answer)


@pytest.fixture(scope="module")
def items(model):
    size = model.dims.vision.image_size
    given = [(8, 103, "My dog"), (8, 798, "A much longer title than the other one"), (2, 40, ""), (0, 300, "blind"),
             (4, 0, "deaf"), (0, 0, "text"), (5, 7, "nearly silent")]  # fmt: skip
    return [item(model, clip(frames=f, rows=r, seed=f + r, size=size), title=title) for f, r, title in given]


@torch.no_grad()
def scores(model, head, items):
    return head(model(model.preparer.collate(items)))


def test_a_score_is_the_same_alone_with_longer_neighbours_and_in_any_order(model, head, items):
    alone = torch.cat([scores(model, head, [item]) for item in items])
    torch.testing.assert_close(scores(model, head, items), alone, atol=ALIKE, rtol=0)
    order = [3, 0, 6, 5, 1, 4, 2]
    torch.testing.assert_close(scores(model, head, [items[i] for i in order]), alone[order], atol=ALIKE, rtol=0)
    assert alone.std() > 1e-3, "the clips are told apart"


@torch.no_grad()
@pytest.mark.parametrize("filling", [SILENCE, 0.0, 20.0])
def test_padding_of_the_sound_never_changes_a_token(model, items, filling):
    (fbank,) = items[0]["fbanks"]
    longer = torch.cat([fbank, torch.full((400, 128), filling)])
    alone, padded = (model.encode_audio(value[None], [len(fbank)])[0] for value in (fbank, longer))
    assert len(alone) == len(fbank) // 16 * 8 == len(padded)
    torch.testing.assert_close(padded, alone, atol=ALIKE, rtol=0)


@torch.no_grad()
def test_the_audio_layers_attend_to_real_tokens_only(model, items):
    (fbank,) = items[1]["fbanks"]
    tokens = model.audio_tower(torch.nn.functional.pad(fbank, (0, 0, 0, 640))[None], torch.tensor([len(fbank) // 16]))[
        0
    ]
    alone = model.audio_tower(fbank[None])[0]
    torch.testing.assert_close(tokens[: len(alone)], alone, atol=ALIKE, rtol=0)


def test_tokens_stand_for_what_is_there(model, items):
    with torch.no_grad():
        outputs = [model(model.preparer.collate([item])) for item in items]
    words = [len(item["ids_T"]) for item in items]
    per_pair = model.mm_projector.num_tokens(2, model.dims.vision.num_patches)
    media = [output.mask_BT.sum().item() - count for output, count in zip(outputs, words, strict=True)]
    assert media == [
        4 * per_pair + 6 * 8,
        4 * per_pair + 49 * 8,
        per_pair + 2 * 8,
        18 * 8,
        2 * per_pair,
        0,
        3 * per_pair + 8,
    ]


@torch.no_grad()
def test_an_odd_last_frame_is_repeated_by_default_and_dropped_in_the_exact_mode(folder, model):
    shown = clip(frames=5, size=model.dims.vision.image_size)
    twice = Clip(frames_FHWC=torch.cat([shown.frames_FHWC, shown.frames_FHWC[-1:]]))
    four = Clip(frames_FHWC=shown.frames_FHWC[:4])
    exact = reference.build(folder, "v", exact=True)
    for made, odd, even in ((model, shown, twice), (exact, shown, four)):
        hidden = [made(made.preparer.collate([item(made, frames)])).hidden_BTD for frames in (odd, even)]
        torch.testing.assert_close(hidden[0], hidden[1], atol=ALIKE, rtol=ALIKE)


@pytest.mark.parametrize(("exact", "words"), [(False, "repeats the last one"), (True, "drops the last one")])
def test_an_odd_frame_count_is_announced(exact, words):
    asked = BuildOptions(frames=FrameSampling(count=5), audio=None)
    with pytest.warns(UserWarning, match=f"frames.count=5: the connector takes frames in pairs and {words}"):
        Videollama2(asked, size="tiny", dtype="float32", exact=exact)


def test_the_older_connector_needs_no_pairs(recwarn):
    from evqa.models.videollama2.connector import Connector

    connector = Connector(8, 12, padding=1, depth=1)
    for value in connector.parameters():
        torch.nn.init.normal_(value, std=0.1)
    assert connector(torch.randn(2, 5, 9, 8)).shape == (2, connector.num_tokens(5, 9), 12) == (2, 3 * 2 * 2, 12)


def test_answers_do_not_depend_on_neighbours_or_targets(model, items):
    together = answers(model, model.preparer.collate(items), 6)
    assert together == [answers(model, model.preparer.collate([item]), 6)[0] for item in items]
    size = model.dims.vision.image_size
    asked = Answer(prefix=ANSWER.prefix, target=" good")
    learned = item(model, clip(frames=8, rows=103, seed=111, size=size), answer=asked)
    assert answers(model, model.preparer.collate([learned]), 6) == together[:1]


@torch.no_grad()
def test_greedy_answers_follow_the_logits_step_by_step(model, items):
    batch = model.preparer.collate(items[:1])
    spliced = model.sequence(batch)
    output = model(batch)
    embeds, ids = spliced.embeds_BTD[:, : output.answer_B[0] + 1], []
    for _ in range(5):
        hidden = model.language(inputs_embeds=embeds).last_hidden_state
        ids.append(int(output.logits(hidden[:, -1]).argmax()))
        embeds = torch.cat([embeds, model.language.embed_tokens(torch.tensor([ids[-1:]]))], dim=1)
    ids = ids[: ids.index(model.chat.end)] if model.chat.end in ids else ids
    assert answers(model, batch, 5) == [model.chat.decode(ids)]


def test_targets_stand_where_their_logits_are(model, items):
    size = model.dims.vision.image_size
    shown = clip(frames=8, rows=103, seed=111, size=size)
    learned = item(model, shown, answer=Answer(prefix=ANSWER.prefix, target=" good"))
    output = model(model.preparer.collate([learned, items[1]]))
    place = int(output.answer_B[0])
    wanted = [*model.chat.plain(" good"), model.chat.end]
    assert (list(output.targets.ids), set(output.targets.rows)) == (wanted, {0})
    assert output.targets.positions == list(range(place, place + len(wanted)))
    assert model(model.preparer.collate([items[0]])).num_learned() == 0


def test_an_empty_list_cannot_be_collated(model):
    with pytest.raises(ValueError, match="empty list"):
        model.preparer.collate([])
