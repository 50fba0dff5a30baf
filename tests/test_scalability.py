"""What influence costs as the training set grows: which solvers, what a row says of each, slopes, figure."""

import pytest
from matplotlib import pyplot as plt

from conftest import REPOSITORY, merged
from datagradient.data.splits import SplitPlan
from datagradient.experiments import scalability
from datagradient.experiments.scalability import (
    CONVERGED,
    KEPT,
    PAPER,
    gather_sizes,
    log_slope,
    measure_sizes,
    slope_rows,
    solvers_of,
)
from datagradient.files import read_json, read_rows, write_rows
from datagradient.influence import record
from datagradient.models import declared
from datagradient.pipeline.config import validate
from datagradient.pipeline.layout import solver_for
from datagradient.pipeline.prepare import prepare_seeds
from datagradient.report import experiment_figures, experiment_tables, readme

LAST = {"name": "cg", "damping": 0.2, "tolerance": 0.01, "max_iterations": 300, "parameters": "last", "samples": 400}
ALL = {**LAST, "parameters": "all"}
STEPS = {**ALL, "preconditioner": "ekfac", "tolerance": 0, "max_iterations": 3}
EKFAC = {"name": "ekfac", "damping": 0.2, "parameters": "all"}
RECORD = {**LAST, "name": "record"}
NETWORK = {"network": "small", "width": 6, "vocabulary": 100, "epochs": 5, "batch_size": 20, "learning_rate": 0.005,
           "weight_decay": 0.05, "averaging": 0, "precision": "float32"}  # fmt: skip


@pytest.mark.parametrize(("default", "names"), [
    (LAST, ["cg", "record", "cg-all", "lissa"]), (ALL, ["cg", "record", "lissa"]),
    (STEPS, ["ekfac+cg", "record", "cg-all", "lissa"]), (EKFAC, ["ekfac", "record", "cg-all", "lissa"]),
    (RECORD, ["cg", "record", "cg-all", "lissa"]),
])  # fmt: skip
def test_networks_are_scored_by_their_own_solver_a_record_a_converged_one_and_lissa(default, names):
    solvers = solvers_of(True, default)
    assert list(solvers) == names
    own = "record" if default == RECORD else names[0]
    assert [name for name, options in solvers.items() if options == default] == [own]
    assert solvers["record"] == (default if own == "record" else {**KEPT, "damping": 0.2})
    assert solvers.get("cg-all", {**CONVERGED, "damping": 0.2}) == {**CONVERGED, "damping": 0.2}
    assert solvers["lissa"] == PAPER


def test_a_record_that_is_the_default_stands_beside_the_same_solve_afterwards():
    assert solvers_of(True, RECORD)["cg"] == LAST


def test_families_without_records_have_one_solver():
    assert solvers_of(False, ALL) == {"cg": ALL}


def test_lissa_is_that_of_the_arm_as_in_the_paper():
    lissa = validate(*merged(REPOSITORY / "config/lissa.yaml"))["model_settings"]["neural"]["solver"]
    for kind in ("image", "text", "table"):
        assert {key: solver_for(lissa, kind)[key] for key in PAPER} == PAPER


@pytest.fixture(scope="module")
def affairs(tmp_path_factory):
    data = tmp_path_factory.mktemp("affairs") / "features.npz"
    prepare_seeds("affairs", SplitPlan(), {0: data})
    return data


@pytest.fixture
def measured(affairs, tmp_path, monkeypatch):
    """Measure a small network, memory too in this process; return the rows by solver, and the provenance."""
    monkeypatch.setattr(scalability, "in_fresh_processes", lambda function, cases: [function(*case) for case in cases])

    def measure(n=300, solver=LAST, **settings):
        plan = {"sizes": [n], "repeats": 1, "removal_fraction": 0.05}
        measure_sizes(affairs, "neural", {**NETWORK, **settings}, solver, plan, tmp_path / "rows.json")
        content = read_json(tmp_path / "rows.json")
        return {row["solver"]: row for row in content["rows"]}, content["provenance"][0]

    return measure


def test_a_network_has_a_row_for_each_solver_on_the_same_training(measured, tmp_path):
    rows, provenance = measured()
    assert list(rows) == ["cg", "record", "cg-all", "lissa"]
    assert [row["default"] for row in rows.values()] == [1, 0, 0, 0]
    assert len({row["train_seconds"] for row in rows.values()}) == 1
    assert [name for name, row in rows.items() if row["train_ratio"] != ""] == ["record"]
    assert rows["record"]["train_ratio"] > 0 and rows["record"]["record_mib"] > 300 * 6 * 4 / 2**20
    assert {rows[name]["record_mib"] for name in ("cg", "cg-all", "lissa")} == {0}
    assert rows["record"]["solver_status"] == rows["cg-all"]["solver_status"] == "converged"
    assert provenance["notes"] == {} and provenance["solvers"]["cg"] == LAST
    gather_sizes([tmp_path / "rows.json"], tmp_path / "scalability.csv")
    assert [row["solver"] for row in read_rows(tmp_path / "scalability.csv")] == list(rows)


def test_a_pass_that_takes_the_place_of_an_old_record_is_named(measured, monkeypatch):
    monkeypatch.setattr(record, "AGED", 1.01)  # which no record reaches
    rows, provenance = measured(solver=RECORD)
    assert rows["record"]["solver_status"] == "converged by a pass"
    assert "rank differently" in provenance["notes"]["record"]
    assert (rows["cg"]["solver_status"], rows["record"]["default"]) == ("converged", 1)


def test_a_pass_that_takes_the_place_of_a_record_that_was_not_kept_is_named(measured):
    rows, provenance = measured(averaging=0.5)
    assert rows["record"]["solver_status"] == "converged by a pass"
    assert "training kept no record" in provenance["notes"]["record"]


def test_a_solver_that_fails_has_no_row_and_says_why(measured, monkeypatch, capsys):
    monkeypatch.setattr(scalability, "PAPER", {**PAPER, "batch_size": 10_000})
    rows, provenance = measured()
    assert list(rows) == ["cg", "record", "cg-all"]
    assert "for batches of 10000" in provenance["notes"]["lissa"]
    assert "affairs, neural, 300 samples, lissa: lissa: 300 training samples" in capsys.readouterr().err


def test_logistic_regression_has_one_row(affairs, tmp_path, monkeypatch):
    monkeypatch.setattr(scalability, "in_fresh_processes", lambda function, cases: [function(*case) for case in cases])
    family, plan = declared("logistic"), {"sizes": [200, 400], "repeats": 1, "removal_fraction": 0.05}
    measure_sizes(affairs, "logistic", {**family.defaults, "l2": 0.1}, family.solver, plan, tmp_path / "rows.json")
    rows = read_json(tmp_path / "rows.json")["rows"]
    assert [(row["solver"], row["default"], row["n"], row["record_mib"]) for row in rows] == [
        ("cg", 1, 200, 0), ("cg", 1, 400, 0),
    ]  # fmt: skip


def test_the_slope_of_a_power_law_is_its_exponent():
    n = [100, 1000, 10_000, 100_000]
    slope, low, high = log_slope(n, [3 * k**0.7 for k in n])
    assert slope == pytest.approx(0.7)
    assert low <= slope <= high


def cost(solver, n, ratio=0.1, status="converged", **more):
    """A row of scalability.csv: training and scoring grow in proportion."""
    seconds = {f"{step}_seconds": ratio * n for step in (*scalability.STEPS, "influence")}
    empty = dict.fromkeys(scalability.COLUMNS, 1)
    return {**empty, "dataset": "a", "model": "neural", "solver": solver, "default": int(solver == "cg"), "n": n,
            "originals": n, "n_curvature": min(n, 200), "train_seconds": float(n), "ratio": ratio,
            "train_ratio": 1.02 if solver == "record" else "", "solver_status": status, **seconds, **more}  # fmt: skip


SIZES = (100, 200, 400, 800, 1600)


def test_steps_have_slopes_beyond_the_curvature_sample_alone():
    table = [cost("cg", n, projection_seconds=0.001 if n <= 200 else n) for n in SIZES]
    slopes = {row["what"]: row for row in slope_rows(table)}
    assert slopes["projection"]["slope"] == pytest.approx(1) and slopes["projection"]["sizes"] == 3
    assert slopes["influence"]["sizes"] == 5


def test_each_solver_has_slopes_and_training_has_one():
    table = [cost(solver, n) for n in SIZES for solver in ("cg", "lissa")]
    slopes = slope_rows(table)
    assert [(row["solver"], row["sizes"]) for row in slopes if row["what"] == "train"] == [("", 5)]
    assert [row["solver"] for row in slopes if row["what"] == "influence"] == ["cg", "lissa"]


def test_passes_in_the_place_of_records_have_no_part_in_a_slope():
    table = [cost("record", n, status="converged by a pass" if n < 300 else "converged") for n in SIZES]
    slopes = {row["what"]: row["sizes"] for row in slope_rows(table)}
    assert (slopes["influence"], slopes["train"]) == (3, 5)


@pytest.fixture
def results(tmp_path):
    """Rows of a network by three solvers, one of which misses its tolerance once, and of a family with one."""
    write_rows(tmp_path / "data.csv", ["dataset", "title"], [{"dataset": "a", "title": "A"}])
    rows = [cost(solver, n, ratio) for n in (1000, 10_000, 100_000)
            for solver, ratio in (("cg", 0.1), ("record", 0.001), ("lissa", 2))]  # fmt: skip
    rows[2]["solver_status"] = "unconverged"
    rows += [cost("cg", n, model="logistic") for n in (1000, 10_000, 100_000)]
    write_rows(tmp_path / "scalability.csv", scalability.COLUMNS, rows)
    write_rows(tmp_path / "slopes.csv", scalability.SLOPES, slope_rows(read_rows(tmp_path / "scalability.csv")))
    return tmp_path


def test_the_figure_has_plain_numbers_a_line_a_solver_and_hollow_markers(results):
    drawing = experiment_figures.scalability(results)
    drawing.canvas.draw()
    network, logistic = drawing.axes
    lines = [line for line in network.lines if len(line.get_xdata()) == 3]
    assert [line.get_label() for line in lines] == [
        "the default, or its solver without a record", "record of the last epoch", "LiSSA, as in the paper",
    ]  # fmt: skip
    hollow = [line for line in network.lines if line.get_markerfacecolor() == "white"]
    assert [float(line.get_ydata()[0]) for line in hollow] == [2]
    labels = [label.get_text() for axis in (logistic.xaxis, network.yaxis) for label in axis.get_ticklabels()]
    assert {"1,000", "100,000", "0.001", "0.1", "1"} <= set(labels) and not any("$" in label for label in labels)
    plt.close(drawing)


def test_tables_have_a_line_a_solver(results):
    lines = experiment_tables.slopes(results)
    assert [(line["Model"], line["Solver"]) for line in lines] == [
        ("neural", "cg"), ("neural", "record"), ("neural", "lissa"), ("logistic", "cg"),
    ]  # fmt: skip
    assert {line["Training [95 %]"] for line in lines} == {"1.00 [1.00, 1.00]"}
    assert [line["Solver"] for line in experiment_tables.scalability(results)[:3]] == [
        "cg (default)",
        "record",
        "lissa",
    ]
    text = readme.scale(results)
    assert "| A, neural | record; training takes 1.02 to 1.02 times as long with it | 1,000 to 100,000 |" in text
    assert "| A, neural | lissa; 1 of 3 unconverged | 1,000 to 100,000 | 2 to 2 |" in text
