"""Questions with options in Q-Bench-Video's words, and what an answer chooses."""

import pytest

from evqa.prompts.choices import choice_message, chosen_letter, open_message

ASKED = (
    "Is it sharp?\nA. Yes\nB. No\nPlease answer the question in the following format: the uppercase letter of the "
    "correct answer option itself +'.'. Please do not add any other answers beyond this."
)


def test_messages_are_those_of_the_published_code():
    assert choice_message("Is it sharp?", ["Yes", "No"]) == ASKED
    assert open_message("What is wrong?") == "What is wrong?Please directly answer the question."


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        *(
            (text, "B")
            for text in ("B", "B.", " B. \n", "(B)", "(B) No", "B. No", "B: No", "B, clearly", "**B**", "B\nNo")
        ),
        *((text, None) for text in ("", " ", "No", "A clear picture", "Because", "b.", "C.", "E", "The answer is B.")),
    ],
)
def test_an_answer_chooses_the_option_that_it_begins_with(answer, letter):
    assert chosen_letter(answer, num_options=2) == letter
