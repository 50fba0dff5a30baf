import numpy as np
import pytest
from scipy.sparse.linalg import cg as scipy_cg

from datagradient.influence.solvers import SolverError, cg, explicit


def matrix(random, n=30, condition=1e3):
    q, _ = np.linalg.qr(random.normal(size=(n, n)))
    return (q * np.geomspace(1, condition, n)) @ q.T


def test_cg_and_explicit_solve_the_same_system(random):
    a, b = matrix(random), random.normal(size=30)
    direct, direct_record = explicit(lambda v: a @ v, b, damping=0.3)
    iterative, record = cg(lambda v: a @ v, b, damping=0.3, tolerance=1e-10)
    np.testing.assert_allclose(direct, np.linalg.solve(a + 0.3 * np.eye(30), b), rtol=1e-9)
    np.testing.assert_allclose(iterative, direct, rtol=1e-7, atol=1e-10)
    assert record.status == direct_record.status == "converged"
    assert record.residual <= 2e-10


def test_cg_needs_no_more_steps_than_scipys(random):
    a, b = matrix(random, n=200, condition=50), random.normal(size=200)
    steps = []
    scipy_cg(a, b, rtol=1e-6, callback=lambda _: steps.append(1))
    _, record = cg(lambda v: a @ v, b, tolerance=1e-6)
    assert record.iterations <= len(steps) + 1


def test_cg_leaves_its_right_hand_side_alone(random):
    a, b = matrix(random), random.normal(size=30)
    before = b.copy()
    cg(lambda v: a @ v, b)
    np.testing.assert_array_equal(b, before)


def test_preconditioner_saves_steps_and_keeps_the_solution(random):
    a, b = matrix(random, n=100, condition=1e4), random.normal(size=100)
    near = np.linalg.inv(a + 0.1 * np.eye(100))
    plain, plain_record = cg(lambda v: a @ v, b, tolerance=1e-8)
    fast, record = cg(lambda v: a @ v, b, tolerance=1e-8, preconditioner=lambda v: near @ v)
    np.testing.assert_allclose(fast, plain, rtol=1e-4, atol=1e-8)
    assert record.iterations < plain_record.iterations / 5


def test_a_budget_that_ends_first_is_marked(random):
    a, b = matrix(random, condition=1e6), random.normal(size=30)
    _, record = cg(lambda v: a @ v, b, max_iterations=3)
    assert (record.status, record.iterations, record.products) == ("unconverged", 3, 4)
    assert record.residual > record.tolerance


def test_negative_curvature_raises_and_names_the_damping():
    with pytest.raises(SolverError, match=r"curvature -1 .*damping 0"):
        cg(lambda v: -v, np.ones(1))


def test_products_that_are_not_finite_raise():
    with pytest.raises(SolverError, match="curvature nan"):
        cg(lambda v: v * np.nan, np.ones(3))


def test_explicit_leaves_out_directions_without_curvature():
    x, _ = explicit(lambda v: np.array([2.0, 0.0]) * v, np.array([1.0, 0.0]))
    np.testing.assert_allclose(x, [0.5, 0.0])


def test_explicit_raises_when_there_is_no_solution():
    with pytest.raises(SolverError, match="raise the damping"):
        explicit(lambda v: np.array([2.0, 0.0]) * v, np.array([1.0, 1.0]))


def test_zero_right_hand_side_gives_zero():
    x, record = cg(lambda v: v, np.zeros(3))
    assert not x.any()
    assert record.status == "converged"
