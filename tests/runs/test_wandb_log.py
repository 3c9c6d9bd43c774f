"""W&B beside the files: one whole history in one folder whatever happens, and never an end of the run."""

import csv
import gzip
import json
import math
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from evqa.media.limits import Limits
from evqa.runs import wandb_log
from evqa.runs.wandb_items import item_table
from evqa.runs.wandb_log import STEP, kept_id, open_log
from evqa.scoring.score import Score
from evqa.training.callbacks.records import read_rows
from evqa.training.module import ScoreModule
from evqa.types import Record
from tests.runs import offline

ABOUT = {"project": "evqa", "name": "n", "group": "g", "config": {}}
ROWS = [{"step": number // 2, "train/loss": 1.0 / (1 + number)} for number in range(6)]


@pytest.fixture(autouse=True)
def apart(monkeypatch, tmp_path):
    """Whatever the user's own environment says about W&B."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    yield
    import wandb

    wandb.teardown()


def folders(place):
    return sorted(place.glob("wandb/offline-run-*"))


def read(folder):
    import wandb

    wandb.teardown()  # its own process writes the file a moment after the run is finished
    (file,) = folder.glob("run-*.wandb")
    return offline.load(file)


def sent(found):
    """The history in an offline file as rows of metrics.jsonl."""
    return [{"step" if key == STEP else key: row[key] for key in row if not key.startswith("_")} for row in found]


def test_every_life_leaves_one_folder_with_the_whole_history(tmp_path):
    for kept in (0, 2, 5):  # rows that the checkpoint left; the life writes one more
        log = open_log(tmp_path, ABOUT, online=False, monitor="val/challenge")
        log.replay(ROWS[:kept])
        log.log(kept, ROWS[kept])
        if kept < 5:
            log.finish(exit_code=1)
    log.summarize("val", {"n": 3, "num_failed": 1, "metrics": {"srocc": {"value": 0.5, "low": 0.25, "high": None}}})
    log.finish()
    (folder,) = folders(tmp_path)
    found = read(folder)
    assert sent(found["history"]) == ROWS
    assert [row["_step"] for row in found["history"]] == list(range(6))
    assert (
        found["summary"].items() >= {"val/n": 3, "val/num_failed": 1, "val/srocc": 0.5, "val/srocc_low": 0.25}.items()
    )
    assert found["step_metrics"] == {"*": STEP, "val/challenge": STEP}


@pytest.mark.parametrize(("monitor", "way", "chosen"), [("val/challenge", ["max"], 2), ("val/loss", ["min"], 1)])
def test_the_summary_holds_the_chosen_validation_and_not_the_last(tmp_path, monitor, way, chosen):
    values = [(math.nan, 0.5), (0.25, 0.1), (0.75, 0.3), (0.5, 0.2)]  # challenge, loss
    rows = [{"step": k, "val/challenge": one, "val/loss": two, "val/n": k} for k, (one, two) in enumerate(values)]
    log = open_log(tmp_path, ABOUT, online=False, monitor=monitor)
    log.replay(rows[:3])  # of an earlier life
    log.log(3, rows[3])
    log.log(4, {"step": 4, "train/loss": 1.0})
    log.finish(exit_code=1)
    found = read(folders(tmp_path)[0])
    kept = {name: found["summary"][name] for name in rows[0] if name != "step"}
    assert kept == {name: value for name, value in rows[chosen].items() if name != "step"}
    assert found["summarized"] == {monitor: way}
    assert found["summary"]["train/loss"] == 1.0


def test_an_interrupted_run_has_one_offline_history_equal_to_metrics_jsonl(train, tmp_path, monkeypatch):
    step = ScoreModule.training_step

    def stopping(self, batch, index):
        if self.global_step == 3:
            raise KeyboardInterrupt
        return step(self, batch, index)

    options = ("logger=wandb", "logger.mode=offline", f"run.root={tmp_path}", "trainer.log_every=1")
    with monkeypatch.context() as patched:
        patched.setattr(ScoreModule, "training_step", stopping)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train(*options, "callbacks.checkpoints.every_steps=2", "data.batch_size=8")
    run = train(*options, "callbacks.checkpoints.every_steps=2", "data.batch_size=8")
    (folder,) = folders(run.path)
    found = read(folder)
    assert sent(found["history"]) == read_rows(run.path / "metrics.jsonl")
    record = json.loads(run.prediction("val", "json").read_text())
    assert found["summary"]["val/challenge"] == record["metrics"]["challenge"]["value"]
    assert found["summary"]["val/n"] == 16
    assert found["run"]["id"] == kept_id(run.path)


def test_a_table_shows_the_largest_errors_with_pictures(train, tmp_path):
    run = train("logger=wandb", "logger.mode=offline", "logger.items=3", f"run.root={tmp_path}", "trainer.epochs=1")
    (folder,) = folders(run.path)
    found = read(folder)
    assert found["summary"]["val/items"]["nrows"] == 3
    (artifact,) = found["artifacts"].values()
    files = offline.contents(artifact)
    table = json.loads(Path(files["val/items.table.json"]).read_text())
    assert table["columns"] == ["id", "picture", "title", "score", "label", "error"]
    with run.prediction("val").open() as file, run.prediction("val", "targets.csv").open() as labels:
        label = {row["Id"]: float(row["ECR"]) for row in csv.DictReader(labels)}
        rows = [(row["Id"], float(row["ECR"]), label[row["Id"]]) for row in csv.DictReader(file)]
    largest = sorted(rows, key=lambda row: -abs(row[1] - row[2]))[:3]
    assert [row[:1] + row[3:] for row in table["data"]] == [[*row, row[1] - row[2]] for row in largest]
    for _, picture, *_ in table["data"]:
        assert Path(files[picture["path"]]).read_bytes().startswith(b"\xff\xd8")  # JPEG
        assert picture["height"] * picture["width"] <= 96 * 96


def test_a_table_takes_items_without_label_picture_or_score(media):
    paths = {"silent": media / "silent-black-10s.mp4", "gone": media / "gone.mp4"}
    records = [Record(id=name, paths=(path,), texts={"title": name}) for name, path in paths.items()]
    scores = [Score(id="silent", value=0.5), Score(id="gone", value=0.25, label=0.5), Score(id="failed")]
    table = item_table(scores, records, at_most=9, limits=Limits())
    assert [row[:1] + row[2:] for row in table.data] == [
        ["gone", "gone", 0.25, 0.5, -0.25],
        ["silent", "silent", 0.5, None, None],
    ]
    assert table.data[0][1] is None
    assert table.data[1][1].format == "jpg"


def test_the_id_is_kept_in_the_folder_and_differs_between_folders(tmp_path, monkeypatch):
    one, other = kept_id(tmp_path / "one"), kept_id(tmp_path / "other")
    assert kept_id(tmp_path / "one") == one != other
    monkeypatch.setenv("WANDB_RUN_ID", "chosen")
    assert kept_id(tmp_path / "one") == "chosen"
    monkeypatch.delenv("WANDB_RUN_ID")
    assert kept_id(tmp_path / "one") == "chosen"


def test_a_sweep_that_proposes_a_finished_run_gets_its_history_and_result(train, finished, monkeypatch):
    for name, value in (("WANDB_SWEEP_ID", "sweep"), ("WANDB_RUN_ID", "proposed")):
        monkeypatch.setenv(name, value)
    train("logger=wandb", "logger.mode=offline")
    (folder,) = finished.path.glob("wandb/offline-run-*-proposed")
    found = read(folder)
    assert sent(found["history"]) == read_rows(finished.path / "metrics.jsonl")
    record = json.loads(finished.prediction("val", "json").read_text())
    assert found["summary"]["val/challenge"] == record["metrics"]["challenge"]["value"]


class Server(BaseHTTPRequestHandler):
    """Answers what is enough for wandb.init, keeps the history, and may be told to hang or to refuse."""

    protocol_version = "HTTP/1.1"
    mood = "good"
    history: dict[str, list] = {}  # noqa: RUF012 - one server a test

    def log_message(self, *arguments):
        """Nothing."""

    def do_POST(self):
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        sent = gzip.decompress(sent) if self.headers.get("Content-Encoding") == "gzip" else sent
        if self.mood == "hangs":
            time.sleep(60)
        if self.path.endswith("/file_stream"):
            body = json.loads(sent)
            for name, content in (body.get("files") or {}).items():
                if name == "wandb-history.jsonl":
                    kept = self.history.setdefault(self.path.split("/")[4], [])
                    kept[content["offset"] :] = map(json.loads, content["content"])
            return self.answer({})
        if self.path != "/graphql":
            return self.answer({})
        return self.answer({"data": self.graphql(json.loads(sent))}, 401 if self.mood == "refuses" else 200)

    do_PUT = do_GET = do_POST

    def graphql(self, body):
        query, variables = body.get("query", ""), body.get("variables") or {}
        run = {"id": "UnVuOjE=", "name": variables.get("name"), "displayName": "r", "config": "{}", "tags": []}
        run |= {"project": {"id": "p", "name": "evqa", "entity": {"id": "e", "name": "me"}}, "summaryMetrics": "{}"}
        run |= {"historyLineCount": 0, "logLineCount": 0, "eventsLineCount": 0, "history": [], "events": []}
        place = f"http://{self.headers['Host']}/storage"
        files = [{"name": name, "uploadUrl": f"{place}/{name}"} for name in variables.get("files", [])]
        answers = {
            "upsertBucket": {"bucket": run, "inserted": True},
            "viewer": {"id": "v", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}},
            "createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files},
            "serverInfo": {"features": [], "cliVersionInfo": {}, "latestLocalVersionInfo": None},
            "entity": {"organization": None},
        }
        if "RunResumeStatus" in query:
            return {"model": None}
        return {name: answer for name, answer in answers.items() if name in query}

    def answer(self, content, code=200):
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server(monkeypatch):
    class Own(Server):
        history: dict[str, list] = {}  # noqa: RUF012 - of this test

    running = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    running.daemon_threads, running.block_on_close = True, False
    running.handle_error = lambda *arguments: None
    threading.Thread(target=running.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{running.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setattr(wandb_log, "CONNECT_SECONDS", 2.0)
    monkeypatch.setattr(wandb_log, "FINISH_SECONDS", 2.0)
    yield running
    running.shutdown()
    running.server_close()


def test_a_synced_offline_run_is_the_whole_history(server, tmp_path):
    log = open_log(tmp_path, ABOUT, online=False, monitor="val/challenge")
    log.replay(ROWS)
    log.finish()
    (folder,) = folders(tmp_path)
    command = [sys.executable, "-m", "wandb", "sync", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert sent(server.RequestHandlerClass.history[kept_id(tmp_path)]) == ROWS


@pytest.mark.parametrize("trouble", ["nobody there", "hangs", "refuses", "bad key"])
def test_where_wandb_cannot_be_used_online_the_run_is_logged_offline_in_time(
    server, tmp_path, monkeypatch, capsys, trouble
):
    server.RequestHandlerClass.mood = trouble
    if trouble == "nobody there":
        monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    if trouble == "bad key":
        monkeypatch.setenv("WANDB_API_KEY", "short")
    before = time.monotonic()
    log = open_log(tmp_path, ABOUT, online=True, monitor="val/challenge")
    assert time.monotonic() - before < 30  # two seconds, on a machine that has nothing else to do
    log.replay(ROWS)
    log.finish()
    (folder,) = folders(tmp_path)
    assert sent(read(folder)["history"]) == ROWS
    errors = capsys.readouterr().err
    assert f"Logging offline; later: wandb sync {tmp_path}/wandb/*run-*" in errors
    assert "Traceback" not in errors


def test_a_server_that_goes_away_in_the_middle_holds_nothing_up(server, tmp_path, capsys):
    log = open_log(tmp_path, ABOUT, online=True, monitor="val/challenge")
    log.log(0, ROWS[0])
    server.RequestHandlerClass.mood = "hangs"
    for number in (1, 2):
        log.log(number, ROWS[number])
    before = time.monotonic()
    log.finish()
    assert time.monotonic() - before < 30
    assert f"Send it later: wandb sync {tmp_path}/wandb/run-" in capsys.readouterr().err


def test_what_wandb_raises_in_the_middle_is_said_once(tmp_path, capsys):
    class Broken:
        starting_step = 0

        def define_metric(self, *arguments, **options):
            """Nothing."""

        def log(self, *arguments, **options):
            raise BrokenPipeError("the service has gone")

    log = wandb_log.WandbLog(Broken(), monitor="val/challenge")
    for number, row in enumerate(ROWS):
        log.log(number, row)
    assert capsys.readouterr().err.count("W&B is not used from here on: the service has gone.") == 1
