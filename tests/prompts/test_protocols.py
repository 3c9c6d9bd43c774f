"""VQA²'s protocols beside the original's prompts, Qwen2 token ids, motion frames, weights and scores."""

import json
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from tokenizers import Tokenizer

from evqa.config.composer import open_configuration
from evqa.heads.levels import LevelsHead, weighted_levels
from evqa.media.sampling import FrameSampling, every_frame
from evqa.prompts.chat import Chat
from evqa.prompts.prompt import Prompt
from evqa.types import MEDIA, Clip, LabelScale, Turn
from tests.asking import a_record
from tests.golden import TESTS

OPTIONS = {
    "ugc_current": "vqa2_ugc_current",
    "ugc_first_release": "vqa2_ugc_first_release",
    "streaming_first_release": "vqa2_streaming_first_release",
    "image_score": "vqa2_image",
}
COMPOSER = open_configuration("train")
PLACE = -200
EXACT = {"rel": 0, "abs": 1e-12}


@pytest.fixture(scope="module")
def chat():
    tokenizer = Tokenizer.from_file(str(TESTS / "golden_small/qwen2/tokenizer.json"))
    return Chat(tokenizer, name="Qwen2", system="You are a helpful assistant.")


@pytest.fixture(scope="module")
def prompts(vqa2: Path):
    return json.loads((vqa2 / "prompts.json").read_text())


@pytest.fixture(scope="module")
def cases(vqa2: Path):
    return json.loads((vqa2 / "cases.json").read_text())


class Protocol:
    """What an option of `prompt` sets, built."""

    def __init__(self, option, *overrides):
        config = COMPOSER.compose([f"prompt={option}", *overrides])
        values = {group: dict(OmegaConf.to_container(config[group])) for group in ("prompt", "head")}
        targets = [node.pop("_target_") for node in values.values()]
        assert targets == ["evqa.prompts.prompt.Prompt", "evqa.heads.levels.LevelsHead"]
        self.prompt = Prompt(**values["prompt"]).fitted(LabelScale(name="mos", range=(1, 5)))
        self.head = LevelsHead(8, **values["head"])
        motion = OmegaConf.to_container(config.model)["motion"]
        self.motion = motion and FrameSampling(**{key: value for key, value in motion.items() if key != "_target_"})

    def turns(self, record=None, clip=None):
        asked = self.prompt.turns(record or a_record(), [clip or Clip()])
        return (*asked, *self.head.wording.turns(None, self.prompt))


def user(text):
    return Turn(role="user", text=text.replace("<image>", MEDIA))


def encode(chat, turns):
    return chat.encode(turns, [[PLACE]] * sum(turn.text.count(MEDIA) for turn in turns))


def up_to_the_score(ids, prefix):
    """Without what the original writes behind the position that it reads: the end of the turn and a line break."""
    return ids if prefix is None else ids[:-2]


def asked_of(prompts, cases):
    """Every question with its ids, of the table of prompts and of the cases."""
    for asked in prompts["inference_prompts"]:
        yield asked["user_text"], asked["assistant_prefix"], asked["input_ids"]
    for case in cases.values():
        if "user_text" in case:
            yield case["user_text"], case.get("assistant_prefix"), case["real_qwen2_input_ids"]


def test_the_chat_writes_the_originals_ids_up_to_the_position_that_is_read(chat, prompts, cases):
    known, compared = set(chat.tokenizer.get_vocab(with_added_tokens=True).values()) | {PLACE}, 0
    for text, prefix, ids in asked_of(prompts, cases):
        if set(ids) <= known:  # of other words the small tokenizer knows nothing
            turns = [user(text), *([] if prefix is None else [Turn(role="assistant", text=prefix)])]
            encoded = encode(chat, turns)
            assert list(encoded.ids) == up_to_the_score(ids, prefix), text
            assert encoded.answer == len(encoded.ids) - 1
            compared += 1
    assert compared >= len(OPTIONS)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_protocol_asks_word_for_word_what_the_original_asks(name, chat, prompts):
    (asked,) = [one for one in prompts["inference_prompts"] if one["name"] == name]
    protocol = Protocol(OPTIONS[name])
    question, prefix = protocol.turns()
    assert question == user(asked["user_text"])
    assert prefix.text == asked["assistant_prefix"]
    ids = encode(chat, [question, prefix]).ids
    assert list(ids) == up_to_the_score(asked["input_ids"], asked["assistant_prefix"])
    words = prompts["level_token_ids"]
    assert [chat.word_id(word) for word in protocol.head.words] == list(words.values())


def test_a_protocol_reads_the_originals_motion_frames_and_weighs_the_words_as_it_does(cases):
    protocols = {name: Protocol(option) for name, option in OPTIONS.items()}
    compared = set()
    for case in cases.values():
        name = case["protocol"]
        if name not in protocols:
            continue
        protocol, logits_L = protocols[name], torch.tensor(list(case["level_logits"].values()))
        compared.add(name)
        for level, probability in enumerate(case.get("level_probs", ())):
            only = [float(level == other) for other in range(len(logits_L))]
            assert weighted_levels(logits_L[None], only).item() == pytest.approx(probability, **EXACT)
        score = weighted_levels(logits_L[None], protocol.head.weights).item()
        assert score == pytest.approx(case.get("score", case.get("score_intended")), **EXACT)
        if protocol.motion is not None:
            assert every_frame(protocol.motion, case["num_raw_frames"]) == case["motion_frame_indices"]
    assert compared == set(OPTIONS)


class Logits:
    """An output of one sample with given logits."""

    def __init__(self, logits_BV):
        self.logits_BV = logits_BV

    def answer_BD(self):
        return torch.zeros(1, 8)

    def logits(self, hidden_ND, words):
        return self.logits_BV[:, words]

    def word_id(self, word):
        return {" high": 0, " good": 1, " fair": 2, " poor": 3, " low": 4}[word]


def test_the_released_image_scripts_slip_is_a_setting_of_the_head(cases):
    released = Protocol("vqa2_image", "+head.zeroed=[' high',' low']")
    images = [case for case in cases.values() if case["protocol"] == "image_score"]
    assert images
    for case in images:
        logits = Logits(torch.tensor([list(case["level_logits"].values())]))
        assert released.head(logits).item() == pytest.approx(case["score_as_released"], **EXACT)


def test_both_sets_of_weights_give_the_originals_scores(vqa2):
    tables = json.loads((vqa2 / "tables.json").read_text())
    for row in tables["weighted_score"]:
        logits_BL = torch.tensor([row["logits_high_good_fair_poor_low"]], dtype=torch.float64)
        for option, release in (("vqa2_ugc_current", "current"), ("vqa2_ugc_first_release", "first_release")):
            weights = Protocol(option).head.weights
            assert weights == tables[f"weights_{release}"]
            score = weighted_levels(logits_BL, weights).item()
            assert score == pytest.approx(row[f"score_{release}_weights"], **EXACT)


def training_examples(prompts, cases, known):
    """Conversations with the original's ids and labels, of which the tokenizer at hand knows every word."""
    examples = [(one["conversation"], one["input_ids"], one["labels"]) for one in prompts["training_examples"]]
    examples += [
        (case["conversation"], case["real_qwen2_input_ids"], case["real_qwen2_labels"])
        for case in cases.values()
        if "conversation" in case
    ]
    found = [example for example in examples if set(example[1]) <= known | {PLACE}]
    assert found
    return found


def turns_of(conversation):
    return [
        Turn(role="assistant", text=turn["value"], learn=True) if turn["from"] == "gpt" else user(turn["value"])
        for turn in conversation
    ]


def test_a_training_conversation_has_the_originals_ids_and_learns_every_answer(chat, prompts, cases):
    known = set(chat.tokenizer.get_vocab(with_added_tokens=True).values())
    for conversation, ids, _ in training_examples(prompts, cases, known):
        encoded = encode(chat, turns_of(conversation))
        assert [*encoded.ids, encoded.targets[-1]] == ids[:-1], "all but the last line break"
        answers = [turn["value"] for turn in conversation if turn["from"] == "gpt"]
        learned = [token for text in answers for token in (*chat.plain(text), chat.end)]
        assert [token for token in encoded.targets if token >= 0] == learned


def test_exact_labels_are_the_originals_and_a_question_stays_the_same(chat, prompts, cases):
    exact = Chat(chat.tokenizer, name="Qwen2", system=chat.system, special_text="parsed", learns="llava")
    known = set(chat.tokenizer.get_vocab(with_added_tokens=True).values())
    for conversation, ids, labels in training_examples(prompts, cases, known):
        encoded = encode(exact, turns_of(conversation))
        assert [*encoded.ids, encoded.targets[-1]] == ids
        assert list(encoded.targets) == labels[1:]
        question = [turn for turn in turns_of(conversation) if not turn.learn]
        assert encode(exact, question) == encode(chat, question), "where nothing is learned, nothing differs"


class Motion:
    num_frames = 44


def streamed(*overrides, **texts):
    """What is asked about a record with these texts, and the answer's start."""
    record = a_record()
    record.texts.update(texts)
    protocol = Protocol("vqa2_streaming", *overrides)
    return [turn.text for turn in protocol.turns(record, Clip(seconds=1.84, num_frames=46, motion=Motion()))]


def test_the_streaming_question_is_that_of_the_training_lists():
    flags = "0" * 20 + "1" * 6 + "0" * 20
    question, prefix = streamed(stalling=flags)
    assert question == (
        "Suppose there is a streaming video played on an online platform which may includes video stalling due to poor "
        "network conditions. The video itself may also suffers from distortions, such as low sharpness, blockiness "
        "effections, and blurriness. The stalling, low-sharpness, blurriness and other distortions will all affect the "
        "quality of this video. This video is 1.8 seconds long, and you will see a sequence of images generated by "
        "uniformly sampling 10 frames from the video. The image sequence follows the original order of the video. "
        f"After uniform sampling, there are a total of 10 images:\n{MEDIA}In addition, you will also obtain motion "
        f"features of the 44 frames of the entire video:\n {MEDIA}. The temporal sequence of the stalling information "
        f"of each frame is shown as follows: {flags} Based on the above stalling information and the video key frames, "
        "how would you evaluate the quality of this video?"
    )
    assert prefix == "The quality of this video is"


def test_the_streaming_question_may_give_sums_or_say_that_nothing_is_known():
    (question, _), (unknown, _) = streamed("prompt.stalling=sums", stalling="none"), streamed()
    assert (
        f"video:\n {MEDIA} The stalling condition of this video is: The video plays smoothly, without any stalling "
        "happens. Based on the above stalling information"
    ) in question
    assert f"video:\n {MEDIA} The stalling condition of this video is: Unknown. Based on the above" in unknown
