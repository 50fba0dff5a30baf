"""Small data, networks and trainings that what is recorded in training is tested with."""

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

N, CLASSES = 300, 3


SOLVER = {"damping": 0.1, "samples": None, "tolerance": 1e-6}


def samples():
    """Training samples, a fifth of them with a wrong label, and validation samples of the same kind."""
    random = np.random.default_rng(0)
    labels = random.integers(CLASSES, size=2 * N)
    inputs = (2 * np.eye(8)[labels] + random.standard_normal((2 * N, 8))).astype(np.float32)
    labels[: N // 5] = (labels[: N // 5] + 1) % CLASSES
    x, y = torch.from_numpy(inputs), torch.from_numpy(labels)
    return (x[:N], y[:N]), (x[N:], y[N:])


def network(outputs=CLASSES, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, outputs))


def train(model, loader, recorder=None, epochs=4, rate=0.02, last_rate=0.0, loss=cross_entropy):
    optimiser = torch.optim.Adam(model.parameters(), rate)
    for epoch in range(epochs):
        last = epoch == epochs - 1
        if last:
            optimiser.param_groups[0]["lr"] = last_rate
        for x, y in recorder.epoch(loader) if recorder and last else loader:
            optimiser.zero_grad()
            loss(model(x), y).backward()
            optimiser.step()
    return optimiser


def shuffled(data, size=32, **options):
    return DataLoader(TensorDataset(*data), batch_size=size, shuffle=True, **options)


def own_loop(model, recorder, x, y, order, size=50, loss=cross_entropy, weights=None, parts=1):
    """Train for one epoch at rate zero, naming the samples of each batch."""
    with recorder:
        for rows in order.split(size):
            recorder.batch(rows, y[rows], None if weights is None else weights[rows])
            for some in rows.chunk(parts):
                losses = loss(model(x[some]), y[some], reduction="none")
                (losses if weights is None else losses * weights[some]).mean().backward()
            with torch.no_grad():
                model(x[:3])  # a look at validation samples in the middle of the epoch
