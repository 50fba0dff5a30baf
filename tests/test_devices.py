"""Each job has a GPU of its own. GPUs are made up, so that the same is tested on every machine."""

import multiprocessing
import os
import tempfile
import threading
from types import SimpleNamespace

import pytest
import torch

from datagradient.errors import UserError
from datagradient.influence.modules import single_precision
from datagradient.models.networks import devices
from datagradient.models.networks.devices import CHOSEN, best_device, take

FORK = multiprocessing.get_context("fork")  # the made-up GPUs are there in new processes too


def free():
    """Forget the choice of this process, as when it ends."""
    best_device.cache_clear()
    while devices._held:
        devices._held.pop().close()
    os.environ.pop(CHOSEN, None)


@pytest.fixture
def gpus(tmp_path, monkeypatch):
    """A function that says which GPUs this process sees; returns the list of those that were made current."""
    current = []

    def show(*names):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(names))
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda i: SimpleNamespace(uuid=names[i]))
        best_device.cache_clear()
        return current

    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv(CHOSEN, raising=False)
    monkeypatch.setattr(devices, "_held", [])
    with monkeypatch.context() as own:
        own.setattr(torch.cuda, "is_initialized", lambda: True)
        with single_precision():  # which a GPU sets for the process; restored afterwards
            yield show
    free()


def job():
    """Start a process that takes a device and keeps it; return it and the end of a pipe that says which."""
    receiver, sender = FORK.Pipe(duplex=False)

    def run():
        sender.send(str(best_device()))
        threading.Event().wait()

    process = FORK.Process(target=run, daemon=True)
    process.start()
    return process, receiver


def test_without_a_gpu_it_is_the_processor(gpus):
    assert gpus() == []
    assert best_device() == torch.device("cpu")
    assert CHOSEN not in os.environ


def test_a_job_keeps_its_device_and_tells_the_processes_it_starts(gpus):
    current = gpus("a", "b")
    assert best_device() == best_device() == torch.device("cuda", 0)
    assert (current, os.environ[CHOSEN], len(devices._held)) == ([0], "0", 1)


def test_a_process_that_a_job_starts_has_the_job_s_device_and_takes_none(gpus, monkeypatch):
    gpus("a", "b")
    monkeypatch.setenv(CHOSEN, "1")
    assert best_device() == torch.device("cuda", 1)
    assert devices._held == []


@pytest.mark.parametrize("number", ["2", "-1", "first", ""])
def test_a_device_that_is_not_there_is_named(gpus, monkeypatch, number):
    gpus("a", "b")
    monkeypatch.setenv(CHOSEN, number)
    with pytest.raises(UserError, match=f"{CHOSEN}={number}: this process sees 2 GPUs, counted from 0; unset it"):
        best_device()


def test_two_jobs_have_different_devices_and_a_killed_one_gives_its_own_back(gpus):
    gpus("a", "b")
    jobs = [job() for _ in range(2)]
    first, second = (receiver.recv() for _, receiver in jobs)
    assert {first, second} == {"cuda:0", "cuda:1"}
    third, receiver = job()
    assert not receiver.poll(0.1)  # it waits
    jobs[1][0].kill()
    assert receiver.recv() == second
    for process in (jobs[0][0], jobs[1][0], third):
        process.kill()
        process.join()


def test_jobs_that_see_different_gpus_do_not_wait_for_each_other(gpus):
    gpus("a")
    process, receiver = job()
    assert receiver.recv() == "cuda:0"
    gpus("b")  # as a scheduler shows it: another GPU of the same number
    assert best_device() == torch.device("cuda", 0)
    process.kill()
    process.join()


def test_where_a_gpu_has_no_name_its_number_is_one(gpus, tmp_path, monkeypatch):
    gpus("a", "b")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda i: SimpleNamespace())
    assert best_device() == torch.device("cuda", 0)
    assert [path.name for path in tmp_path.glob("datagradient-gpu-*/*")] == ["0"]


def test_every_job_takes_a_device_of_its_own_and_waits_where_all_are_taken(tmp_path, capsys):
    (first, lock), (second, other) = (take(["a", "b"], tmp_path) for _ in range(2))
    assert (first, second) == (0, 1)
    taken = []
    third = threading.Thread(target=lambda: taken.append(take(["a", "b"], tmp_path, pause=0.01)))
    third.start()
    third.join(0.1)
    assert third.is_alive() and not taken
    other.close()  # as when that job ends
    third.join(5)
    assert taken[0][0] == 1
    assert capsys.readouterr().err.count("all 2 GPUs are taken") == 1
    lock.close()
    taken[0][1].close()
