"""`evqa ask`: one way of asking, from a flag, a file, a terminal and Python."""

import json
import os
import pty
import re
import subprocess
import sys
import threading
import time

import pytest

import evqa
from evqa.errors import ConfigError
from evqa.prompts.decoding import Decoding
from evqa.types import Record, Turn
from tests.models.vqa2 import reference
from tests.scoring.test_vqa2 import write_video

QUESTIONS = ["Is it sharp?", "Why do you think so?", "Which part?"]
SHORT = Decoding(max_new_tokens=6)
EXACTLY = ["model.dtype=float32", "trainer.precision=32", "trainer.accelerator=cpu"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A tiny assistant in the published layout, and two videos."""
    home = tmp_path_factory.mktemp("ask")
    reference.write_random(home / "weights")
    for index, name in enumerate(("a.mkv", "b.mkv")):
        write_video(home / name, frames=24 + 8 * index, fps=10, size=(64, 48), seed=index)
    return home


@pytest.fixture(scope="module")
def scorer(home):
    return evqa.load("vqa2_assistant", overrides=[f"model.checkpoint='{home}/weights'", *EXACTLY], batch_size=4)


def command(home, *arguments):
    overrides = [f"model.checkpoint='{home}/weights'", *EXACTLY]
    more = [part for line in overrides for part in ("--override", line)]
    words = ["--max-new-tokens", "6", "--scorer", "vqa2_assistant"]
    return [sys.executable, "-m", "evqa.ask", *words, *more, *map(str, arguments)]


def run(home, *arguments, given="", status=0):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        command(home, *arguments), input=given, cwd=home, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def spoken(dialogue, questions):
    return ["".join(dialogue.ask(question)) for question in questions]


def test_three_turns_have_the_same_answers_everywhere(home, scorer):
    answers = spoken(scorer.chat(home / "a.mkv", decoding=SHORT), QUESTIONS)
    assert len(set(answers)) > 1
    (home / "chat.jsonl").write_text(json.dumps({"question": QUESTIONS}))
    lines = run(home, "a.mkv", "--questions", "chat.jsonl", "--json").stdout.splitlines()
    assert [json.loads(line)["answer"] for line in lines] == answers
    piped = run(home, "a.mkv", "--chat", given="\n".join(QUESTIONS)).stdout
    assert piped == "".join(f"{answer}\n" for answer in answers)
    turns = [Turn(role="user", text=QUESTIONS[0])]
    for question, answer in zip(QUESTIONS[1:], answers, strict=False):
        turns += [Turn(role="assistant", text=answer), Turn(role="user", text=question)]
    (last,) = scorer.ask([Record(id="a", paths=(home / "a.mkv",), turns=tuple(turns))], decoding=SHORT)
    assert last.text == answers[-1]


@pytest.mark.slow
def test_a_terminal_shows_the_same_until_it_is_ended(home, scorer):
    """A real terminal: what is typed is shown, and Ctrl-D ends."""
    answers = spoken(scorer.chat(home / "a.mkv", decoding=SHORT), QUESTIONS)
    shown = type_into(command(home, "a.mkv", "--chat"), QUESTIONS, home)
    text = re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", shown).replace("\r\n", "\n")
    expected = "".join(f"> {question}\n{answer}\n" for question, answer in zip(QUESTIONS, answers, strict=True))
    assert expected.replace("\n", "") in text.replace("\n", "").replace("\r", "")


def type_into(program, lines, folder):
    """Type a line whenever the program waits for one, then Ctrl-D; returns everything that the terminal showed."""
    main, side = pty.openpty()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TERM": "dumb", "PYTHONIOENCODING": "utf-8"}
    process = subprocess.Popen(program, stdin=side, stdout=side, stderr=side, cwd=folder, env=environment)
    os.close(side)
    shown, todo = bytearray(), [*(f"{line}\n".encode() for line in lines), b"\x04"]

    def read():
        while True:
            try:
                shown.extend(os.read(main, 4096))
            except OSError:
                return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    deadline = time.monotonic() + 120
    while todo and time.monotonic() < deadline:
        if shown.endswith(b"> "):
            os.write(main, todo.pop(0))
        time.sleep(0.2)
    assert process.wait(timeout=60) == 0
    reader.join(timeout=5)
    return shown.decode(errors="replace")


def test_questions_about_one_file_read_and_encode_it_once(home, scorer, monkeypatch):
    read, encoded = [], []
    monkeypatch.setattr(scorer._recalling.read, "_read", counted(scorer._recalling.read._read, read))
    scorer._recalling.read._kept.clear()
    model = scorer.module.model
    monkeypatch.setattr(model, "encode_frames", counted(model.encode_frames, encoded))
    asked = [Turn(role="user", text=question) for question in QUESTIONS]
    records = [Record(id=str(at), paths=(home / "a.mkv",), turns=(turn,)) for at, turn in enumerate(asked)]
    together = [answer.text for answer in scorer.ask(records, decoding=SHORT)]
    assert (len(read), len(encoded)) == (1, 1)
    alone = [next(iter(scorer.ask([home / "a.mkv"], question=text, decoding=SHORT))).text for text in QUESTIONS]
    assert together == alone


def counted(function, calls):
    def call(*arguments, **named):
        calls.append(arguments)
        return function(*arguments, **named)

    return call


def test_a_pair_is_asked_about_together(home, scorer):
    pair = Record(id="pair", paths=(home / "a.mkv", home / "b.mkv"))
    turned = Record(id="turned", paths=(home / "b.mkv", home / "a.mkv"))
    first, second = scorer.ask([pair, turned], question="Which is better?", decoding=SHORT)
    assert first.failure is None
    assert first.text != second.text
    said = run(home, "a.mkv", "b.mkv", "--question", "Which is better?").stdout
    assert said == f"{first.text}\n"


def test_a_questions_file_may_name_files_and_tells_what_failed_at_the_end(home):
    (home / "bad.mkv").write_bytes(b"no video")
    lines = [
        {"id": "one", "question": "Sharp?"},
        {"id": "two", "question": "Sharp?", "files": ["bad.mkv"]},
        {"id": "three", "question": "Sharp?", "files": "b.mkv"},
    ]
    (home / "three.jsonl").write_text("\n".join(map(json.dumps, lines)))
    done = run(home, "a.mkv", "--questions", "three.jsonl", "--json", status=2)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert ["answer" in answer for answer in answers] == [True, False, True]
    assert "1 of 3 could not be answered:" in done.stderr
    assert "two: " in done.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: no JSON"),
        ('{"question": " "}', "line 2: no question"),
        ('{"question": ["a", 3]}', "line 2: no question"),
        ('{"question": "a", "files": ["none.mp4"]}', r"line 2: none.mp4: there is no such file"),
    ],
)
def test_a_line_that_cannot_be_used_is_told_before_anything_is_loaded(home, tmp_path, line, message):
    (tmp_path / "q.jsonl").write_text(f'{{"question": "a"}}\n{line}\n')
    done = run(home, "a.mkv", "--questions", tmp_path / "q.jsonl", status=2)
    assert re.search(message, done.stderr)
    assert not done.stdout


def test_what_cannot_be_answered_is_a_sentence(home, scorer):
    assert "name a file to ask about" in run(home, "--question", "Sharp?", status=2).stderr
    chat = scorer.chat(home / "a.mkv", decoding=SHORT)
    with pytest.raises(ConfigError, match="there is nothing to ask"):
        next(chat.ask(" "))
    broken = scorer.chat(home / "none.mkv", decoding=SHORT)
    with pytest.raises(ConfigError, match=r"none.mkv: "):
        next(broken.ask("Sharp?"))
    assert chat.turns == broken.turns == ()
