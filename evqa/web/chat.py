"""One visitor's conversation: what was asked, what was answered, and what is being answered now."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evqa.errors import ConfigError
from evqa.files.names import is_text
from evqa.scoring.asking import check_question
from evqa.scoring.dialogue import Dialogue
from evqa.types import Record
from evqa.web.asked import NO_FILE, NO_TEXT
from evqa.web.deadline import Deadline
from evqa.web.fragments import markup
from evqa.web.scorers import OfferedScorer

MOST_FILES = 2
SHOWN_SECONDS = 0.1  # between two pictures of an answer: browsers draw slower than small models write
STOPPED = "Stopped. This answer is not part of the conversation: what is asked next is asked without it."
NEVER_BEGUN = "Stopped before it was answered. It is not part of the conversation."
NO_WORDS = "The model ended its answer without a word."
FORGOTTEN = "Nothing was asked for a long time, so what was said before is forgotten: a new conversation begins."
BUSY = "Your question before this one is still being answered, or waits for its turn. Stop it first."


@dataclass(eq=False)
class Said:
    """A question with its answer as far as it has come. note: what is to be said of it where nothing more comes."""

    question: str
    answer: str = ""
    note: str = NEVER_BEGUN
    has_begun: bool = False


@dataclass(eq=False)
class VisitorChat:
    """What a page has asked so far; it lies in the page's own session.

    Stopping and beginning anew come from other threads while an answer is written. `asked` is the question whose answer
    is wanted: as soon as it is another one or None, the answer ends.

    about: scorer and files. notes: what the files lacked, or what was cut, for the last question. max_seconds: that an
    answer may take.
    """

    about: tuple[str, tuple[Path, ...]] | None = None
    said: list[Said] = field(default_factory=list)
    asked: Said | None = None
    notes: tuple[str, ...] = ()
    dialogue: Dialogue | None = None
    max_seconds: float = math.inf

    def begin(self, scorer: str, paths: Sequence[Path]) -> None:
        """Forget everything; an answer that is being written ends."""
        self.asked, self.dialogue, self.notes = None, None, ()
        self.said, self.about = [], (scorer, tuple(paths))

    def take(self, question: str, offered: OfferedScorer, paths: Sequence[Path]) -> None:
        """Note a question, which `answer` will answer.

        Raises:
            ConfigError: it cannot be asked, with the reason.
        """
        record = record_of(paths, question, offered)
        if self.asked is not None:
            raise ConfigError([BUSY])
        is_forgotten = self.about != (offered.name, tuple(paths))
        if is_forgotten:
            self.begin(offered.name, paths)
        if self.dialogue is None:
            self.dialogue = offered.scorer.chat(record)
        self.notes = (FORGOTTEN,) if is_forgotten else ()
        self.max_seconds = offered.max_seconds
        self.asked = Said(question)
        self.said.append(self.asked)

    def stop(self) -> None:
        """End the answer that is wanted, if one is."""
        self.asked = None

    def answer(self) -> Iterator[None]:
        """Write the answer to the question that was taken; yields now and then, so that it can be shown.

        Raises:
            ConfigError, MediaError: it cannot be answered; the question is taken back.
        """
        said, dialogue = self.asked, self.dialogue
        if said is None or dialogue is None:
            return
        shown_at, deadline = -math.inf, Deadline(self.max_seconds)
        said.has_begun, said.note = True, STOPPED
        try:
            with closing(dialogue.ask(said.question)) as pieces:
                for piece in pieces:
                    if self.asked is not said:
                        return
                    said.answer += piece
                    if deadline.is_over:
                        said.note = f"{deadline.sentence} This answer is not part of the conversation."
                        return
                    if time.monotonic() - shown_at >= SHOWN_SECONDS:
                        yield
                        shown_at = time.monotonic()
            said.note = "" if said.answer.strip() else NO_WORDS
            self.notes = tuple(dict.fromkeys((*self.notes, *dialogue.missing)))  # two files may lack the same
        except Exception:
            self.said = [other for other in self.said if other is not said]
            raise
        finally:
            if self.asked is said:
                self.asked = None

    def messages(self) -> list[dict[str, Any]]:
        """Return the conversation as `gr.Chatbot` takes it."""
        return [message for said in self.said for message in _messages(said, is_asked=said is self.asked)]


def _messages(said: Said, *, is_asked: bool) -> Iterator[dict[str, Any]]:
    texts = [text for text in (said.answer, "" if is_asked else said.note) if text]
    yield {"role": "user", "content": [_text(said.question)]}
    if texts:  # until then the page shows that something is awaited
        yield {"role": "assistant", "content": list(map(_text, texts))}


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": markup(text)}  # the component takes text for HTML, also without Markdown


def record_of(paths: Sequence[Path], question: str, offered: OfferedScorer) -> Record:
    """Join the files of a question.

    Raises:
        ConfigError: there are none, or too many for one question; or it asks nothing.
    """
    check_question(question)
    if not is_text(question):
        raise ConfigError([NO_TEXT])
    if not paths:
        raise ConfigError([NO_FILE])
    most = min(MOST_FILES, offered.scorer.module.model.max_files)
    if len(paths) > most:
        files = "one file" if most == 1 else f"{most} files"
        raise ConfigError([f"{len(paths)} files: {offered.name} can be asked about {files} at once. Take some away."])
    return Record(id=" and ".join(path.name for path in paths), paths=tuple(paths))
