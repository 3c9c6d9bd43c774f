"""A judge of open-ended answers: a language model behind an OpenAI-compatible endpoint, asked as Q-Bench-Video does.

Zhang et al., CVPR 2025 (arXiv 2409.20063); both texts are those of the README of Q-Future/Q-Bench-Video, word for word
(the spaces before some line ends are there). Its sample code gives a call five seconds and drops what fails; here a
call that fails is repeated, so that every answer has its five.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from evqa.errors import MissingDependencyError, RunError

SYSTEM = (
    "You are a helpful assistant that grades answers related to visual video quality. There are a lot of special terms "
    "or keywords related to video processing and photography. You will pay attention to the context of `quality "
    "evaluation' when grading."
)
USER = (
    "Given the question [{question}], evaluate whether the response [{answer}] completely matches the correct answer "
    "[{reference}]. \n"
    "First, check the response and please rate score 0 if the response is not a valid answer.\n"
    "Please rate score 2 if the response completely or almost completely matches the correct answer on completeness, "
    "accuracy, and relevance. \n"
    "Please rate score 1 if the response partly matches the correct answer on completeness, accuracy, and relevance.\n"
    "Please rate score 0 if the response doesn't match the correct answer on completeness, accuracy, and relevance at "
    "all.\n"
    "Please only provide the result in the following format: Score:"
)
BEST_MARK = 2
SECONDS = 60.0  # a call may take
NUM_RETRIES = 8  # of a call, about 40 s in all unless the server names another time
_MARK = re.compile(r"(?:^|:)[\s*]*([0-2])[\s*.]*$")
NO_COMPLETION = "the endpoint answered with something that is no chat completion"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back of one call. mark: 0, 1 or 2; None of an invalid call, whose reason is told."""

    text: str = ""
    mark: int | None = None
    reason: str = ""


def judge_message(*, question: str, answer: str, reference: str) -> str:
    """Write the user's side of a call."""
    return USER.format(question=question, answer=answer, reference=reference)


def read_mark(text: str) -> int | None:
    """The mark that a reply ends with ("Score: 2", "2"); None where it gives none of 0, 1, 2."""
    found = _MARK.search(text.strip())
    return int(found[1]) if found else None


class Judge:
    """A client of one endpoint and model.

    url: of the API, e.g. http://localhost:8000/v1. Its key is what OPENAI_API_KEY holds. Calls that cannot be
    connected, take too long, or are answered with 408, 409, 429 or 5xx are repeated, with growing pauses or after the
    time that Retry-After names.

    Raises:
        MissingDependencyError: the client is not installed.
    """

    def __init__(self, *, url: str, model: str) -> None:
        try:
            import openai
        except ImportError as error:
            raise MissingDependencyError("--judge-url needs the openai client: pip install 'evqa[judge]'.") from error
        self.url, self.model = url, model
        key = os.environ.get("OPENAI_API_KEY") or "none"  # servers of one's own mostly ask for none
        self._client = openai.OpenAI(base_url=url, api_key=key, timeout=SECONDS, max_retries=NUM_RETRIES)

    def mark(self, message: str) -> Reply:
        """Make one call; what the server refuses or says without a mark is an invalid reply.

        Raises:
            RunError: no answer after all repetitions, or one that every call would have (wrong key, unknown model).
        """
        import openai

        try:
            text = self._complete(message)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            return Reply(reason=f"refused by the endpoint: {_first_line(error)}")
        except openai.APIError as error:
            kept = "What was judged is kept; the same command goes on there."
            told = f"The judge {self.model} at {self.url} does not answer: {_first_line(error)}"
            raise RunError(f"{told}. {kept}") from error
        if text is None:
            return Reply(reason=NO_COMPLETION)
        mark = read_mark(text)
        return Reply(text=text, mark=mark, reason="" if mark is not None else "names no score of 0, 1 or 2")

    def _complete(self, message: str) -> str | None:
        """Return the reply's words; None where the answer is no chat completion."""
        try:
            completion = self._client.chat.completions.create(
                model=self.model,
                messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": message}],
            )
            text = completion.choices[0].message.content
        except (AttributeError, IndexError, TypeError, ValueError):  # of what the server made up
            return None
        return text if isinstance(text, str) else None


def _first_line(error: Exception) -> str:
    cause = f" ({error.__cause__})" if error.__cause__ else ""
    return f"{str(error).splitlines()[0] if str(error) else type(error).__name__}{cause}"
