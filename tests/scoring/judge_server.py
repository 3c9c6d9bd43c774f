"""An endpoint that judges, and misbehaves on the way: `python judge_server.py PORT LOG`.

LOG gets a line for each completion that was sent: what was asked, and the reply. Of the requests every 5th is answered
with an error 500, every 7th is put off by a 429, every 11th takes longer than a client should wait. What stands in the
response that is judged (`[... mark=2 ...]`) is the mark; the words "talk", "html" and "refuse" in it make a reply that
names none, one that is no JSON, and an error 400.
"""

import json
import re
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SLOW_SECONDS = 3


class Handler(BaseHTTPRequestHandler):
    lock, num_requests = threading.Lock(), 0

    def do_POST(self):
        with Handler.lock:
            Handler.num_requests += 1
            number = Handler.num_requests
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = asked["messages"][1]["content"]
        if number % 11 == 0:
            time.sleep(SLOW_SECONDS)
        elif number % 7 == 0:
            return self.answer(429, b"{}", {"Retry-After": "1"})
        elif number % 5 == 0:
            return self.answer(500, b"oh")
        response = message[: message.index("completely matches")]
        if "unknown" in asked["model"]:
            return self.answer(404, json.dumps({"error": {"message": "no such model"}}).encode())
        if "refuse" in response:
            return self.log(asked, self.answer(400, json.dumps({"error": {"message": "not that"}}).encode()))
        if "html" in response:
            return self.log(asked, self.answer(200, b"<html>", {"Content-Type": "text/html"}))
        text = "Hard to say." if "talk" in response else f"Score: {re.search(r'mark=(.)', response)[1]}"
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        body = {"id": "1", "object": "chat.completion", "created": 0, "model": asked["model"], "choices": [choice]}
        return self.log(asked, self.answer(200, json.dumps(body).encode()))

    def answer(self, status, body, headers=None):
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(body), **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:  # nobody waits any more
            return False
        return True

    def log(self, asked, was_sent):
        with Handler.lock, Path(sys.argv[2]).open("a") as file:
            file.write(json.dumps({"sent": was_sent, **asked}) + "\n")

    def log_message(self, *arguments):
        pass


class Server:
    """The endpoint as a process of its own, which can be killed and started again at the same place."""

    def __init__(self, log):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log, self.url = log, f"http://127.0.0.1:{self.port}/v1"
        self.start()

    def start(self):
        self.process = subprocess.Popen([sys.executable, __file__, str(self.port), str(self.log)])
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError("the server does not listen")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def calls(self):
        """What it was asked and answered."""
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
