"""Q-Bench-Video on a made set of 40 questions: what is asked, the figures, kills, and what cannot be used."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import evqa
from evqa.datasets.q_bench_video import read_questions
from evqa.eval import main
from evqa.runs import q_bench_video
from evqa.scoring.score import Answer
from evqa.types import Failure, Record
from tests.models.vqa2 import reference
from tests.scoring.judge_server import Server
from tests.scoring.test_vqa2 import FLOAT32, write_video

ROOT = Path(__file__).parents[2]
KINDS = ("yes-or-no", "what/how", "open_ended")
CONCERNS = ("Technical", "Aesthetic", "Temporal", "AIGC")
NUM_ITEMS = 40


def row(number):
    """A question of the made list; every 5th is about a pair."""
    kind = KINDS[number % 3]
    is_pair = number % 5 == 0
    made = {
        "video_name": f"{number % 4}.mp4_cat_{(number + 1) % 4}.mp4.mp4" if is_pair else f"{number % 4}.mp4",
        "question": f"Question {number}?",
        "answers": {"yes-or-no": ["Yes", "No"], "what/how": ["Good", "Fair", "Poor", "Bad"]}.get(kind, []),
        "video_type": "AIGC",
        "question_type": kind,
        "context": "Compare-Coarse" if is_pair else "Global",
        "quality_concern": CONCERNS[number % 4],
    }
    right = "AB"[number % 2] if kind == "yes-or-no" else "ABCD"[number % 4]
    return made | ({"correct_answer": f"It is {number}."} if kind == "open_ended" else {"correct_choice": right})


def planned(number):
    """What the planned scorer answers, and the score that it deserves (a mark of 0 to 2 stands in an open answer)."""
    if KINDS[number % 3] == "open_ended":
        return f"It is blurred, mark={number // 3 % 3}", number // 3 % 3 / 2
    right = row(number)["correct_choice"]
    if number % 9 == 0:
        return "A very good video", 0.0
    if number % 4 == 0:
        return f"({'B' if right == 'A' else 'A'})", 0.0
    return f"{right}.", 1.0


class PlannedScorer:
    """Answers by the number of the question; of question 7 it cannot read the video."""

    batch_size = window = 4

    def __init__(self):
        self.asked = []

    def ask(self, items, *, decoding):
        for record in items:
            self.asked.append(record)
            number = int(record.id.split()[0])
            failure = Failure(id=record.id, reason="is broken") if number == 7 else None
            yield Answer(id=record.id, text=None if failure else planned(number)[0], failure=failure)


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    """The folder of the made benchmark: videos, a dev list, and a test list without answers."""
    home = tmp_path_factory.mktemp("benchmark")
    (home / "video").mkdir()
    for number in range(4):
        write_video(home / f"video/{number}.mp4", frames=24 + number, fps=12, size=(48, 32), seed=number)
    rows = [row(number) for number in range(1, NUM_ITEMS + 1)]
    write_list(home, "dev", rows)
    hidden = ("correct_choice", "correct_answer", "quality_concern")
    write_list(home, "test", [{key: value for key, value in one.items() if key not in hidden} for one in rows])
    return home


def write_list(home, split, rows):
    (home / f"Q_Bench_Video_{split}.json").write_text(json.dumps(rows))


@pytest.fixture
def scorer(monkeypatch):
    made = PlannedScorer()
    monkeypatch.setattr(q_bench_video, "load", lambda *place, **options: made)
    return made


@pytest.fixture
def server(tmp_path):
    pytest.importorskip("openai")
    made = Server(tmp_path / "log.jsonl")
    yield made
    made.kill()


def arguments(benchmark, out, *more):
    return ["--scorer", "planned", "--benchmark", "q_bench_video", "--root", str(benchmark), "--out", str(out), *more]


def table(folder):
    return {one["questions"]: one for one in csv.DictReader((folder / "table.csv").read_text().splitlines())}


def expected(numbers):
    """n and mean percent of the planned scores, of those questions that can be answered."""
    scores = [planned(number)[1] for number in numbers if number != 7]
    return len(scores), 100 * np.mean(scores)


def numbers(*, kinds=KINDS, concern=None):
    every = range(1, NUM_ITEMS + 1)
    return [n for n in every if KINDS[n % 3] in kinds and concern in (None, CONCERNS[n % 4])]


def judged(folder):
    lines = (folder / "judgements.jsonl").read_text().splitlines()[1:]
    return Counter(json.loads(line)["number"] for line in lines)


def test_questions_are_asked_in_the_published_words_and_without_a_judge_the_rest_is_reported(
    benchmark, scorer, tmp_path, capsys
):
    main(arguments(benchmark, tmp_path / "out"))
    single, pair = (record for record in scorer.asked if record.id.split()[0] in ("4", "10"))
    assert single.turns[0].text.startswith("Question 4?\nA. Good\nB. Fair\nC. Poor\nD. Bad\nPlease answer the")
    assert [path.name for path in single.paths] == ["0.mp4"]
    assert [path.name for path in pair.paths] == ["2.mp4", "3.mp4"]
    assert pair.turns[0].text.startswith("Question 10?")
    assert scorer.asked[1].turns[0].text == "Question 2?Please directly answer the question."
    rows = table(tmp_path / "out")
    choices = KINDS[:2]
    assert (int(rows["Overall"]["n"]), float(rows["Overall"]["accuracy"])) == expected(numbers(kinds=choices))
    assert (rows["Open-ended"]["n"], rows["Open-ended"]["accuracy"]) == ("0", "")
    assert rows["Yes-or-No"]["published GPT-4o"] == "66.01"
    assert rows["Overall"]["published GPT-4o"] == ""  # of all types
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines()[:12])) <= 80
    said = " ".join(printed.split())
    num_open = len(numbers(kinds=KINDS[2:]))
    assert f"0 of {num_open} open-ended answers are judged (without --judge-url)." in said
    assert "Without any score: Open-ended. Groups with such questions are of the others alone" in said
    assert "1 of 40 questions have no answer and count in no number; the first: 7 3.mp4: is broken." in said
    assert "4 answers name no option and count as wrong: 9 1.mp4, 18 2.mp4, 27 3.mp4 and 1 more" in said
    written = json.loads((tmp_path / "out/Q_Bench_Video_dev_response.json").read_text())
    assert [one["answer"] for one in written] == ["" if n == 7 else planned(n)[0] for n in range(1, NUM_ITEMS + 1)]
    assert [{k: v for k, v in one.items() if k != "answer"} for one in written] == [
        row(n) for n in range(1, NUM_ITEMS + 1)
    ]


@pytest.mark.slow
def test_a_killed_command_and_a_killed_judge_leave_every_answer_judged_five_times_and_figures_as_by_hand(
    benchmark, scorer, server, tmp_path, capsys
):
    out, given = tmp_path / "out", numbers(kinds=KINDS[2:])
    main(arguments(benchmark, out))
    judged_by = [*("--judge-url", server.url), "--judge-model", "small", "--judge-price", "2.5,10"]
    command = [sys.executable, "-m", "evqa.eval", *arguments(benchmark, out, *judged_by)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    life = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: (out / "judgements.jsonl").exists() and judged(out).total() >= 12)
    life.send_signal(signal.SIGKILL)
    said = life.communicate()[1]
    assert f"Judge small at {server.url}: {5 * len(given)} calls, about " in " ".join(said.split())
    before = judged(out).total()
    assert before < 5 * len(given)
    life = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: judged(out).total() >= before + 8)
    server.kill()
    time.sleep(0.5)
    server.start()
    said = " ".join(life.communicate()[1].split())
    assert life.returncode == 0
    assert f"{before} of {5 * len(given)} calls of the judge were made before, and are not made again." in said
    assert len(scorer.asked) == NUM_ITEMS
    assert judged(out) == dict.fromkeys(given, 5)
    assert len(server.calls()) <= 5 * len(given) + 2 * 4  # those under way at a kill may be made twice
    groups = {"Yes-or-No": numbers(kinds=KINDS[:1]), "What-How": numbers(kinds=KINDS[1:2]), "Open-ended": given}
    groups |= {concern: numbers(concern=concern) for concern in CONCERNS} | {"Overall": numbers()}
    rows = table(out)
    assert list(rows) == list(groups)
    for name, members in groups.items():
        n, accuracy = expected(members)
        assert int(rows[name]["n"]) == n
        assert float(rows[name]["accuracy"]) == pytest.approx(accuracy)
        assert float(rows[name]["low"]) <= float(rows[name]["accuracy"]) <= float(rows[name]["high"])
    assert rows["Overall"]["published VQA²-Assistant"] == "56.5"


def wait_for(holds):
    for _ in range(1200):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to that")


def test_answers_that_a_kill_cut_short_are_gone_on_with_behind_whole_batches(benchmark, scorer, tmp_path):
    main(arguments(benchmark, tmp_path / "whole"))
    main(arguments(benchmark, tmp_path / "out"))
    path = tmp_path / "out/answers.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[: 1 + 10]) + b'{"id": "11')
    scorer.asked.clear()
    main(arguments(benchmark, tmp_path / "out"))
    assert [record.id.split()[0] for record in scorer.asked] == [str(n) for n in range(9, NUM_ITEMS + 1)]
    for file in ("answers.jsonl", "table.csv", "items.csv", "Q_Bench_Video_dev_response.json"):
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_of_the_test_list_the_answers_are_written_to_be_handed_in(benchmark, scorer, tmp_path, capsys):
    main(arguments(benchmark, tmp_path / "out", "--split", "test"))
    said = " ".join(capsys.readouterr().out.split())
    path = tmp_path / "out/Q_Bench_Video_test_response.json"
    assert f"No question of test has a score. To be handed in: {path}" in said
    assert "40 questions have no quality_concern" in said
    assert len(json.loads(path.read_text())) == NUM_ITEMS
    assert not (tmp_path / "out/table.csv").exists()


def test_bad_rows_are_listed_and_the_others_asked(benchmark, scorer, tmp_path, capsys):
    good, open_ended = row(1), row(2)
    bad = {
        "no video 9.mp4 in": good | {"video_name": "9.mp4"},
        "question_type='why': must be one of yes-or-no, what/how, open_ended": good | {"question_type": "why"},
        "answers=['Yes']: must be a list of 2 to 4 texts": good | {"answers": ["Yes"]},
        "correct_choice='F': must be one of A, B, C, D": good | {"correct_choice": "F"},
        "a pair must be named FIRST_cat_SECOND.mp4": good | {"context": "Joint"},
        "question=None: must be a text": {key: value for key, value in good.items() if key != "question"},
    }
    (tmp_path / "video").symlink_to(benchmark / "video")
    for place, (reason, one) in enumerate(bad.items()):
        write_list(tmp_path, "dev", [one, good, open_ended])
        main(arguments(tmp_path, tmp_path / f"out{place}"))
        said = " ".join(capsys.readouterr().out.split())
        assert "1 of 3 questions could not be asked; the first: Id 1" in said
        assert reason in said
        assert [record.id.split()[0] for record in scorer.asked[-2:]] == ["2", "3"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--root", "nowhere"], "nowhere/Q_Bench_Video_dev.json: is not there. --root names the folder of Q-Bench"),
        (["--split", "val"], "--split val: q_bench_video has dev and test."),
        (["--judge-url", "http://x"], "--judge-url and --judge-model belong together; give both."),
        (["--judge-price", "2.5"], "--judge-price: 2.5: give IN,OUT, dollars for a million tokens, as in 2.5,10"),
        (["--data", "konvid1k"], "--benchmark and --data: give one of them."),
        (["--scorer", "nowhere"], "nowhere: is not there. A scorer is a run folder"),
    ],
)
def test_what_cannot_be_used_is_a_sentence(given, sentence, benchmark, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments(benchmark, tmp_path / "out", *given))
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.rglob("*.json"))


def test_flags_of_a_benchmark_alone_are_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--scorer", "x", "--data", "konvid1k", "--root", "y"])
    assert "--root: belongs to --benchmark (q_bench_video)." in capsys.readouterr().err


@pytest.mark.slow
def test_the_small_assistant_answers_singles_and_pairs_as_when_it_is_asked_directly(
    vqa2, benchmark, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(q_bench_video, "ANSWER", replace(q_bench_video.ANSWER, max_new_tokens=32))
    weights = reference.write_checkpoint(tmp_path / "weights")
    given = [*FLOAT32, f"model.checkpoint='{weights}'", "data.batch_size=3"]
    flags = [word for line in given for word in ("--override", line)]
    main([*arguments(benchmark, tmp_path / "out", *flags), "--scorer", "vqa2_assistant"])
    alone, answers = evqa.load("vqa2_assistant", overrides=given, batch_size=1), []
    for item in read_questions(benchmark, "dev").items[3:10]:
        record = Record(id="", paths=item.paths)
        (answer,) = alone.ask([record], question=item.message, decoding=q_bench_video.ANSWER)
        answers.append(answer.text)
    assert len(set(answers)) > 2
    written = json.loads((tmp_path / "out/Q_Bench_Video_dev_response.json").read_text())
    assert [item["answer"] for item in written[3:10]] == answers
    assert "q_bench_video, dev: vqa2_assistant" in capsys.readouterr().out
