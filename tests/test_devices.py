"""Each job has a GPU of its own; the locks are tested without GPUs."""

import threading

import torch

from datagradient.devices import best_device, take


def test_every_job_takes_a_device_of_its_own_and_waits_where_all_are_taken(tmp_path, capsys):
    (first, lock), (second, other) = (take(["a", "b"], tmp_path) for _ in range(2))
    assert (first, second) == (0, 1)
    found = []
    third = threading.Thread(target=lambda: found.append(take(["a", "b"], tmp_path, pause=0.01)))
    third.start()
    third.join(0.1)
    assert third.is_alive() and not found
    other.close()  # as when that job ends
    third.join(5)
    assert found[0][0] == 1
    assert "all 2 GPUs are taken" in capsys.readouterr().err
    lock.close()
    found[0][1].close()


def test_without_a_gpu_it_is_the_processor():
    if not torch.cuda.is_available():
        assert best_device() == torch.device("cpu")
