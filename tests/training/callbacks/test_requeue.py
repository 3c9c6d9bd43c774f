"""Being asked to stop, without a cluster: what is noted, what is handed back, what is said."""

import os
import signal
import subprocess
import threading
from types import SimpleNamespace

import pytest

from evqa.training.callbacks import requeue
from evqa.training.callbacks.requeue import Interrupted, Stops, hand_back, job_name


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(requeue.time, "sleep", lambda seconds: None)


@pytest.fixture
def scontrol(monkeypatch):
    """Stands in for `scontrol`; `answer` is its status and what it complains of."""
    calls = SimpleNamespace(made=[], answer=(0, ""))

    def run(command, **how):
        assert how == {"capture_output": True, "text": True, "check": False}
        calls.made.append(command)
        if calls.answer is None:
            raise FileNotFoundError("no scontrol")
        return subprocess.CompletedProcess(command, calls.answer[0], stdout="", stderr=calls.answer[1])

    monkeypatch.setattr(requeue.subprocess, "run", run)
    return calls


def test_an_interruption_is_an_exit_of_128_and_the_signal():
    stopped = Interrupted(signal.SIGUSR1)
    assert (stopped.code, stopped.signal_number) == (128 + signal.SIGUSR1, signal.SIGUSR1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_stops_at_once_where_nothing_can_be_lost_and_handlers_are_given_back(number, capsys):
    before = signal.getsignal(number)
    stops = Stops()
    with pytest.raises(Interrupted) as stopped, stops.listening():
        signal.raise_signal(number)
    assert stopped.value.code == 128 + number
    assert signal.getsignal(number) == before
    name = signal.Signals(number).name
    assert capsys.readouterr().err == f"Stopping because of {name}; the same command continues.\n"


def test_a_deferred_signal_lets_the_block_finish_and_the_first_one_counts(capsys):
    stops, noted = Stops(), []

    def work():
        for number in (signal.SIGUSR2, signal.SIGTERM):
            signal.raise_signal(number)
            noted.append(stops.number)

    with pytest.raises(Interrupted) as stopped, stops.listening(), stops.deferred():
        work()
    assert noted == [signal.SIGUSR2, signal.SIGUSR2]
    assert stopped.value.signal_number == signal.SIGUSR2
    assert "SIGUSR2" in capsys.readouterr().err


def test_a_block_that_nobody_asked_to_stop_goes_on_and_later_signals_stop_at_once():
    stops = Stops()
    with stops.listening():
        with stops.deferred():
            assert stops.number == 0
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGUSR1)


def test_an_error_in_a_deferred_block_is_not_hidden_by_the_stop():
    def fail():
        signal.raise_signal(signal.SIGUSR1)
        raise KeyError

    stops = Stops()
    with pytest.raises(KeyError), stops.listening(), stops.deferred():
        fail()
    with pytest.raises(Interrupted), stops.listening():
        signal.raise_signal(signal.SIGUSR1)


def test_other_threads_do_not_listen():
    stops, errors = Stops(), []

    def listen():
        try:
            with stops.listening():
                pass
        except ValueError as error:
            errors.append(error)

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert errors == []


def test_only_the_first_process_speaks(capsys):
    stops = Stops()
    stops.first_process = False
    with pytest.raises(Interrupted):
        stops.stop(signal.SIGTERM)
    assert capsys.readouterr().err == ""


def test_a_process_stops_for_a_signal_that_another_one_got():
    with pytest.raises(Interrupted) as stopped:
        Stops().stop(signal.SIGUSR1)
    assert stopped.value.signal_number == signal.SIGUSR1


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"SLURM_JOB_ID": "7"}, "7"),
        ({"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}, "7_3"),
    ],
)
def test_a_job_is_called_by_its_number_and_place_in_an_array(monkeypatch, scontrol, variables, name):
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    assert job_name() == name
    assert hand_back(signal.SIGUSR1, None, first_process=True)
    assert scontrol.made == [["scontrol", "requeue", name]]


@pytest.mark.parametrize(
    ("number", "in_job", "first", "back", "num_calls"),
    [
        (signal.SIGUSR1, True, True, True, 1),
        (signal.SIGUSR2, True, True, True, 1),
        (signal.SIGUSR1, True, False, True, 0),  # another process asks
        (signal.SIGUSR1, False, True, False, 0),
        (signal.SIGTERM, True, True, False, 0),  # the scheduler has decided already
    ],
)
def test_a_job_is_put_back_once_and_only_where_nobody_else_does(
    monkeypatch, scontrol, number, in_job, first, back, num_calls
):
    if in_job:
        monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert hand_back(number, signal.SIG_DFL, first_process=first) is back
    assert len(scontrol.made) == num_calls


@pytest.mark.parametrize(("answer", "reason"), [((1, " refused \n"), "refused"), (None, "no scontrol")])
def test_a_scheduler_that_refuses_is_quoted(monkeypatch, scontrol, capsys, answer, reason):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    scontrol.answer = answer
    assert not hand_back(signal.SIGUSR1, None, first_process=True)
    assert capsys.readouterr().err == f"The job is not put back into the queue: {reason}\n"


@pytest.mark.parametrize(("first", "in_job"), [(True, True), (True, False), (False, True), (False, False)])
def test_submitits_own_handler_puts_the_job_back(monkeypatch, scontrol, first, in_job):
    called = []

    def handler(number, frame):
        called.append((number, frame))

    handler.__module__ = "submitit.core.job_environment"
    if in_job:
        monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert hand_back(signal.SIGUSR2, handler, first_process=first) is in_job
    assert called == ([(signal.SIGUSR2, None)] if first else [])
    assert scontrol.made == []


def test_the_handler_that_listened_before_gets_the_signal_that_stopped_the_run():
    called = []

    def submitits(number, frame):
        called.append(number)

    submitits.__module__ = "submitit.core.job_environment"
    before = signal.signal(signal.SIGUSR2, submitits)
    try:
        with pytest.raises(Interrupted), Stops().listening():
            signal.raise_signal(signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert called == [signal.SIGUSR2]


def test_after_a_job_is_handed_back_only_the_schedulers_sigterm_ends_the_wait(monkeypatch, scontrol):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    stops, waited = Stops(), []

    def sleep(seconds):
        waited.append(seconds)
        signal.raise_signal(signal.SIGUSR1)
        waited.append("still waiting")
        signal.raise_signal(signal.SIGTERM)
        waited.append("not reached")

    monkeypatch.setattr(requeue.time, "sleep", sleep)
    with pytest.raises(Interrupted) as stopped, stops.listening():
        signal.raise_signal(signal.SIGUSR2)
    assert stopped.value.signal_number == signal.SIGUSR2
    assert waited == [requeue.WAIT_SECONDS, "still waiting"]
