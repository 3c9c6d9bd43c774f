"""The decoding loop by itself: what is chosen, what is written, where an answer ends."""

import random

import pytest
import torch

from evqa.errors import ConfigError
from evqa.models.decoding import Chooser, Prefilled, drawn, stream
from evqa.models.text_stream import TextStream
from evqa.models.tiny_text import END, VOCABULARY, decode
from evqa.prompts.decoding import Decoding
from tests.models.twins.tokens import write_tokenizer


def scripted(rows):
    """Prompts whose next tokens are written down: the logits of row b's n-th token point at rows[b][n]."""
    fed = []

    def logits(place):
        tokens = torch.tensor([row[min(place, len(row) - 1)] for row in rows])
        return torch.nn.functional.one_hot(tokens, VOCABULARY) * 9.0

    def step(ids_B):
        fed.append(ids_B.tolist())
        return logits(len(fed))

    return Prefilled(logits_BV=logits(0), step=step), fed


def written(rows, **settings):
    prefilled, fed = scripted(rows)
    pieces = list(stream(prefilled, Decoding(**settings), ends={END}, to_text=decode))
    return ["".join(parts) for parts in zip(*pieces, strict=True)], pieces, fed


def test_every_row_ends_at_its_own_end_token_and_is_then_fed_with_it():
    answers, pieces, fed = written([[*b"ab", END], [*b"wxyz", END], [END]], max_new_tokens=9)
    assert answers == ["ab", "wxyz", ""]
    assert pieces == [["a", "w", ""], ["b", "x", ""], ["", "y", ""], ["", "z", ""], ["", "", ""]]
    assert fed == [[97, 119, END], [98, 120, END], [END, 121, END], [END, 122, END]]


def test_the_last_token_that_is_allowed_is_not_read_any_more():
    answers, pieces, fed = written([list(b"abcdef")], max_new_tokens=3)
    assert (answers, len(pieces), len(fed)) == (["abc"], 3, 2)


def test_an_answer_ends_before_the_first_stop_text_and_its_beginning_is_held_back():
    answers, pieces, _ = written([list(b"one\n\ntwo"), list(b"1\n2\n3#4!")], max_new_tokens=8, stop=("\n\n", "#"))
    assert answers == ["one", "1\n2\n3"]
    assert [piece for piece, _ in pieces] == ["o", "n", "e", "", "", "", ""][: len(pieces)]
    assert [piece for _, piece in pieces] == ["1", "", "\n2", "", "\n3", ""]
    assert written([list(b"one\n")], max_new_tokens=4, stop=("\n\n",))[0] == ["one\n"]


def test_a_character_is_written_once_it_is_whole_and_half_a_last_one_is_not_lost():
    answers, pieces, _ = written([[*"a\u4f60".encode(), *"\U0001f600".encode()[:2]]], max_new_tokens=6)
    assert [piece for (piece,) in pieces] == ["a", "", "", "\u4f60", "", "\N{REPLACEMENT CHARACTER}"]
    assert answers == [decode([*"a\u4f60".encode(), *"\U0001f600".encode()[:2]])]


@pytest.mark.parametrize("seed", range(20))
def test_pieces_of_random_tokens_joined_are_the_text_of_all_of_them(seed, tmp_path):
    from transformers import AutoTokenizer

    write_tokenizer(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path).backend_tokenizer
    draw = random.Random(seed)
    text = "".join(chr(draw.choice([draw.randrange(32, 127), 0x4F60, 0xE9, 0x1F600, 0xFFFD])) for _ in range(30))
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    ids = draw.choice([ids, [draw.randrange(tokenizer.get_vocab_size()) for _ in range(60)], ids[: len(ids) // 2]])

    def to_text(some):
        return tokenizer.decode(list(some), skip_special_tokens=True)

    row = TextStream(to_text, stop=("zq",))
    pieces = [row.push(token) for token in ids] + [row.finish()]
    whole = to_text(ids)
    assert "".join(pieces) == (whole if "zq" not in whole else "".join(pieces))
    assert not any(piece.endswith("\N{REPLACEMENT CHARACTER}") for piece in pieces[:-1])


@pytest.mark.parametrize("penalty", [1.0, 1.3, 0.7])
@pytest.mark.parametrize("with_prompts", [False, True])
def test_the_repetition_penalty_is_that_of_transformers(penalty, with_prompts):
    from transformers import RepetitionPenaltyLogitsProcessor

    torch.manual_seed(0)
    logits_BV = torch.randn(2, 30)
    prompts = [[3, 4, 4], [5]] if with_prompts else []
    choose = Chooser(Decoding(repetition_penalty=penalty), logits_BV, prompts=prompts)
    written = [list(ids) for ids in prompts] or [[], []]
    for _ in range(12):
        logits_BV = logits_BV + torch.randn(2, 30) * 0.3
        ids = choose(logits_BV).tolist()
        for row, token in enumerate(ids):
            theirs = RepetitionPenaltyLogitsProcessor(penalty)
            seen = torch.tensor([written[row]], dtype=torch.long)
            assert token == int(theirs(seen, logits_BV[row : row + 1].clone()).argmax())
            written[row].append(token)


@pytest.mark.parametrize(("temperature", "top_k", "top_p"), [(1, 0, 1), (0.5, 7, 1), (2, 0, 0.6), (1.5, 9, 0.8)])
def test_tokens_are_drawn_as_often_as_transformers_filters_give_them_a_chance(temperature, top_k, top_p):
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    torch.manual_seed(1)
    logits_1V = torch.randn(1, 20) * 2
    settings = Decoding(temperature=temperature, top_k=top_k, top_p=top_p)
    numbers = 4000
    counts = torch.zeros(20)
    for number in range(numbers):
        counts[drawn(logits_1V, settings, (number + 0.5) / numbers)] += 1
    expected = TemperatureLogitsWarper(float(temperature))(None, logits_1V)
    expected = TopKLogitsWarper(top_k)(None, expected) if top_k else expected
    expected = TopPLogitsWarper(top_p)(None, expected).softmax(-1)[0]
    assert (counts > 0).tolist() == (expected > 1 / numbers).tolist()
    torch.testing.assert_close(counts / numbers, expected, atol=2 / numbers, rtol=0)


def test_a_very_low_temperature_draws_the_likeliest_token():
    logits_BV = torch.tensor([[1.0, 3.0, 2.9], [50.0, -50.0, 49.9]])
    for number in (0.0, 0.999999999999):
        assert drawn(logits_BV, Decoding(temperature=1e-30, top_p=1e-12), number).tolist() == [1, 0]
        assert drawn(logits_BV, Decoding(temperature=1e-3), number).tolist() == [1, 0]


def test_what_is_drawn_depends_on_the_seed_and_the_rows_own_logits_alone():
    torch.manual_seed(2)
    logits_SV = torch.randn(40, 50)

    def draws(seed, rows):
        choose = Chooser(Decoding(temperature=1.0, seed=seed), logits_SV[:rows])
        return torch.stack([choose(logits_SV[step : step + rows]) for step in range(30)])

    assert torch.equal(draws(0, 1)[:, 0], draws(0, 4)[:, 0])
    assert torch.equal(draws(3, 2), draws(3, 2))
    assert not torch.equal(draws(0, 2), draws(1, 2))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"max_new_tokens": 0}, "decoding.max_new_tokens=0: give 1 or more."),
        ({"temperature": -0.5}, "decoding.temperature=-0.5: give 0 (the likeliest token) or a positive number."),
        ({"temperature": float("nan")}, "decoding.temperature=nan: give 0 (the likeliest token) or a positive number."),
        ({"top_p": 0.0}, "decoding.top_p=0.0: give a number above 0 and up to 1 (1: all)."),
        ({"top_p": 1.5}, "decoding.top_p=1.5: give a number above 0 and up to 1 (1: all)."),
        ({"top_k": -1}, "decoding.top_k=-1: give 0 (all) or a positive number."),
        ({"repetition_penalty": 0.0}, "decoding.repetition_penalty=0.0: give a positive number (1: none)."),
        ({"stop": ("a", "")}, "decoding.stop=('a', ''): give a list of texts, none of them empty."),
        ({"stop": "###"}, "decoding.stop='###': give a list of texts, none of them empty."),
        ({"seed": -1}, "decoding.seed=-1: give a number from 0 to 2^63 - 1."),
    ],
)
def test_a_setting_outside_its_range_is_answered_with_a_sentence(settings, sentence):
    with pytest.raises(ConfigError) as caught:
        Decoding(**settings)
    assert list(caught.value.problems) == [sentence]


def test_all_settings_outside_their_range_are_told_together():
    with pytest.raises(ConfigError) as caught:
        Decoding(top_p=2.0, top_k=-3)
    assert len(caught.value.problems) == 2
    assert Decoding(stop=["a"]).stop == ("a",)
