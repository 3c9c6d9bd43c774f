"""Answers before a real endpoint that answers wrongly, slowly and with errors, and is killed in the middle."""

import json
import sys
import threading
import time
from collections import Counter

import pytest

from evqa.errors import ConfigError, MissingDependencyError, RunError
from evqa.scoring import judge as judge_module
from evqa.scoring.judge import Judge, Reply, read_mark
from evqa.scoring.judging import JudgeTask, Judging, estimate, mean_mark
from tests.scoring.judge_server import Server

pytest.importorskip("openai")


@pytest.fixture
def server(tmp_path):
    made = Server(tmp_path / "log.jsonl")
    yield made
    made.kill()


@pytest.fixture
def judge(server, monkeypatch):
    monkeypatch.setattr(judge_module, "SECONDS", 1.0)
    return Judge(url=server.url, model="small")


def tasks(*answers):
    return [
        JudgeTask(number=number, question=f"What is wrong with {number}?", answer=answer, reference="It is blurred.")
        for number, answer in enumerate(answers, 1)
    ]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


def counts(path):
    """How often each item was judged."""
    return Counter(line["number"] for line in lines(path))


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        *(("Score: 2", 2), ("Score:1", 1), ("0", 0), ("**Score:** 2", 2), ("It fits. Score: 1.\n", 1)),
        *(("Score: 3", None), ("Score: 2/2", None), ("", None), ("two", None), ("Score: 12", None), ("1 2", None)),
    ],
)
def test_a_mark_is_what_a_reply_ends_with(text, mark):
    assert read_mark(text) == mark


def test_the_mean_is_of_valid_calls_and_of_half_marks():
    assert mean_mark([Reply(mark=2), Reply(mark=1), Reply(reason="x"), Reply(mark=0), Reply(mark=1)]) == 0.5
    assert mean_mark([Reply(reason="x")]) is None


def test_the_estimate_counts_a_token_for_four_characters():
    left = tasks("a") * 5
    characters = 5 * (len(judge_module.SYSTEM) + len(left[0].message))
    tokens = characters // 4
    said = estimate(left, (2.5, 10.0))
    assert said.startswith(f"5 calls, about {tokens:,} tokens in and 20 out")
    assert said.endswith(f"about ${(2.5 * tokens + 10 * 20) / 1e6:.2f}")
    assert "cost unknown" in estimate(left, None)


def test_every_answer_is_judged_five_times_in_the_published_words_although_the_server_misbehaves(
    server, judge, tmp_path
):
    given = tasks("mark=2", "mark=1", "talk", "html", "refuse")
    replies = Judging(given, judge, path=tmp_path / "j.jsonl", replace=False).run()
    assert {number: len(of_item) for number, of_item in replies.items()} == dict.fromkeys(range(1, 6), 5)
    assert [mean_mark(replies[number]) for number in range(1, 6)] == [1.0, 0.5, None, None, None]
    assert replies[3][0].reason == "names no score of 0, 1 or 2"
    assert replies[4][0].reason == "the endpoint answered with something that is no chat completion"
    assert replies[5][0].reason == "refused by the endpoint: Error code: 400 - not that"
    assert counts(tmp_path / "j.jsonl") == dict.fromkeys(range(1, 6), 5)
    (asked, *_) = [call["messages"] for call in server.calls() if "mark=2" in call["messages"][1]["content"]]
    assert asked[0]["content"].endswith("You will pay attention to the context of `quality evaluation' when grading.")
    assert asked[1]["content"].startswith(
        "Given the question [What is wrong with 1?], evaluate whether the response [mark=2] completely matches the "
        "correct answer [It is blurred.]. \nFirst, check the response and please rate score 0 if the response"
    )
    assert asked[1]["content"].endswith("Please only provide the result in the following format: Score:")


def test_a_server_that_is_killed_and_started_again_is_asked_on(server, judge, tmp_path):
    done = []
    judging = Judging(tasks(*["mark=1"] * 6), judge, path=tmp_path / "j.jsonl", replace=False)
    thread = threading.Thread(target=lambda: done.append(judging.run()))
    thread.start()
    while len(server.calls()) < 8:
        time.sleep(0.02)
    server.kill()
    before = len(lines(tmp_path / "j.jsonl"))
    time.sleep(1)
    server.start()
    thread.join(60)
    assert done
    assert before < 30
    assert counts(tmp_path / "j.jsonl") == dict.fromkeys(range(1, 7), 5)


def test_a_judge_that_is_gone_ends_in_a_sentence_and_what_it_said_is_kept(server, judge, tmp_path, monkeypatch):
    monkeypatch.setattr(judge_module, "NUM_RETRIES", 1)
    path, given = tmp_path / "j.jsonl", tasks("mark=2", "mark=0", "mark=1")
    impatient = Judge(url=server.url, model="small")

    def dies(done):
        for count, one in enumerate(done, 1):
            if count == 4:
                server.kill()
            yield one

    with pytest.raises(RunError, match=r"The judge small at http://127.* does not answer: "):
        Judging(given, impatient, path=path, replace=False).run(dies)
    kept = lines(path)
    assert 4 <= len(kept) < 15
    with path.open("ab") as file:
        file.write(b'{"number": 1, "te')  # a kill in the middle of a line
    server.start()
    judging = Judging(given, judge, path=path, replace=False)
    assert len(judging.left) == 15 - len(kept)
    judging.run()
    assert lines(path)[: len(kept)] == kept
    assert counts(path) == {1: 5, 2: 5, 3: 5}
    finished = Judging(given, judge, path=path, replace=False)
    assert finished.left == []
    finished.run()
    with pytest.raises(ConfigError, match="belongs to a command with other inputs"):
        Judging(tasks("mark=1"), judge, path=path, replace=False)
    with pytest.raises(ConfigError, match="belongs to a command with another --judge-model"):
        Judging(given, Judge(url=server.url, model="large"), path=path, replace=False)


def test_an_unknown_model_stops_at_once(server, tmp_path):
    with pytest.raises(RunError, match=r"does not answer: Error code: 404 - .*no such model"):
        Judging(tasks("mark=1"), Judge(url=server.url, model="unknown"), path=tmp_path / "j", replace=False).run()


def test_without_the_client_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'evqa\[judge\]'"):
        Judge(url="http://127.0.0.1:1", model="small")
