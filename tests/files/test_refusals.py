"""What the system refuses is told in a sentence with its place, by every command; nothing is lost."""

import errno
import os
import resource
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from evqa.cli import command, exit_code
from evqa.config.application import report_failure
from evqa.errors import FileError, RunError
from evqa.files.refusals import as_users_error, placed, refusal
from evqa.files.whole import whole_file

CODES = ("ENOSPC", "EROFS", "EACCES", "EDQUOT", "EIO", "ENAMETOOLONG", "EMFILE", "EFBIG")


@pytest.fixture
def full_disk():
    """Let no file grow beyond 100 kB, as on a full disk but without one."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("named", [True, False])
def test_a_refusal_of_the_system_is_a_sentence_with_its_place(name, named, tmp_path, capsys):
    code, place = getattr(errno, name), str(tmp_path / "a file")

    @command
    def main(arguments):
        with placed(tmp_path / "out"):
            raise OSError(code, os.strerror(code), place) if named else OSError(code, os.strerror(code))

    with pytest.raises(SystemExit) as end:
        main([])
    reason = os.strerror(code)
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        f"{place if named else tmp_path / 'out'} cannot be used: {reason[0].lower()}{reason[1:]}\n"
    )


def test_a_fault_of_the_program_keeps_its_traceback(capsys):
    for error in (KeyError("x"), FileNotFoundError(2, "No such file"), RuntimeError("x")):
        assert as_users_error(error) is None
        assert report_failure(error) == 1
        assert "Error" in capsys.readouterr().err
    with pytest.raises(KeyError):
        exit_code(lambda: {}["x"])


def test_a_sentence_is_not_taken_apart(tmp_path):
    with pytest.raises(RunError, match="as it was"), placed(tmp_path):
        raise RunError("as it was") from OSError(errno.ENOSPC, "No space left on device")


def test_torch_on_a_full_disk_is_a_sentence_and_the_old_file_stays(full_disk, tmp_path):
    path = tmp_path / "last.ckpt"
    path.write_bytes(b"old")
    with pytest.raises(FileError, match=r"last\.ckpt cannot be written: file too large"), whole_file(path) as file:
        torch.save({"weights": torch.zeros(100_000)}, file)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_safetensors_on_a_full_disk_is_a_sentence(full_disk, tmp_path):
    with pytest.raises(FileError, match=r"merged cannot be used: file too large"), placed(tmp_path / "merged"):
        save_file({"weights": torch.zeros(100_000)}, tmp_path / "model.safetensors")


def set_aside():
    try:
        raise OSError(errno.ENOSPC, "No space left on device")
    except OSError:
        raise KeyError("x") from None


def test_an_error_that_was_put_aside_is_no_refusal():
    with pytest.raises(KeyError) as caught:
        set_aside()
    assert refusal(caught.value) is None


def test_a_pipe_that_nobody_reads_ends_quietly():
    code = "from evqa.cli import exit_code; raise SystemExit(exit_code(lambda: [print('x' * 99) for _ in range(9999)]))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.skipif(os.getuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("options", ["size=64k", "ro"])
def test_every_writer_of_results_tells_a_full_or_read_only_place(options, tmp_path, capsys):
    from evqa.ensemble import main as ensemble
    from evqa.report import main as report
    from tests.files.test_stored import make_run

    runs = [str(make_run(tmp_path / "runs" / f"s{seed}", seed=seed)) for seed in range(2)]
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no mounting here: {mounted.stderr.decode()}")
    try:
        if options != "ro":
            with pytest.raises(OSError, match="No space"):
                (place / "rest").write_bytes(bytes(1 << 20))
        reason = "read-only file system" if options == "ro" else "no space left on device"
        for main, out in ((ensemble, place / "out.csv"), (report, place / "report")):
            assert main([*runs, "--out", str(out)]) == 2
            error = capsys.readouterr().err
            assert error.endswith(f": {reason}\n"), error
            assert str(place) in error
    finally:
        subprocess.run(["umount", place], check=True)
