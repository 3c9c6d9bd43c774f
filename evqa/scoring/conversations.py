"""`python -m evqa.ask`: questions from flags, a file or a terminal, and what is printed of their answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from evqa.errors import ConfigError, EvqaError
from evqa.files.regular import check_readable
from evqa.files.streams import say
from evqa.prompts.decoding import Decoding
from evqa.scoring.asking import question_turn
from evqa.scoring.dialogue import Dialogue
from evqa.scoring.inputs import FEW_ITEMS
from evqa.scoring.load import load
from evqa.scoring.scorer import Scorer
from evqa.types import Record

PROMPT = "> "


@dataclass(frozen=True, kw_only=True)
class QuestionRequest:
    """What the flags of `evqa.ask` say."""

    files: list[Path]
    scorer: str
    decoding: Decoding
    question: str | None = None
    questions: Path | None = None
    chat: bool = False
    json: bool = False
    ckpt: str = "best"
    override: tuple[str, ...] | list[str] = ()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Questions of one conversation, and the files that it is about."""

    id: str
    files: tuple[Path, ...]
    questions: tuple[str, ...]


def converse(request: QuestionRequest) -> None:
    """Ask everything, one conversation after the other, and print.

    Raises:
        ConfigError: what cannot be asked; in a questions file, the first line that cannot be used, before anything is
            loaded. Files that cannot be read are told at the end, after all other answers.
    """
    asked = list(_asked(request))
    scorer = load(request.scorer, checkpoint=request.ckpt, overrides=request.override)
    if len({file for one in asked for file in one.files}) <= FEW_ITEMS:
        scorer.read_here()
    if request.chat:
        _chat(scorer, request)
        return
    failed = list[str]()
    for is_single, group in groupby(asked, key=lambda one: len(one.questions) == 1 and request.question is None):
        answer = _answer_together if is_single else _answer_in_turns
        failed += answer(scorer, list(group), request)
    if failed:
        raise ConfigError([f"{len(failed)} of {len(asked)} could not be answered:", *failed])


def _asked(request: QuestionRequest) -> Iterator[Asked]:
    """Read the questions; none of a chat, which come one by one."""
    if request.questions is None:
        _check_files(request.files, "")
        if request.question is not None:
            yield Asked(id=_name(request.files), files=tuple(request.files), questions=(request.question,))
        return
    check_readable(request.questions)
    for number, line in enumerate(request.questions.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            yield _read_line(line, f"{request.questions}, line {number}: ", request.files)


def _read_line(line: str, place: str, files: list[Path]) -> Asked:
    try:
        content = json.loads(line)
    except ValueError as error:
        raise ConfigError([f'{place}no JSON ({error}); write {{"question": "..."}}.']) from None
    values: dict[str, Any] = content if isinstance(content, dict) else {}
    questions, named = (_texts(values.get(name)) for name in ("question", "files"))
    if not questions or not all(text.strip() for text in questions):
        raise ConfigError([f'{place}no question; write {{"question": "..."}}, or a list of them for several turns.'])
    own = [Path(name) for name in named] or files
    _check_files(own, place)
    return Asked(id=str(values.get("id", _name(own))), files=tuple(own), questions=tuple(questions))


def _texts(value: object) -> list[str]:
    """Return a text, or a list of texts, as a list; empty for anything else."""
    texts: list[object] = value if isinstance(value, list) else [value]
    return [text for text in texts if isinstance(text, str)] if all(isinstance(text, str) for text in texts) else []


def _check_files(files: list[Path], place: str) -> None:
    if not files:
        raise ConfigError([f"{place}name a file to ask about."])
    if missing := [file for file in files if not file.is_file()]:
        raise ConfigError([f"{place}{missing[0]}: there is no such file."])


def _name(files: Iterable[Path]) -> str:
    return " ".join(str(file) for file in files)


def _answer_together(scorer: Scorer, asked: Sequence[Asked], request: QuestionRequest) -> list[str]:
    """Ask questions that stand alone, in batches; returns why some could not be answered."""
    records = [Record(id=one.id, paths=one.files, turns=(question_turn(one.questions[0]),)) for one in asked]
    reasons = list[str]()
    for one, answer in zip(asked, scorer.ask(records, decoding=request.decoding), strict=True):
        reason = None if answer.failure is None else f"{one.id}: {answer.failure.reason}"
        reasons += [] if reason is None else [reason]
        _show(one.id, one.questions[0], answer.text, reason, request)
    return reasons


def _answer_in_turns(scorer: Scorer, asked: Sequence[Asked], request: QuestionRequest) -> list[str]:
    """Hold conversations, one after the other; returns why some could not be held to their end."""
    reasons = list[str]()
    for one in asked:
        dialogue = scorer.chat(Record(id=one.id, paths=one.files), decoding=request.decoding)
        for question in one.questions:
            if not request.json and request.question is None:
                say(f"{one.id}: {question}", sys.stdout)
            try:
                _print(dialogue, question, request)
            except ConfigError as error:
                reasons += error.problems
                _show(one.id, question, None, " ".join(error.problems), request)
                break
    return reasons


def _show(name: str, question: str, answer: str | None, reason: str | None, request: QuestionRequest) -> None:
    """Print a question with its answer; with --json also why there is none."""
    if request.json:
        outcome = {"error": reason} if answer is None else {"answer": answer}
        say(json.dumps({"id": name, "question": question} | outcome, ensure_ascii=False), sys.stdout)
    elif answer is not None:
        say(f"{name}: {question}\n{answer}", sys.stdout)


def _print(dialogue: Dialogue, question: str, request: QuestionRequest) -> None:
    """Ask, and write the answer as it comes; as one object with --json."""
    pieces = dialogue.ask(question)
    if request.json:
        _show(dialogue.record.id, question, "".join(pieces), None, request)
        return
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")


def _chat(scorer: Scorer, request: QuestionRequest) -> None:
    """Take questions from the terminal until it ends; what cannot be answered is told, and the chat goes on."""
    dialogue = scorer.chat(Record(id=_name(request.files), paths=tuple(request.files)), decoding=request.decoding)
    for question in _typed():
        try:
            _print(dialogue, question, request)
        except EvqaError as error:
            say(str(error), sys.stderr)


def _typed() -> Iterator[str]:
    """Yield lines that hold something; a terminal shows where to type, and has its usual keys."""
    if sys.stdin.isatty():
        import readline  # noqa: F401  # `input` then has a history and editing keys
    prompt = PROMPT if sys.stdin.isatty() else ""
    while True:
        try:
            line = input(prompt)
        except EOFError:
            if prompt:
                sys.stdout.write("\n")
            return
        if line.strip():
            yield line
