"""Judging answers by several calls each: kept call by call, so that a command that was killed asks no call twice."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from evqa.scoring.journal import LineJournal
from evqa.scoring.judge import BEST_MARK, SYSTEM, Judge, Reply, judge_message

NUM_CALLS = 5  # of each answer
NUM_AT_ONCE = 4
CHARACTERS_A_TOKEN = 4  # about, in English
TOKENS_A_REPLY = 4  # "Score: 2"
Watch = Callable[[Iterator[None]], Iterator[None]]


@dataclass(frozen=True, kw_only=True)
class JudgeTask:
    """An answer that is judged. number: the item's."""

    number: int
    question: str
    answer: str
    reference: str

    @property
    def message(self) -> str:
        """The user's side of a call."""
        return judge_message(question=self.question, answer=self.answer, reference=self.reference)


class JudgementJournal(LineJournal):
    """A line a call: the item's number and the reply."""

    what = "list of judgements"

    def replies(self) -> dict[int, list[Reply]]:
        """Read what is there, by item; a line that a kill cut short is removed."""
        found, lines = defaultdict[int, list[Reply]](list), list(self.objects())
        for line, _ in lines:
            found[line["number"]].append(Reply(text=line["text"], mark=line["mark"], reason=line["reason"]))
        self.keep(len(lines), end=lines[-1][1] if lines else self.begin)
        return found


class Judging:
    """Answers before a judge, NUM_CALLS calls each. path: of the journal, which stays as the record of every call.

    Raises:
        ConfigError, FileError: as `LineJournal`.
    """

    def __init__(self, tasks: Sequence[JudgeTask], judge: Judge, *, path: Path, replace: bool) -> None:
        self.tasks, self._judge, self._lock = tasks, judge, threading.Lock()
        identity = {"inputs": _digest(tasks), "judge": judge.model}
        self._journal = JudgementJournal(path, identity, replace=replace)
        self.replies = self._journal.replies()

    @property
    def left(self) -> list[JudgeTask]:
        """The tasks of the calls that are still to be made, one a call."""
        return [task for task in self.tasks for _ in range(NUM_CALLS - len(self.replies.get(task.number, ())))]

    def run(self, watch: Watch = lambda done: done) -> Mapping[int, list[Reply]]:
        """Make the calls that are left, a few at once; returns the replies by item. watch: sees each as it is done.

        Raises:
            RunError: the judge does not answer; what it answered before is kept.
        """
        with closing(self._journal), ThreadPoolExecutor(NUM_AT_ONCE) as pool:
            calls = [pool.submit(self._call, task) for task in self.left]
            try:
                for _ in watch(call.result() for call in as_completed(calls)):
                    pass
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)  # those under way are finished and kept
                raise
        return self.replies

    def _call(self, task: JudgeTask) -> None:
        reply = self._judge.mark(task.message)
        with self._lock:
            self._journal.add({"number": task.number, **asdict(reply)})
            self._journal.flush()
            self.replies[task.number].append(reply)


def mean_mark(replies: Sequence[Reply]) -> float | None:
    """The mean over the valid calls, in 0-1; None where none is valid."""
    marks = [reply.mark for reply in replies if reply.mark is not None]
    return sum(marks) / len(marks) / BEST_MARK if marks else None


def estimate(left: Sequence[JudgeTask], price: tuple[float, float] | None) -> str:
    """Say what calls will take. price: dollars for a million tokens, in and out; None: not known."""
    tokens_in = sum(len(SYSTEM) + len(task.message) for task in left) // CHARACTERS_A_TOKEN
    tokens_out = TOKENS_A_REPLY * len(left)
    cost = (
        "cost unknown (--judge-price IN,OUT in dollars for a million tokens)"
        if price is None
        else f"about ${(tokens_in * price[0] + tokens_out * price[1]) / 1e6:.2f}"
    )
    return f"{len(left)} calls, about {tokens_in:,} tokens in and {tokens_out:,} out (4 characters a token); {cost}"


def _digest(tasks: Sequence[JudgeTask]) -> str:
    return hashlib.sha256(json.dumps([SYSTEM, *([task.number, task.message] for task in tasks)]).encode()).hexdigest()
