"""From conversations and files to what the model takes: places, lengths, images beside videos."""

import pytest
import torch

from evqa.errors import PromptError
from evqa.media.image import Tiling
from evqa.types import MEDIA, Clip, ImageGrid, Turn
from tests.models.samples import Frames
from tests.models.vqa2 import reference

SIDE = 56  # pixels of the tiny model's frames
TILING = Tiling(size=SIDE)


@pytest.fixture(scope="module")
def model():
    return reference.build_random()


def frames(count, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, SIDE, SIDE, 3), dtype=torch.uint8, generator=generator)


def video(num_frames=2, num_motion=8, *, seed=0):
    return Clip(frames_FHWC=frames(num_frames, seed=seed), motion=Frames(frames(num_motion, seed=seed + 1)))


def image(height=50, width=90):
    rows, columns = TILING.best(height, width)
    grid = ImageGrid(rows=rows, columns=columns, height=height, width=width)
    return Clip(frames_FHWC=frames(1 + rows * columns), image=grid)


def asked(question, answer=""):
    return (Turn(role="user", text=question), Turn(role="assistant", text=answer))


def embedded(model, question, *clips):
    item = model.preparer.prepare(asked(question), clips)
    with torch.no_grad():
        return model.sequence(model.preparer.collate([item])).embeds_BTD[0]


def test_motion_follows_the_frames_or_stands_in_a_place_of_its_own(model):
    one = embedded(model, f"a{MEDIA}b", video())
    assert torch.equal(one, embedded(model, f"a{MEDIA}{MEDIA}b", video()))
    apart = embedded(model, f"a{MEDIA}b{MEDIA}", video())  # a letter and 8 motion tokens change places
    start = next(index for index in range(len(one)) if not torch.equal(one[index], apart[index]))
    assert torch.equal(apart[start], one[start + 8])
    assert torch.equal(apart[start + 1 : start + 9], one[start : start + 8])


def test_two_videos_keep_their_order(model):
    first, second, question = video(seed=1), video(3, 12, seed=5), f"{MEDIA}{MEDIA}{MEDIA}{MEDIA}"
    pair, turned = (embedded(model, question, *clips) for clips in ((first, second), (second, first)))
    length = 2 * 16 + 1 + 8  # of the first video
    start = next(index for index in range(len(pair)) if not torch.equal(pair[index], turned[index]))
    behind = start + 3 * 16 + 1 + 12  # the second one's
    assert torch.equal(pair[start : start + length], turned[behind : behind + length])


def test_places_that_fit_no_file_are_told(model):
    with pytest.raises(PromptError, match=r"3 places for media .* 1 streams"):
        model.preparer.prepare(asked(MEDIA * 3), [video()])


def test_an_image_beside_a_video_is_the_same_alone(model):
    items = [
        model.preparer.prepare(asked(MEDIA), [clip]) for clip in (video(3, 20), image(), video(1, 4), image(300, 20))
    ]
    items.append(model.preparer.prepare(asked(MEDIA * 2), [image()]))
    items.append(model.preparer.prepare(asked("no media"), []))
    with torch.no_grad():
        together = model(model.preparer.collate(items)).answer_BD()
        alone = [model(model.preparer.collate([item])).answer_BD()[0] for item in items]
    torch.testing.assert_close(together, torch.stack(alone), rtol=0, atol=1e-5)


def test_a_conversation_that_is_too_long_says_what_takes_the_room():
    model = reference.build_random(max_tokens=100)
    text = len(model.chat.encode(asked(""), []).ids)
    model.preparer.prepare(
        asked(MEDIA), [video(1, 100 - text - 17)]
    )  # 16 tokens a frame, a newline, one a motion frame
    with pytest.raises(
        PromptError, match=rf"takes 101 tokens \(17 of pictures, {84 - text} of motion, {text} of text\)"
    ):
        model.preparer.prepare(asked(MEDIA), [video(1, 100 - text - 16)])


def test_the_counted_tokens_are_those_that_are_made(model):
    for clip in (video(), video(5, 4), image(), image(30, 330), image(700, 900), image(1, 1)):
        item = model.preparer.prepare(asked(MEDIA), [clip])
        spliced = model.sequence(model.preparer.collate([item]))
        media = spliced.embeds_BTD.shape[1] - len(item["ids_T"])
        motion = 0 if clip.motion is None else clip.motion.num_frames
        assert media == model.preparer.counts.picture(clip) + motion


def test_without_motion_its_place_stays_empty_and_that_is_said():
    model = reference.build_random(motion=None)
    assert model.motion is None
    item = model.preparer.prepare(asked(MEDIA * 2), [Clip(frames_FHWC=frames(2))])
    assert item["notes"] == ("no motion was read (model.motion=null); its place in the question is empty",)
    assert len(model.sequence(model.preparer.collate([item])).embeds_BTD[0]) == len(item["ids_T"]) + 2 * 16 + 1
