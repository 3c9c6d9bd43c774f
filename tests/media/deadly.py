"""Files that do to their decoder what their name says, in whichever process decodes them."""

import os
import signal
import time
from pathlib import Path

from evqa.datasets import manifest
from evqa.media import decoding

decode, inspect = decoding._decode, manifest.inspect_file
SENTENCES = {
    "segv": "killed the process that read it (SIGSEGV)",
    "abort": "killed the process that read it (SIGABRT)",
    "oom": "killed the process that read it (SIGKILL)",
    "exit": "killed the process that read it (exit status 7)",
    "bug": "RuntimeError: a fault in the decoder",
}


def act(name):
    if "segv" in name:
        os.kill(os.getpid(), signal.SIGSEGV)
    elif "abort" in name:
        os.abort()
    elif "oom" in name:
        os.kill(os.getpid(), signal.SIGKILL)
    elif "exit" in name:
        os._exit(7)
    elif "bug" in name:
        raise RuntimeError("a fault in the decoder")
    elif "hang" in name:
        time.sleep(600)


def act_by_name(path):
    act(path.name)


def deadly_decode(job, *, spec):
    act(job[0].name)
    return decode(job, spec=spec)


def deadly_inspect(path, **options):
    act(Path(path).name)
    return inspect(path, **options)
