import numpy as np
import pytest
from scipy.sparse.linalg import cg as scipy_cg

from datagradient.influence.solvers import SolverError, cg, direct, explicit, lissa


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


def by_lissa(matvec, b, **options):
    def batches():
        while True:
            yield matvec

    return lissa(matvec, b, batches(), np.random.default_rng(0), **options)


def test_lissas_repeats_are_averaged(random):
    a, b = matrix(random, condition=3), random.normal(size=30)
    x, record = by_lissa(lambda v: a @ v, b, damping=0.5, repeats=3, tolerance=1e-6)
    np.testing.assert_allclose(x, np.linalg.solve(a + 0.5 * np.eye(30), b), rtol=1e-6, atol=1e-9)
    assert (record.status, record.iterations) == ("converged", 3 * 100)


def by_inverse(matvec, b, **options):
    return direct(matvec, b, lambda v: v / 2, "ekfac", **options)


SOLVERS = [cg, explicit, by_lissa, by_inverse]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_right_hand_sides_that_are_not_finite_are_refused(solver, value):
    with pytest.raises(SolverError, match="right-hand side is not finite at parameter 1"):
        solver(lambda v: v, np.array([1.0, value, 2.0]))


@pytest.mark.parametrize("solver", SOLVERS)
def test_zero_right_hand_sides_have_the_solution_zero(solver):
    x, record = solver(lambda v: 2 * v, np.zeros(3))
    assert not x.any()
    assert record.residual == 0


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("damping", [-0.1, np.nan, np.inf])
def test_damping_without_meaning_is_refused(solver, damping):
    with pytest.raises(SolverError, match=f"damping {damping:g}; it is a number from 0 on"):
        solver(lambda v: v, np.ones(3), damping=damping)


@pytest.mark.parametrize("solver", [cg, explicit, by_lissa])
@pytest.mark.parametrize("tolerance", [-1e-3, 1.0, np.nan])
def test_tolerances_without_meaning_are_refused(solver, tolerance):
    with pytest.raises(SolverError, match="it is a relative residual, from 0 to below 1"):
        solver(lambda v: v, np.ones(3), tolerance=tolerance)


@pytest.mark.parametrize("solver", [cg, by_lissa])
def test_no_steps_at_all_are_refused(solver):
    with pytest.raises(SolverError, match="max_iterations and repeats are at least 1"):
        solver(lambda v: v, np.ones(3), max_iterations=0)


@pytest.mark.parametrize("solver", [cg, explicit, by_lissa])
def test_indefinite_curvature_is_not_called_converged(random, solver):
    a = np.diag([3.0, 2.0, -2.5])
    with pytest.raises(SolverError, match=r"curvature -|diverges"):
        solver(lambda v: a @ v, np.array([0.1, 0.1, 1.0]))


@pytest.mark.parametrize("solver", [cg, explicit, by_lissa])
def test_singular_curvature_without_damping_is_not_called_converged(random, solver):
    a = np.diag([3.0, 2.0, 0.0])
    try:
        x, record = solver(lambda v: a @ v, np.ones(3))
    except SolverError as error:
        assert "damping" in str(error)
    else:
        assert np.isfinite(x).all()
        assert record.status == "unconverged"


def test_solutions_that_are_not_finite_are_refused():
    with pytest.raises(SolverError, match="the solution is not finite at damping 0; raise the damping"):
        direct(lambda v: v, np.ones(3), lambda v: v * np.inf, "ekfac")


def test_preconditioners_that_are_not_positive_are_refused():
    with pytest.raises(SolverError, match="the preconditioner is not positive definite in step 1"):
        cg(lambda v: v, np.ones(3), preconditioner=lambda v: -v)
