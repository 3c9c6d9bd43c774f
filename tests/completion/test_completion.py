import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time

import pytest

STARTS = {
    "bash": (["bash", "--norc", "-i"], "source ./bash; bind 'set bell-style none'"),
    "zsh": (["zsh", "-f", "-i"], "autoload -U compinit; compinit -u -D; source ./zsh; unsetopt beep"),
}
# What is typed, and what is on the line or below it after the key; bash lists what there is at the third.
TYPED = {
    "evqa tra\t": "evqa train ",
    "evqa train mode\t\t\t": "model=",
    "evqa train data=ta\t": "evqa train data=table",
    "evqa train data=table data.label.n\t": "data.label.name=",
    "evqa train trainer.precision=bf16-t\t": "trainer.precision=bf16-true",
    "evqa train loss=l1,ran\t": "loss=l1,rank",
    "evqa train +trai\t": "+trainer",
    "evqa train data.path=rat\t": "data.path=ratings.csv",
    "evqa predict --sco\t": "evqa predict --scorer ",
    "evqa predict --out rat\t": "--out ratings.csv",
    "evqa runs prune --unf\t": "--unfinished ",
}
# A line, and all that may stand in place of its last word.
OFFERED = {
    "evqa train data=table data.label.": ["data.label.name=", "data.label.quantity=", "data.label.range="],
    "evqa train experiment=vqa2_stage3_lora lora.alp": ["lora.alpha="],
    "evqa train loss=mse loss.": [],
    "evqa train -m loss=mse,huber loss.": ["loss.delta="],
    "evqa train --cfg job ~see": ["~seed"],
    "evqa train hydra/launcher=": ["hydra/launcher=local", "hydra/launcher=slurm"],
    "evqa train dry_run=": ["dry_run=true", "dry_run=false"],
    "evqa train --config-dir mod": [],
    "evqa train --s": [],
    "evqa predict --log-level ": ["info", "warning", "error"],
    "evqa runs pru": ["prune"],
    "evqa runs show mod": [],
    "evqa trian mod": [],
    r"evqa train a\{1 dry": ["dry_run="],
    "evqa train model=$(touch${IFS}run),vqa2_t": ["model=$(touch${IFS}run),vqa2_tiny"],
}


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """Where each shell's script lies, beside a file to complete."""
    folder = tmp_path_factory.mktemp("completion")
    (folder / "ratings.csv").touch()
    for shell in ("bash", "zsh", "fish"):
        command = [sys.executable, "-m", "evqa.completion", shell]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
        assert done.stderr == ""
        (folder / shell).write_text(done.stdout)
    return folder


def told(terminal, awaited, *, seconds=20):
    """What a terminal shows until it shows what is awaited, or for so long."""
    text, end = "", time.monotonic() + seconds
    while awaited not in text and time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            text += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x08", "", os.read(terminal, 65536).decode(errors="replace"))
    return text


@pytest.mark.parametrize("shell", STARTS)
def test_the_key_completes_in_a_terminal(shell, scripts):
    if shell != "bash" and shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    command, start = STARTS[shell]
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(scripts)
        os.execvpe(command[0], command, {**os.environ, "TERM": "xterm", "PS1": "$ ", "COLUMNS": "100"})
    os.write(terminal, f"{start}; echo ready$((1+1))\n".encode())
    assert "ready2" in told(terminal, "ready2")
    for typed, shown in TYPED.items():
        os.write(terminal, b"\x15" + typed.encode())  # on an empty line
        assert shown in told(terminal, shown), typed
    os.close(terminal)
    os.waitpid(process, 0)


@pytest.mark.parametrize(("line", "offered"), OFFERED.items())
def test_bash_offers_all_that_may_follow_in_a_tenth_of_a_second_and_runs_nothing(line, offered, scripts):
    asked = (
        "source ./bash; TIMEFORMAT=%U; COMP_WORDBREAKS= COMP_LINE=$1 COMP_POINT=${#1}; "
        "time _evqa; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(["bash", "-c", asked, "bash", line], capture_output=True, text=True, cwd=scripts, check=True)
    assert done.stdout.split("\n")[:-1] == (offered or [""])
    assert float(done.stderr) < 0.1
    assert not (scripts / "run").exists()


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_fish_offers_the_same_and_files_elsewhere(scripts):
    files = {"evqa predict --out rat": ["ratings.csv"], "evqa train data.path=rat": ["data.path=ratings.csv"]}
    for line, offered in ({line: words for line, words in OFFERED.items() if words} | files).items():
        asked = ["fish", "--no-config", "-c", "source ./fish; complete -C $argv[1]", line]
        done = subprocess.run(asked, capture_output=True, text=True, cwd=scripts, check=True)
        assert (sorted(done.stdout.split()), done.stderr) == (sorted(offered), ""), line


def test_hydras_own_query_is_answered_with_ours(capsys):
    from evqa.train import main

    assert main(["-sc", "install=bash"]) == 2
    assert capsys.readouterr().err == (
        "--shell-completion is not supported: 'evqa completion bash' (or zsh, fish) prints a script for the shell.\n"
    )
