"""The device that a job computes on: a GPU of its own, if there is one."""

import fcntl
import functools
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

import torch

from datagradient.errors import UserError
from datagradient.influence.modules import set_single_precision

CHOSEN = "DATAGRADIENT_DEVICE"  # tells a job's subprocesses its device
_held: list[IO] = []  # locks of this process; the system releases them when it ends or is killed


@functools.cache
def best_device() -> torch.device:
    """Return a GPU that no other job of this user holds on this machine, or the CPU if there is no GPU.

    If all GPUs are taken it waits. This also works with a scheduler that shows a job only its own GPUs: the locks use
    the devices' unique names, not their numbers. With a GPU, products in this process have the bits of single precision
    from here on, so that scores agree with those on a processor.
    """
    count = torch.cuda.device_count()
    if not count:
        return torch.device("cpu")
    set_single_precision()
    if CHOSEN in os.environ:
        return torch.device("cuda", _chosen(os.environ[CHOSEN], count))
    names = [str(getattr(torch.cuda.get_device_properties(i), "uuid", i)) for i in range(count)]
    number, lock = take(names, Path(tempfile.gettempdir()) / f"datagradient-gpu-{os.getuid()}")
    _held.append(lock)
    os.environ[CHOSEN] = str(number)
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def _chosen(number: str, count: int) -> int:
    if not (number.isdecimal() and int(number) < count):
        raise UserError(f"{CHOSEN}={number}: this process sees {count} GPUs, counted from 0; unset it")
    return int(number)


def take(names: list[str], folder: Path, pause: float = 1.0) -> tuple[int, IO]:
    """Lock the first free device, waiting if none is free; return its number and the lock to hold."""
    folder.mkdir(parents=True, exist_ok=True)
    said = False
    while True:
        for number, name in enumerate(names):
            lock = open(folder / name, "w", encoding="utf-8")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            return number, lock
        if not said:
            print(f"all {len(names)} GPUs are taken by other jobs; waiting", file=sys.stderr)
            said = True
        time.sleep(pause)
