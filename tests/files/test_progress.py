"""One line that says how far something is: in a terminal that is resized, in a pipe, and after Ctrl-C."""

import re
import signal

import pytest

from evqa.files.progress import Standing, Stopped, Teller, counted, duration, rate
from tests.screen import Screen

STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "
WHERE = Standing(
    place="epoch 2/10, step 64/320", share=0.2, facts=("loss 0.0412", "val 0.6123", "121 samples/s"), left_s=130
)
PROGRAM = """
import sys
from evqa.files.progress import counted, say_stop
try:
    with counted("scoring val", 4) as counting:
        for number in range(1, 4):
            counting.teller._last = 0.0
            counting.move(number)
            sys.stderr.write(f"told {number}\\n" if number == 2 else "")
            input()
except KeyboardInterrupt as stop:
    say_stop(stop)
"""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "under 1 s"),
        (1.2, "1 s"),
        (99.4, "99 s"),
        (99.5, "2 min"),
        (5999, "1 h 40 min"),
        (12000, "3 h 20 min"),
        (187200, "2 d 4 h"),
    ],
)
def test_a_duration_in_words(seconds, words):
    assert duration(seconds) == words


def test_a_line_says_all_and_a_drawn_one_what_there_is_room_for():
    text = "epoch 2/10, step 64/320, loss 0.0412, val 0.6123, 121 samples/s, about 2 min left"
    assert str(WHERE) == text
    assert WHERE.drawn(119) == f"{'━' * 6}{'─' * 24} {text}"
    assert WHERE.drawn(79) == f"━━{'─' * 10} {text.replace(', 121 samples/s', '')}"
    assert WHERE.drawn(20, marks=("#", "-")) == "epoch 2/10, step 64/"
    assert all(len(WHERE.drawn(width)) <= width for width in range(1, 130))
    assert str(Standing(place="decoding, 3/9", share=0.3)) == "decoding, 3/9"
    assert (rate(121.4), rate(0.234)) == ("121", "0.23")


def test_a_pipe_gets_a_line_a_minute_and_one_at_the_end(monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr("evqa.files.progress.time.monotonic", lambda: clock[0])
    with counted("decoding", 9, begin=1) as counting:
        for _ in counting.watch(range(8)):
            clock[0] += 25
    lines = capsys.readouterr().out.splitlines()
    assert [re.sub(f"^{STAMP}", "@ ", line) for line in lines] == [
        "@ decoding, 4/9, 0.04/s, about 2 min left",
        "@ decoding, 7/9, 0.04/s, about 50 s left",
        "@ decoding, 9/9, 0.04/s, took 3 min",
    ]
    with counted("decoding", 9, begin=9):
        pass
    Teller(wanted=False).tell(WHERE, milestone=True)
    assert capsys.readouterr().out == ""


def test_ctrl_c_tells_where_it_came():
    def stopped():
        with counted("decoding", 3) as counting:
            for number in counting.watch(range(3)):
                if number == 1:
                    raise KeyboardInterrupt

    with pytest.raises(Stopped, match=r"^Stopped while decoding, 1/3; the same command continues\.$"):
        stopped()


def test_a_terminal_keeps_one_line_through_a_resize_and_other_output():
    screen = Screen(100, "-c", PROGRAM)
    first = screen.until("1/4")[-1]
    assert re.fullmatch(r"━+─+ scoring val, 1/4, [\d.]+/s, .* left", first)
    screen.resize(30)
    screen.type("\n")
    screen.until("told 2")
    screen.type("\n")
    rows = screen.until("3/4")
    assert len(rows[-1]) < 30
    assert "told 2" in rows
    assert sum("scoring" in row for row in rows) == 1
    screen.process.send_signal(signal.SIGINT)
    rows = screen.until(None)
    assert rows[-2:] == ["Stopped while scoring val, 3/4; the same command continues.", ""]
    assert sum("scoring" in row for row in rows) == 1
