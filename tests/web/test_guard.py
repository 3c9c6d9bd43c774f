"""What programs may ask of a page that is really served, and what nobody may."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

import evqa
from evqa.errors import ConfigError, MediaError
from evqa.media.clip import read_clip
from evqa.media.sampling import FrameSampling
from evqa.media.spec import ClipSpec, FrameStream
from evqa.types import Record
from evqa.web.scorers import OfferedScorer
from evqa.web.visitors import GRACE_SECONDS, KEPT_SECONDS, Visitors, delete_given_up
from evqa.web.why_tab import explained
from tests.media.conftest import write_video

UPLOAD = "/gradio_api/upload"


@pytest.fixture
def program(served):
    with httpx.Client(base_url=served.address, timeout=60) as client:
        yield client


def upload(client, path, name=None):
    return client.post(UPLOAD, files={"files": (name or path.name, path.read_bytes())})


def as_file(path):
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def call(client, name, *data):
    """Call a function of the page as docs/serving.md says; returns what it answers, or the response that refused."""
    begun = client.post(f"/gradio_api/call/{name}", json={"data": list(data)})
    if begun.status_code != 200:
        return begun
    with client.stream("GET", f"/gradio_api/call/{name}/{begun.json()['event_id']}") as stream:
        lines = [line.removeprefix("data: ") for line in stream.iter_lines() if line.startswith("data: ")]
    (answer,) = json.loads(lines[-1])
    return answer


def test_a_program_gets_the_score_that_the_scorer_gives(program, clips, finished):
    (path,) = upload(program, clips[0]).json()
    answer = call(program, "score", as_file(path), "A dog", "", "", "v")
    record = Record(id="x", paths=(clips[0],), texts={"title": "A dog"})
    (alone,) = evqa.load(finished.path, modal="v").score([record])
    assert answer["score"] == pytest.approx(alone.value, abs=1e-5)
    assert (answer["label"], answer["modal"], answer["error"]) == ("ECR", "v", None)
    explained = call(program, "explain", as_file(path), "A dog", "", "")
    assert explained["openings"]
    assert "what makes people stay" in explained["caution"]


LINKS = {
    "list.mp4": "#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n",
    "list.m3u8": "#EXTM3U\n#EXTINF:10,\n{place}\n",
    "list.ffconcat": "ffconcat version 1.0\nfile {place}\n",
    "list.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{place}</BaseURL></MPD>',
    "link.url": "[InternetShortcut]\nURL={place}\n",
    "link.strm": "{place}\n",
    "picture.svg": '<svg xmlns="http://www.w3.org/2000/svg"><image href="{place}"/></svg>',
}


@pytest.mark.parametrize("name", LINKS)
def test_an_upload_that_leads_elsewhere_is_told_so_and_not_followed(program, tmp_path, elsewhere, name):
    path = tmp_path / name
    path.write_text(LINKS[name].format(place=f"{elsewhere.address}/a.mp4"))
    (uploaded,) = upload(program, path).json()
    answer = call(program, "score", as_file(uploaded) | {"url": f"{elsewhere.address}/b.mp4"}, "", "", "", "")
    assert answer["error"] == f"{name}: {reason_of(path)}"
    assert elsewhere.asked == []


@pytest.fixture
def elsewhere():
    """Another server: address, and the requests that it has had."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        yield Elsewhere(listener)


class Elsewhere:
    def __init__(self, listener):
        self._listener, self.address = listener, f"http://127.0.0.1:{listener.getsockname()[1]}"

    @property
    def asked(self):
        """Those who have knocked so far."""
        try:
            return [self._listener.accept()[1]]
        except TimeoutError:
            return []


def test_what_cannot_be_scored_is_told_in_the_words_of_the_command_line(program, clips):
    (good,) = upload(program, clips[0]).json()
    answer = call(program, "score", as_file(good), "", "", "nobody", "")
    assert answer["error"].startswith("scorer='nobody': there is none of this name.")
    answer = call(program, "score", as_file(good), "", "", "", "smell")
    assert "reads av or v or a" in answer["error"]


def reason_of(path):
    with pytest.raises(MediaError) as error:
        read_clip(path, ClipSpec(frames=FrameStream(sampling=FrameSampling())))
    return error.value.reason


def test_health_needs_nobody(program):
    health = program.get("/health").json()
    assert health["status"] == "ok"
    assert len(health["scorers"]) == 1


@pytest.mark.parametrize(
    "place",
    ["/etc/passwd", "../../../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "http://127.0.0.1:1/", "C:\\secret.txt", ""],
)
def test_no_file_but_an_upload_of_ones_own_is_given_out_or_read(program, place):
    for route in ("/gradio_api/file=", "/file=", "/gradio_api/file/", "/file%3D", "/gradio_api/file%2F"):
        assert program.get(f"{route}{place}").status_code in (403, 404)
    answer = call(program, "score", as_file(place), "", "", "", "")
    assert answer.status_code == 403
    assert "has not uploaded" in answer.json()["error"]


def test_a_file_name_that_climbs_stays_in_the_upload_folder(program, served, clips):
    (path,) = upload(program, clips[0], name="../../../evil.mp4").json()
    assert Path(path).resolve().is_relative_to(Path(served.files).resolve())
    assert Path(path).name == "evil.mp4"
    assert Path(served.files).stat().st_mode & 0o077 == 0


def test_the_file_of_one_visitor_is_not_another_ones(served, clips):
    with httpx.Client(base_url=served.address) as one, httpx.Client(base_url=served.address) as two:
        for client in (one, two):
            client.get("/").raise_for_status()
        assert one.cookies["evqa_visitor"] != two.cookies["evqa_visitor"]
        (path,) = upload(one, clips[1]).json()
        assert one.get(f"/gradio_api/file={path}").content == clips[1].read_bytes()
        assert two.get(f"/gradio_api/file={path}").status_code == 403
        assert two.get(f"/gradio_api/file/{path}").status_code == 404
        assert call(two, "score", as_file(path), "", "", "", "").status_code == 403


def test_another_origin_and_another_name_are_refused(program):
    assert program.get("/health", headers={"origin": "https://example.org"}).status_code == 403
    assert program.get("/health", headers={"host": "rebound.example.org"}).status_code == 403
    assert program.get("/health", headers={"origin": str(program.base_url).rstrip("/")}).status_code == 200
    policy = program.get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy


def test_nothing_is_fetched_from_another_host(program):
    assert program.get("/gradio_api/proxy=http://127.0.0.1:1/").status_code == 404
    assert program.post("/gradio_api/run-history/connect", json={}).status_code == 404
    assert program.get("/gradio_api/file=http://127.0.0.1:1/x").status_code == 403
    answer = call(program, "score", as_file("https://example.org/a.mp4"), "", "", "", "")
    assert answer.status_code == 403


def test_too_large_an_upload_is_refused_before_it_is_read(serve, finished):
    with (
        serve("--scorer", finished.path, "--max-megabytes", "0.01") as served,
        httpx.Client(base_url=served.address) as client,
    ):
        refused = client.post(UPLOAD, files={"files": ("a.mp4", b"0" * 2_000_000)})
        assert refused.status_code == 413
        assert refused.json()["error"] == "A file may have 0.01 MB at most."
        near = client.post(UPLOAD, files={"files": ("a.mp4", b"0" * 500_000)})
        assert near.status_code == 413
        assert not list(Path(served.files).rglob("*.mp4"))
        taken = run("--scorer", finished.path, "--port", served.address.rpartition(":")[2])
        assert taken.returncode == 2
        assert "is taken, perhaps by another evqa serve" in taken.stderr
    assert not Path(served.files).exists()


def test_an_upload_a_file_and_a_batch_may_take_so_long(serve, finished, clips, tmp_path):
    """Three limits of one page."""
    limits = ("--max-time", "1.5", "--max-length", "2.5")
    long = write_video(tmp_path / "long.mp4", seconds=[number / 4 for number in range(13)])
    table = tmp_path / "list.csv"
    table.write_text("id,path\n" + "".join(f"{number},{clips[0].name}\n" for number in range(3000)))
    with serve("--scorer", finished.path, *limits) as served, httpx.Client(base_url=served.address) as client:
        with pytest.raises(httpx.HTTPStatusError, match="408") as refused:
            client.post(UPLOAD, content=slow_body(), headers=SLOW_HEADERS, timeout=30).raise_for_status()
        assert refused.value.response.json()["error"] == "An upload may take 1.5 s at most."
        uploads = [as_file(*upload(client, path).json()) for path in (long, clips[0], table)]
        client.timeout = 60
        answer = call(client, "score", uploads[0], "", "", "", "")
        assert re.search(r"has \d s of picture to read, more than the 2.5 s allowed", answer["error"])
        answer = call(client, "score_many", uploads[1:], "")
        assert 0 < len(answer["items"]) < 3000
        assert answer["notes"][-1].startswith("Stopped: a request may take 1.5 s on this page (--max-time)")


BODY = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n'
SLOW_HEADERS = {"content-type": "multipart/form-data; boundary=x", "content-length": str(len(BODY) + 30)}


def slow_body():
    yield BODY
    for _ in range(30):
        time.sleep(0.1)
        yield b"0"


SLOW = """
import time
from evqa.web import scorers
scorers.OfferedScorer.score = lambda *_, **__: print("begun", flush=True) or time.sleep(60)
from evqa.serve import main
main()
"""


def test_a_page_that_is_ended_waits_for_no_score(serve, finished, clips):
    with (
        serve("--scorer", finished.path, program=("-c", SLOW)) as served,
        httpx.Client(base_url=served.address) as client,
    ):
        (path,) = upload(client, clips[0]).json()
        client.post("/gradio_api/call/score", json={"data": [as_file(path), "", "", "", ""]})
        while "begun" not in served.log.read_text():
            assert served.process.poll() is None
            time.sleep(0.1)
        files = served.files
        for _ in range(2):  # twice, as somebody in a hurry presses it
            served.process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        assert served.process.wait(15) == 130
        assert not Path(files).exists()
        assert "Traceback" not in served.log.read_text()


def test_an_explanation_ends_when_its_time_is_over(finished, clips):
    hurried = OfferedScorer(name="x", scorer=evqa.load(finished.path), max_seconds=0.0)
    states = explained(hurried, Record(id="x", paths=(clips[0],)))
    assert str(next(states)).startswith("1 of 6 copies scored")
    with pytest.raises(ConfigError, match="a request may take 0 s"):
        next(states)


def test_what_broken_off_uploads_have_left_is_deleted(tmp_path):
    left, under_way, whole = tmp_path / "tmp1", tmp_path / "tmp2", tmp_path / "hash" / "a.mp4"
    whole.parent.mkdir()
    for path in (left, under_way, whole):
        path.touch()
    for path in (left, whole):
        os.utime(path, (0, 0))
    delete_given_up(tmp_path)
    assert not left.exists()
    assert under_way.exists()
    assert whole.exists()


def run(*arguments):
    command = [sys.executable, "-m", "evqa.serve", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_page_for_others_needs_a_word_about_it(tmp_path):
    refused = run("--scorer", "anything", "--host", "0.0.0.0")
    assert refused.returncode == 2
    assert "--host 0.0.0.0: others could use this page" in refused.stderr
    (tmp_path / "users").write_text("alice\n")
    refused = run("--scorer", "anything", "--host", "0.0.0.0", "--password-file", tmp_path / "users")
    assert refused.returncode == 2
    assert "write a line name:password" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_numbers_that_are_none_are_told_before_anything_is_loaded():
    wrong = {"port": "99999", "max-megabytes": "-1", "max-length": "nan", "max-time": "inf", "max-waiting": "0"}
    refused = run("--scorer", "anything", *(f"--{name}={value}" for name, value in wrong.items()))
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-5:] == [
        "--port 99999: give a number from 0 (any that is free) to 65535.",
        "--max-megabytes -1: give a number above 0.",
        "--max-length nan: give a number above 0.",
        "--max-time inf: give a number above 0.",
        "--max-waiting 0: give a whole number from 1 on.",
    ]


def test_a_page_with_passwords_lets_nobody_else_in(serve, finished, tmp_path, clips):
    (tmp_path / "users").write_text("alice:secret\n")
    with (
        serve("--scorer", finished.path, "--password-file", tmp_path / "users") as served,
        httpx.Client(base_url=served.address) as client,
    ):
        assert upload(client, clips[0]).status_code == 401
        assert call(client, "score", None, "", "", "", "").status_code == 401
        wrong = client.post("/login", data={"username": "alice", "password": "wrong"})
        assert wrong.status_code == 400
        client.post("/login", data={"username": "alice", "password": "secret"}).raise_for_status()
        assert upload(client, clips[0]).status_code == 200


def test_files_are_deleted_when_their_last_owner_has_left(tmp_path):
    clock = [0.0]
    visitors = Visitors(now=lambda: clock[0])
    shared, own = tmp_path / "hash1" / "a.mp4", tmp_path / "hash2" / "b.mp4"
    for path in (shared, own):
        path.parent.mkdir()
        path.touch()
    one, two = visitors.new_name(), visitors.new_name()
    visitors.add_files(one, [str(shared), str(own)])
    visitors.add_files(two, [str(shared)])
    with visitors.open_tab(one), visitors.open_tab(two):
        clock[0] += 2 * KEPT_SECONDS
        visitors.clean()
        assert own.exists()
        assert visitors.owns(one, str(own))
        with visitors.open_tab(one):
            pass
        clock[0] += 2 * GRACE_SECONDS
        visitors.clean()
        assert own.exists()  # one tab is still open
    with visitors.open_tab(two):
        clock[0] += 2 * GRACE_SECONDS
        visitors.clean()
        assert not own.parent.exists()
        assert shared.exists()
        assert not visitors.is_known(one)
    clock[0] += 2 * GRACE_SECONDS
    visitors.clean()
    assert not shared.parent.exists()
