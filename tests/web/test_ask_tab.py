"""Asking about files in a real browser, and by the API."""

import json
import re
from dataclasses import replace

import httpx
import pytest
from gradio_client import Client, handle_file

import evqa
from evqa.errors import ConfigError
from evqa.prompts.decoding import Decoding
from evqa.scoring.annotation import Annotator
from evqa.training.callbacks.checkpoint_files import read_checkpoint, write_checkpoint
from evqa.web.ask_tab import change as late_change
from evqa.web.chat import BUSY, FORGOTTEN, NEVER_BEGUN, STOPPED, VisitorChat
from evqa.web.scorers import OfferedScorer
from evqa.web.seconds_part import SecondsDesk, SecondsJob, annotated, seconds_prompt
from evqa.web.seconds_part import clear as late_clear
from tests.web.test_guard import as_file, upload
from tests.web.visiting import contrast, open_by_name, reach

WAIT = 60_000
LETTERS = [*range(ord("a"), ord("z") + 1), *range(258, 265)]  # and the words for levels
QUESTIONS = ["Is it sharp?", "Why do you think so?", "Which <img src=x onerror=alert(1)> ![part](https://x.invalid/a)?"]
# As a model of some size writes: beside busy neighbours a browser needs a while to press Stop.
THOUGHTFUL = """
import time
from evqa.scoring.dialogue import Dialogue
from evqa.serve import main

at_once = Dialogue.ask

def ask(self, question):
    for piece in at_once(self, question):
        time.sleep(0.01)
        yield piece

Dialogue.ask = ask
main()
"""
WATCH = """stop => {
    window.lengths = []
    new MutationObserver((_, observer) => {
        const text = [...document.querySelectorAll("[data-testid=bot]")].pop()?.innerText ?? ""
        if (lengths.at(-1) !== text.length) lengths.push(text.length)
        if (!stop || text.length < 2) return
        observer.disconnect();
        [...document.querySelectorAll("button")].find(button => button.innerText === "Stop").click()
    }).observe(document.body, {subtree: true, childList: true, characterData: true})
}"""


@pytest.fixture(scope="module")
def assistant(train):
    """A run whose model never ends by itself, and writes letters alone."""
    run = train("head=levels", "model.num_layers=8", "trainer.epochs=1", "run.name=assistant")
    content = read_checkpoint(run.checkpoints / "best.ckpt")
    words_VD = content["state_dict"]["model.lm_head.weight"]
    words_VD[[token for token in range(len(words_VD)) if token not in LETTERS]] = 0.0
    write_checkpoint(run.checkpoints / "best.ckpt", content)
    return run.path


@pytest.fixture(scope="module")
def offered(assistant):
    return OfferedScorer(name="assistant", scorer=evqa.load(assistant))


@pytest.fixture(scope="module")
def page(serve, assistant):
    with serve("--scorer", assistant, program=("-c", THOUGHTFUL)) as page:
        yield page


def expected(offered, path, questions):
    dialogue = offered.scorer.chat(path)
    return ["".join(dialogue.ask(question)).strip() for question in questions]


def open_ask(visit, page, *paths):
    tab = visit(page)
    tab.get_by_role("tab", name="Ask").click()
    choose(tab, *paths)
    return tab


def choose(tab, *paths):
    if paths:
        if (clear := tab.get_by_role("tabpanel").filter(visible=True).get_by_label("Clear").first).is_visible():
            clear.click()
            tab.locator(".evqa-preview:visible").first.wait_for(state="detached", timeout=WAIT)
        tab.locator("input[type=file]").last.set_input_files(list(paths))
        tab.locator(".evqa-preview:visible").nth(len(paths) - 1).wait_for(timeout=WAIT)


def ask(tab, question):
    tab.get_by_label("Question").fill(question)
    tab.get_by_label("Question").press("Enter")


def answers(tab, count, *, length=256):
    """Wait until the last of so many answers is whole; returns all of them."""
    found = tab.get_by_test_id("bot")
    found.nth(count - 1).filter(has_text=re.compile(rf"^\s*\S(.|\s){{{length - 2},}}$")).wait_for(timeout=WAIT)
    tab.wait_for_function("!document.querySelector('.generating, .pending')", timeout=WAIT)
    return [text.strip() for text in found.all_inner_texts()]


def test_three_turns_stream_and_are_those_of_the_command(visit, page, clips, offered):
    tab = open_ask(visit, page, clips[0])
    right = expected(offered, clips[0], QUESTIONS)
    assert len(set(right)) == 3
    for number, question in enumerate(QUESTIONS):
        tab.evaluate(WATCH, False)
        ask(tab, question)
        assert answers(tab, number + 1) == right[: number + 1]
        growing = tab.evaluate("lengths")
        assert len([length for length in growing if 1 < length < len(right[number])]) > 1, growing
        assert tab.get_by_label("Question").input_value() == ""
    assert tab.get_by_test_id("user").all_inner_texts() == QUESTIONS
    assert tab.get_by_test_id("user").locator("img").count() == 0
    assert tab.get_by_text("Note: the video lasts 2.0 s, shorter than the 8 s asked for").is_visible()
    tab.get_by_role("button", name="New conversation").click()
    tab.get_by_test_id("bot").first.wait_for(state="detached", timeout=WAIT)


def test_a_stopped_answer_ends_and_is_not_part_of_the_conversation(visit, page, clips, offered):
    tab = open_ask(visit, page, clips[0])
    tab.evaluate(WATCH, True)
    ask(tab, QUESTIONS[0])
    tab.get_by_text(STOPPED).wait_for(timeout=WAIT)
    whole, alone = (expected(offered, clips[0], [question])[0] for question in QUESTIONS[:2])
    begun = tab.get_by_test_id("bot").first.inner_text().strip()
    assert whole.startswith(begun)
    assert 0 < len(begun) < len(whole)
    ask(tab, QUESTIONS[1])
    assert answers(tab, 3) == [begun, STOPPED, alone]


def test_two_visitors_at_once_have_conversations_of_their_own(visit, page, clips, offered):
    tabs = [open_ask(visit, page, clip) for clip in clips[:2]]
    asked = [QUESTIONS[:2], QUESTIONS[1::-1]]
    for number, questions in enumerate(zip(*asked, strict=True), start=1):
        for tab, question in zip(tabs, questions, strict=True):
            ask(tab, question)
        for tab in tabs:
            answers(tab, number)
    for tab, clip, questions in zip(tabs, clips, asked, strict=False):
        assert answers(tab, 2) == expected(offered, clip, questions)


def test_what_cannot_be_asked_is_a_sentence_and_the_page_goes_on(visit, page, clips, tmp_path, offered):
    tab = open_ask(visit, page)
    alert = tab.get_by_role("alert").filter(visible=True)
    for question, sentence in ((" ", "there is nothing to ask"), ("Sharp?", "Choose a file first.")):
        ask(tab, question)
        alert.filter(has_text=sentence).wait_for(timeout=WAIT)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    choose(tab, tmp_path / "bad.mp4")
    ask(tab, "Sharp?")
    (broken,) = offered.scorer.ask([tmp_path / "bad.mp4"], question="Sharp?")
    alert.get_by_text(f"bad.mp4: {broken.failure.reason}", exact=True).wait_for(timeout=WAIT)
    assert tab.get_by_test_id("user").count() == 0
    assert tab.get_by_label("Question").input_value() == "Sharp?"
    tab.get_by_role("button", name="Every second").click()
    alert.get_by_text(f"bad.mp4: {broken.failure.reason}", exact=True).nth(1).wait_for(timeout=WAIT)
    choose(tab, *clips[:3])
    ask(tab, "Sharp?")
    alert.filter(has_text="3 files: assistant can be asked about 2 files at once. Take some away.").wait_for()
    choose(tab, *clips[:2])
    ask(tab, "Which is better?")
    pair = evqa.types.Record(id="pair", paths=tuple(clips[:2]))
    assert answers(tab, 1) == expected(offered, pair, ["Which is better?"])


def test_every_second_has_a_heat_map_levels_and_answers(visit, page, clips, offered):
    tab = open_ask(visit, page, clips[0])
    tab.get_by_role("button", name="Every second").click()
    card = tab.locator(".evqa-seconds")
    card.wait_for(timeout=WAIT)
    assert card.get_by_role("img", name="levels of sharpness, light").bounding_box()["width"] > 300
    assert card.locator("svg image").count() == 2  # the levels, and the bar of their colours
    card.get_by_text("Levels and answers").click()
    card.locator("tbody tr").last.wait_for(timeout=WAIT)
    annotator = Annotator(offered.scorer, seconds_prompt(), decoding=Decoding(max_new_tokens=20))
    rows = [row.locator("th, td").all_inner_texts() for row in card.locator("tbody tr").all()]
    right = [
        (f"{second.number} s", name, f"{level:.2f}", answer.strip())
        for second in annotator.annotate(clips[0])
        for name, level, answer in zip(annotator.dimensions, second.levels, second.answers, strict=True)
    ]
    assert [tuple(row[:3]) for row in rows] == [row[:3] for row in right]
    assert len(rows) == 16
    assert all(row[3].strip().startswith(answer) for row, (_, _, _, answer) in zip(rows, right, strict=True))
    assert "The sound is not read" in card.inner_text()


def test_a_narrow_page_with_all_that_was_asked_is_readable_light_and_dark(visit, page, clips):
    tab = visit(page, viewport={"width": 420, "height": 900})
    open_by_name(tab, "Ask")
    panel = tab.get_by_role("tabpanel").filter(visible=True)
    choose(tab, *clips[:2])
    ask(tab, QUESTIONS[0])
    answers(tab, 1)
    panel.get_by_role("button", name="Every second").click()
    panel.locator(".evqa-seconds").nth(1).wait_for(timeout=WAIT)
    ask(tab, " ")
    panel.get_by_role("alert").wait_for(timeout=WAIT)
    panel.locator("summary").first.click()
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        tab.locator("body.dark" if scheme == "dark" else "body:not(.dark)").wait_for(timeout=WAIT)
        tab.wait_for_timeout(500)  # until colours have changed
        for place in (
            "[data-testid=user] span", "[data-testid=bot] span", "[role=alert] p", "textarea", ".evqa-about",
            ".evqa-seconds h3", ".evqa-seconds li", ".evqa-plot svg", ".evqa-seconds summary", ".evqa-seconds td",
        ):  # fmt: skip
            assert contrast(panel.locator(place).first) >= 4.5, (scheme, place)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 420
    for name in ("Ask", "Stop", "New conversation", "Every second", "Stop the seconds"):
        button = panel.get_by_role("button", name=name, exact=True)
        button.click(trial=True)
        assert 0 < button.bounding_box()["x"] < button.bounding_box()["x"] + button.bounding_box()["width"] < 420
    heat_map = panel.locator(".evqa-plot").first
    letters = heat_map.locator("g[id*=text_]").all()
    assert min(max(one.bounding_box()["width"], one.bounding_box()["height"]) for one in letters) > 6
    heat_map.evaluate("box => box.scrollLeft = box.scrollWidth")
    assert 0 < letters[-1].bounding_box()["x"] < 400


def test_files_are_asked_about_by_keyboard_alone(visit, page, clips):
    tab = visit(page)
    tab.on("filechooser", lambda chooser: chooser.set_files(clips[:2]))  # see test_page
    tab.get_by_text("Click to Upload").first.wait_for(timeout=WAIT)
    tab.wait_for_timeout(1000)
    press = "document.activeElement.matches('button') && document.activeElement.innerText.includes('{}')"
    for name in ("Ask", "Click to Upload"):
        reach(tab, press.format(name))
        tab.keyboard.press("Enter")
    tab.locator(".evqa-preview").nth(1).wait_for(timeout=WAIT)
    reach(tab, "document.activeElement.closest('label')?.innerText.includes('Question')")
    tab.keyboard.type("Sharp?")
    reach(tab, press.format("Ask"))
    program, file = Client(page.address, verbose=False), handle_file(clips[0])
    before = [program.submit([file], "Sharp?", api_name="/ask") for _ in range(3)]  # so that there is time to stop
    tab.keyboard.press("Enter")
    tab.get_by_test_id("user").wait_for(timeout=WAIT)
    reach(tab, press.format("Stop"))
    tab.keyboard.press("Enter")
    tab.get_by_test_id("bot").get_by_text("Stopped").wait_for(timeout=WAIT)
    assert all(job.result()["answer"] for job in before)
    reach(tab, press.format("Every second"))
    tab.keyboard.press("Enter")
    tab.locator(".evqa-seconds").nth(1).wait_for(timeout=WAIT)


def test_seconds_that_are_stopped_show_what_there_is_and_dropped_ones_nothing(clips, offered):
    desk = SecondsDesk()
    desk.begin()
    desk.begin()
    job = desk.take()
    assert desk.take() is None
    shown = annotated(job, [clips[0]], offered)
    assert "1 of 2 seconds" in next(shown)
    desk.stop()
    (card,) = shown
    assert "Stopped: seconds that were asked about: 1." in card
    desk.begin()
    job = desk.take()
    desk.stop(drop=True)
    assert list(annotated(job, [clips[0]], offered)) == [""]


def test_what_has_taken_its_time_ends_with_what_there_is(clips, offered):
    hurried = replace(offered, max_seconds=0.0)
    chat = VisitorChat()
    chat.take("Sharp?", hurried, [clips[0]])
    list(chat.answer())
    (_, answer) = chat.messages()
    written, note = (part["text"] for part in answer["content"])
    assert len(written) == 1
    assert note.startswith("Stopped: a request may take 0 s on this page (--max-time)")
    assert note.endswith("This answer is not part of the conversation.")
    *_, cards = annotated(SecondsJob(), clips[:2], hurried)
    assert "Stopped: seconds that were asked about: 1." in cards
    assert cards.count("a request may take 0 s") == 2


def test_a_choice_that_is_told_late_ends_nothing_that_is_about_it(clips, offered):
    paths = list(map(str, clips[:1]))
    chat, desk = VisitorChat(), SecondsDesk()
    chat.take("Sharp?", offered, clips[:1])
    desk.begin("assistant", clips[:1])
    late_change(chat, paths, "assistant")
    late_clear(desk, paths, "assistant")
    assert chat.asked is not None
    assert not desk.job.is_stopped
    job = desk.job
    late_change(chat, [], "assistant")
    late_clear(desk, [], "assistant")
    assert chat.asked is None
    assert job.is_dropped


def test_a_chat_answers_one_question_at_a_time(clips, offered):
    chat = VisitorChat()
    chat.begin("assistant", [clips[0]])
    chat.take("Sharp?", offered, [clips[0]])
    with pytest.raises(ConfigError, match=BUSY):
        chat.take("Why?", offered, [clips[0]])
    chat.stop()
    assert chat.messages()[1]["content"][0]["text"] == NEVER_BEGUN
    assert list(chat.answer()) == []
    chat.take("Why?", offered, [clips[0]])
    writing = chat.answer()
    next(writing)
    chat.begin("assistant", [clips[1]])
    assert list(writing) == chat.messages() == []
    chat.take("Why?", offered, [clips[0]])
    assert (chat.notes, len(chat.said)) == ((FORGOTTEN,), 1)


def test_a_scorer_that_takes_one_file_is_not_asked_about_two(clips, offered, monkeypatch):
    monkeypatch.setattr(offered.scorer.module.model, "max_files", 1)
    with pytest.raises(ConfigError, match=r"2 files: assistant can be asked about one file at once\. Take"):
        VisitorChat().take("Which?", offered, clips[:2])


def test_programs_ask_too_and_see_the_answer_grow(page, clips, offered):
    program = Client(page.address, verbose=False)
    files = [handle_file(clip) for clip in clips[:2]]
    pair = evqa.types.Record(id="pair", paths=tuple(clips[:2]))
    (right,) = offered.scorer.ask([pair], question="Which is better?")
    whole = {"scorer": "assistant", "answer": right.text, "missing": list(dict.fromkeys(right.missing)), "error": None}
    assert program.predict(files, "Which is better?", api_name="/ask") == whole
    told = list(program.submit(files, "Which is better?", api_name="/ask"))
    assert told[-1] == whole
    assert_grows([one["answer"] for one in told], right.text)
    for arguments, sentence in (
        ((files, " "), "question=' ': there is nothing to ask."),
        ((files, "Sharp?", "other"), "scorer='other': there is none of this name. There is: assistant."),
        (([], "Sharp?"), "Choose a file first."),
        ((["/etc/hostname"], "Sharp?"), 'file: upload it, and name it by an object {"path": "..."}.'),
    ):
        assert program.predict(*arguments, api_name="/ask") == {"error": sentence}


def test_events_of_the_api_hold_the_answer_so_far(page, clips, offered):
    with httpx.Client(base_url=page.address, timeout=60) as client:
        (path,) = upload(client, clips[0]).json()
        call = client.post("/gradio_api/call/ask", json={"data": [[as_file(path)], "Sharp?", ""]}).json()
        with client.stream("GET", f"/gradio_api/call/ask/{call['event_id']}") as stream:
            lines = [line.partition(": ") for line in stream.iter_lines() if line]
    events = [value for name, _, value in lines if name == "event"]
    told = [json.loads(value)[0]["answer"] for name, _, value in lines if name == "data"]
    assert events == ["generating"] * (len(events) - 1) + ["complete"]
    assert_grows(told, expected(offered, clips[0], ["Sharp?"])[0])


def assert_grows(told, whole):
    assert len({len(one) for one in told}) > 2
    assert told == sorted(told, key=len)
    assert all(whole.startswith(one) for one in told)
    assert told[-1].strip() == whole
