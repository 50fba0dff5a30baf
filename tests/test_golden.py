"""The stored numbers hold under every kernel that this machine has, and a change of one per cent does not pass."""

import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import golden
from datagradient.influence import glm, scores, solvers
from datagradient.influence.solvers import SolverError
from datagradient.models import logistic, neural

# Other code paths of OpenBLAS (NumPy, SciPy), of torch's own loops and of oneDNN, and other sums over threads.
KERNELS = [
    {"OPENBLAS_CORETYPE": "Nehalem", "ATEN_CPU_CAPABILITY": "default", "DNNL_MAX_CPU_ISA": "SSE41",
     "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "OMP_NUM_THREADS": "1"},
    {"OPENBLAS_CORETYPE": "Haswell", "ATEN_CPU_CAPABILITY": "avx2", "OMP_NUM_THREADS": "2"},
]  # fmt: skip


@pytest.mark.parametrize("case", golden.CASES, ids="-".join)
def test_the_numbers_are_the_stored_ones(case):
    assert golden.differences(golden.compute(*case), golden.stored_rows(*case)) == []


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists() or "avx2" not in Path("/proc/cpuinfo").read_text(),
                    reason="kernels are chosen by name on x86 with AVX2 under Linux alone")  # fmt: skip
@pytest.mark.parametrize("kernel", KERNELS, ids=["SSE4, one thread", "AVX2, two threads"])
def test_the_numbers_hold_under_other_kernels_and_threads(kernel):
    done = subprocess.run([sys.executable, golden.__file__], env={**os.environ, **kernel}, check=True, text=True,
                          capture_output=True)  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert golden.differences(rows, [row for case in golden.CASES for row in golden.stored_rows(*case)]) == []


def scaled(function, factor):
    return lambda *arguments, **options: factor * function(*arguments, **options)


def plant_in_projection(monkeypatch):
    monkeypatch.setattr(scores, "influence_along", scaled(scores.influence_along, 1.01))


def plant_in_contribution(monkeypatch):
    monkeypatch.setattr(np, "tanh", lambda x, tanh=np.tanh: tanh(1.01 * x))


def plant_in_hessian(monkeypatch):
    product = glm.GeneralisedLinearProblem._product
    monkeypatch.setattr(glm.GeneralisedLinearProblem, "_product", scaled(product, 1.01))


def plant_in_residual(monkeypatch):
    monkeypatch.setattr(glm, "residuals_of", scaled(glm.residuals_of, 1.01))


def plant_in_loss(monkeypatch):
    from datagradient import metrics

    monkeypatch.setattr(metrics, "losses", scaled(metrics.losses, 1.01))


def plant_in_damping(monkeypatch):

    cg = solvers.cg
    monkeypatch.setattr(scores, "cg", lambda *a, damping=0.0, **o: cg(*a, damping=1.01 * damping, **o))


def plant_in_penalty(monkeypatch):
    fit = logistic.fit
    monkeypatch.setattr(logistic, "fit", lambda x, y, k, settings, *rest: fit(
        x, y, k, {**settings, "l2": 1.01 * settings["l2"]}, *rest))  # fmt: skip


def plant_in_learning_rate(monkeypatch):
    fit = neural.fit
    monkeypatch.setattr(neural, "fit", lambda x, y, k, settings, *rest: fit(
        x, y, k, {**settings, "learning_rate": 1.01 * settings["learning_rate"]}, *rest))  # fmt: skip


@pytest.mark.parametrize(
    ("plant", "case"),
    [
        (plant_in_projection, ("affairs", "logistic")), (plant_in_projection, ("affairs", "boosted")),
        (plant_in_projection, ("affairs", "neural")), (plant_in_contribution, ("affairs", "boosted")),
        (plant_in_hessian, ("affairs", "logistic")), (plant_in_hessian, ("affairs", "boosted")),
        (plant_in_residual, ("affairs", "logistic")), (plant_in_loss, ("affairs", "logistic")),
        (plant_in_damping, ("affairs", "boosted")), (plant_in_damping, ("affairs", "neural")),
        (plant_in_penalty, ("affairs", "logistic")), (plant_in_learning_rate, ("affairs", "neural")),
    ],
    ids=lambda value: value.__name__ if callable(value) else "-".join(value),
)  # fmt: skip
def test_a_change_of_one_per_cent_in_a_formula_is_found(plant, case, monkeypatch):
    plant(monkeypatch)
    try:
        rows = golden.compute(*case)
    except SolverError as error:  # the problem's own check has found it
        assert "not that of its own objective" in str(error)
        return
    assert golden.differences(rows, golden.stored_rows(*case))
