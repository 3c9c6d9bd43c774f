"""`python -m evqa.eval --scorer PLACE --benchmark q_bench_video --root DIR`: a scorer's answers to Q-Bench-Video."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evqa.datasets.q_bench_video import OPEN_ENDED, TYPES, QuestionItem, QuestionList, list_file, read_questions
from evqa.errors import ConfigError, FileError, RunError
from evqa.files.names import listed
from evqa.files.plain import write_json
from evqa.files.progress import counted
from evqa.files.terminal import terminal
from evqa.files.whole import check_place, write_table
from evqa.prompts.choices import chosen_letter
from evqa.prompts.decoding import Decoding
from evqa.reporting import benchmark_table
from evqa.reporting.benchmark_table import GroupRow, QuestionResult, group_rows, read_published, sentences
from evqa.runs.origin import digest
from evqa.scoring.answers import answer_all
from evqa.scoring.asking import question_turn
from evqa.scoring.command import digest_of_scorer
from evqa.scoring.judge import Judge, Reply
from evqa.scoring.judging import NUM_CALLS, JudgeTask, Judging, estimate, mean_mark
from evqa.scoring.load import load
from evqa.scoring.score import Answer
from evqa.scoring.scorer import Scorer
from evqa.types import Record

NAME = "q_bench_video"
HOME = Path("evaluations")
CONCERNS = ("Technical", "Aesthetic", "Temporal", "AIGC")
# As VQA2's code generates: greedy, with the penalty of its generation_config.json, which transformers then applies.
ANSWER = Decoding(max_new_tokens=1024, repetition_penalty=1.05)


@dataclass(frozen=True, kw_only=True)
class BenchmarkRequest:
    """The flags of an evaluation on a benchmark. judge_price: dollars for a million tokens, in and out."""

    scorer: str
    root: Path
    split: str = "dev"
    out: Path | None = None
    overwrite: bool = False
    modal: str | None = None
    ckpt: str = "best"
    override: Sequence[str] = ()
    judge_url: str | None = None
    judge_model: str | None = None
    judge_price: tuple[float, float] | None = None

    @property
    def folder(self) -> Path:
        """Where everything is written; evaluations/<name of the scorer>/q_bench_video-<split> unless --out names it."""
        return self.out or HOME / Path(self.scorer).resolve().name / f"{NAME}-{self.split}"


def evaluate_q_bench_video(request: BenchmarkRequest) -> list[GroupRow]:
    """Ask every question, judge open-ended answers where there is a judge, write and print the table.

    Stopped, it goes on where it stood when it is called again.

    Returns the rows; none where the list has no right answers (test), of which the answers are to be handed in.

    Raises:
        ConfigError, AnnotationError, FileError: what cannot be used; nothing is asked then.
        RunError: nothing was answered, or the judge does not answer; what is done is kept.
    """
    try:
        check_place(request.folder / "table.csv")
    except FileError as error:
        raise ConfigError([f"--out {request.folder}: {error}; give a folder that can be written."]) from error
    try:
        return _evaluate(request)
    except KeyboardInterrupt:
        _say(f"Stopped; what was answered and judged is kept in {request.folder}, and the same command goes on there.")
        raise KeyboardInterrupt from None


def _evaluate(request: BenchmarkRequest) -> list[GroupRow]:
    given = read_questions(request.root, request.split)
    judge = Judge(url=request.judge_url, model=str(request.judge_model)) if request.judge_url else None
    answers = _answer(given, request)
    write_json(
        request.folder / f"{list_file(request.root, request.split).stem}_response.json", _responses(given, answers)
    )
    replies = _judge(given, answers, judge, request) if judge else {}
    results = [_result(item, answers[item.number], replies.get(item.number, ())) for item in given.items]
    _write_items(request.folder / "items.csv", given.items, answers, results)
    return _report(given, results, replies, request)


def _answer(given: QuestionList, request: BenchmarkRequest) -> dict[int, Answer]:
    """Answer all questions; by number. Raises RunError where not one could be answered."""
    records = [record_of(item) for item in given.items]
    identity = {
        "inputs": hashlib.sha256(json.dumps(digest(tuple(records))).encode()).hexdigest(),
        "scorer": digest_of_scorer(Path(request.scorer), request.ckpt),
        "modal": request.modal,
        "overrides": sorted(request.override),
    }
    answers = answer_all(
        records,
        lambda: _load(request),
        decoding=ANSWER,
        path=request.folder / "answers.jsonl",
        identity=identity,
        replace=request.overwrite,
        watch=lambda left: _bar(f"Asking {NAME}", left),
    )
    if not any(answer.text is not None for answer in answers):
        raise RunError(f"None of the {len(answers)} questions could be answered; the first: {answers[0].failure}")
    return {item.number: answer for item, answer in zip(given.items, answers, strict=True)}


def _load(request: BenchmarkRequest) -> Scorer:
    return load(request.scorer, checkpoint=request.ckpt, overrides=request.override, modal=request.modal)


def record_of(item: QuestionItem) -> Record:
    """The words of a question; the scorer's prompt puts the videos into it (`evqa.prompts.framing`)."""
    return Record(id=item.id, paths=item.paths, turns=(question_turn(item.message),))


def _responses(given: QuestionList, answers: Mapping[int, Answer]) -> list[dict[str, Any]]:
    """The published list with what was answered, as its own test code writes it: what is handed in."""
    texts = {number: answer.text for number, answer in answers.items()}
    return [{**row, "answer": texts.get(number) or ""} for number, row in enumerate(given.rows, 1)]


def _judge(
    given: QuestionList, answers: Mapping[int, Answer], judge: Judge, request: BenchmarkRequest
) -> Mapping[int, list[Reply]]:
    """Have the open-ended answers judged that have a reference; the replies by number."""
    tasks = [
        JudgeTask(number=item.number, question=item.question, answer=text, reference=item.correct)
        for item in given.items
        if item.kind == OPEN_ENDED and item.correct and (text := answers[item.number].text) is not None
    ]
    if not tasks:
        return {}
    judging = Judging(tasks, judge, path=request.folder / "judgements.jsonl", replace=request.overwrite)
    left = judging.left
    num_calls = NUM_CALLS * len(tasks)
    if len(left) < num_calls:
        _say(f"{num_calls - len(left)} of {num_calls} calls of the judge were made before, and are not made again.")
    if left:
        _say(f"Judge {judge.model} at {judge.url}: {estimate(left, request.judge_price)}.")
    with counted("judging", len(left)) as counting:
        return judging.run(counting.watch)


def _result(item: QuestionItem, answer: Answer, replies: Sequence[Reply]) -> QuestionResult:
    result = QuestionResult(kind=item.kind, concerns=item.concerns)
    if answer.text is None:
        return replace(result, failure=answer.failure.reason if answer.failure else "no answer")
    if item.kind == OPEN_ENDED:
        return replace(result, score=mean_mark(replies))
    letter = chosen_letter(answer.text, num_options=len(item.options))
    score = None if item.correct is None else float(letter == item.correct)
    return replace(result, score=score, names_none=letter is None)


def _write_items(
    path: Path, items: Sequence[QuestionItem], answers: Mapping[int, Answer], results: Sequence[QuestionResult]
) -> None:
    columns = ["number", "video_name", "type", "concerns", "answer", "chosen", "correct", "score", "failure"]
    rows = []
    for item, result in zip(items, results, strict=True):
        text = answers[item.number].text
        chosen = chosen_letter(text or "", num_options=len(item.options)) or ""
        score = "" if result.score is None else result.score
        failure = "names no option" if result.names_none else result.failure
        concerns = ";".join(item.concerns)
        about = [item.number, item.video_name, item.kind, concerns]
        rows.append([*about, text or "", chosen, item.correct or "", score, failure])
    write_table(path, columns, rows)


def _report(
    given: QuestionList,
    results: Sequence[QuestionResult],
    replies: Mapping[int, list[Reply]],
    request: BenchmarkRequest,
) -> list[GroupRow]:
    """Write and print the table, then what it does not say."""
    console, folder = terminal(), request.folder
    answers = folder / f"{list_file(request.root, request.split).stem}_response.json"
    if all(result.score is None for result in results):
        console.print(f"No question of {request.split} has a score. To be handed in: {answers}")
        _say_all(_remarks(given, results, replies, request))
        return []
    published, source = read_published(NAME, request.split)
    rows = group_rows(results, kinds=tuple(TYPES.values()), concerns=CONCERNS, published=published)
    said = [*_remarks(given, results, replies, request), *sentences(rows, source=source)]
    about = {"benchmark": NAME, "split": request.split, "scorer": request.scorer, "modal": request.modal}
    benchmark_table.write(rows, folder, about={**about, "judge": request.judge_model, "sentences": said})
    console.print(f"{NAME}, {request.split}: {request.scorer}\n")
    benchmark_table.show(rows, terminal(soft_wrap=False))
    _say_all(said)
    console.print(f"Table: {folder / 'table.csv'}, table.json; questions: items.csv; answers: {answers.name}")
    return rows


def _remarks(
    given: QuestionList,
    results: Sequence[QuestionResult],
    replies: Mapping[int, list[Reply]],
    request: BenchmarkRequest,
) -> Iterator[str]:
    """Yield what happened to single questions."""
    if given.rejects:
        yield f"{len(given.rejects)} of {len(given.rows)} questions could not be asked; the first: {given.rejects[0]}."
    failed = [f"{item.id}: {r.failure}" for item, r in zip(given.items, results, strict=True) if r.failure]
    if failed:
        num_asked = len(given.items)
        yield f"{len(failed)} of {num_asked} questions have no answer and count in no number; the first: {failed[0]}."
    if none := [item.id for item, result in zip(given.items, results, strict=True) if result.names_none]:
        yield f"{len(none)} answers name no option and count as wrong: {listed(none, shown=3)} (all in items.csv)."
    if lacking := sum(not item.concerns for item in given.items):
        yield (
            f"{lacking} questions have no quality_concern and count in no concern; the file of the data set has none, "
            "one that is attached to issue 3 of Q-Future/Q-Bench-Video has."
        )
    num_open = sum(item.kind == OPEN_ENDED for item in given.items)
    judged = sum(item.kind == OPEN_ENDED and r.score is not None for item, r in zip(given.items, results, strict=True))
    if judged < num_open:
        why = "without --judge-url" if not request.judge_url else "the others have no answer, reference or valid call"
        yield f"{judged} of {num_open} open-ended answers are judged ({why})."
    calls = [reply for of_item in replies.values() for reply in of_item]
    if invalid := Counter(reply.reason for reply in calls if reply.mark is None):
        reasons = ", ".join(f"{count} {reason}" for reason, count in invalid.most_common(3))
        yield f"{invalid.total()} of {len(calls)} calls of the judge are invalid and left out: {reasons}."


def _bar(what: str, total: int) -> Callable[[Iterator[Answer]], Iterator[Answer]]:
    """Count what passes in a bar."""

    def watched(answers: Iterator[Answer]) -> Iterator[Answer]:
        with counted(what, total) as counting:
            yield from counting.watch(answers)

    return watched


def _say(text: str) -> None:
    terminal(stderr=True).print(text)


def _say_all(said: Sequence[str] | Iterator[str]) -> None:
    console = terminal(soft_wrap=False)
    for sentence in said:
        console.print(f"- {sentence}")
