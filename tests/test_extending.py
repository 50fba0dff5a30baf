"""The examples of docs/extending.md do what they say."""

import __future__

import importlib.util
import re

import numpy as np
import pytest

from conftest import REPOSITORY, blobs, merged
from datagradient.data import sets
from datagradient.data.record import Dataset
from datagradient.data.splits import SplitPlan, flip_labels
from datagradient.data.training_set import TrainingSet
from datagradient.influence import options, scores
from datagradient.models import read_declaration
from datagradient.pipeline.config import validate
from datagradient.refine import crossfit, loop, policies, repair

# The first line of a block is a comment with the file that it is, or is added to.
BLOCKS = dict(re.findall(r"```\w+\n# (\S+)\n(.*?)```", (REPOSITORY / "docs/extending.md").read_text(), re.DOTALL))


def module_of(name, folder):
    """The module that a block of the document is, and its file."""
    file = folder / name.split("/")[-1]
    file.write_text(BLOCKS[name])
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, file


def test_the_data_set_loads(tmp_path):
    module, file = module_of("src/datagradient/data/sets/cancer.py", tmp_path)
    dataset = module.load()
    assert isinstance(dataset, Dataset)
    assert (dataset.name, len(dataset.labels)) == (file.stem, 569)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_familys_influence_is_what_refits_show(tmp_path, random, n_classes):
    family, file = module_of("src/datagradient/models/ridge.py", tmp_path)
    settings = read_declaration(file).defaults
    features, labels = blobs(random, 560, 4, n_classes)
    train, validation = (features[:480], labels[:480]), (features[480:], labels[480:])

    def fitted(weights=None):
        return family.fit(*train, n_classes, settings, 0, weights)[0]

    def loss(model):
        problem = family.problem(model, *validation)
        return 0.5 * np.mean((problem._residuals(problem.x, problem.labels) ** 2).sum(axis=1))

    model = fitted()
    np.testing.assert_allclose(family.probabilities(model, features).sum(axis=1), 1)
    family.save(tmp_path / "model.npz", model, {"seed": 0})
    np.testing.assert_array_equal(family.load(tmp_path / "model.npz")[0].weights, model.weights)
    solver = read_declaration(file).solver
    influence = scores.score(family.problem(model, *train), *validation, **solver).influence
    changes = [loss(fitted(1.0 - (np.arange(480) == i))) - loss(model) for i in range(0, 480, 24)]
    assert np.corrcoef(-influence[::24] / 480, changes)[0, 1] > 0.99


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_familys_models_can_be_cross_fitted(tmp_path, random, monkeypatch, n_classes):
    family, file = module_of("src/datagradient/models/ridge.py", tmp_path)
    declared = read_declaration(file)
    features, clean = blobs(random, 240, 4, n_classes, spread=0.7)
    labels, flipped = flip_labels(clean, 0.2, n_classes, 0)
    model, _ = family.fit(features, labels, n_classes, declared.defaults, 0)
    direction = random.normal(size=model.weights.size)
    found = scores.influence_by_label(family.problem(model, features, labels), direction)
    for label in range(n_classes):
        alike = family.problem(model, features, np.full(240, label))
        np.testing.assert_allclose(found[:, label], -alike.project(direction))
    monkeypatch.setattr(crossfit, "family", lambda name: family)
    samples = TrainingSet(features, labels, flipped, np.arange(240), n_classes, 0, "blobs")
    influence = crossfit.cross_fit("ridge", samples, [], declared.defaults, declared.solver).influence
    harm = influence[np.arange(240), labels]
    assert harm[flipped].mean() > 0 > harm[~flipped].mean()


def test_the_policy_that_decides_once_removes_what_it_says(monkeypatch):
    names, decides = {**vars(policies)}, {**vars(repair), "DECISIONS": {}}
    annotations = __future__.annotations.compiler_flag
    exec(compile(BLOCKS["src/datagradient/refine/policies.py"], "block", "exec", flags=annotations), names)
    exec(BLOCKS["src/datagradient/refine/repair.py"], decides)
    monkeypatch.setitem(policies.POLICIES, "doubtful", names["POLICIES"]["doubtful"])
    monkeypatch.setitem(repair.DECISIONS, "doubtful", decides["DECISIONS"]["doubtful"])
    names = ["influence", "crossfit", "doubtful"]
    plan = SplitPlan(max_development=300, max_test=100)
    found = loop.refine(sets.load("digits"), "logistic", policies=names, noise=0.2, iterations=2, plan=plan)
    steps = {(step.policy, step.iteration): step for step in found.steps}
    assert list(steps) == [("baseline", 0), *((name, 1) for name in names), ("influence", 2)]
    gone, half = (steps[name, 1].removal.positions for name in ("doubtful", "crossfit"))
    assert len(gone) // 2 == len(half)
    flipped = steps["doubtful", 1].before["flipped"]
    assert flipped[gone].mean() > 2 * flipped.mean()


def test_the_policys_score_is_high_where_another_class_is_probable():
    names = {**vars(policies)}
    block = BLOCKS["src/datagradient/refine/policies.py"]
    exec(compile(block, "block", "exec", flags=__future__.annotations.compiler_flag), names)  # as in the module
    given = [[0.7, 0.2, 0.1], [0.1, 0.5, 0.4]]

    class Family:
        @staticmethod
        def probabilities(model, inputs):
            return np.array(given)

    basis = policies.Basis(Family, None, None, np.array([0, 2]), None, None, None)
    np.testing.assert_allclose(names["SCORES"]["doubt"](basis), [-0.5, 0.1])
    assert names["POLICIES"]["margin"].score == "doubt"


def test_the_solver_solves(random):
    names, declared = {**vars(scores), "SOLVES": {}}, {"SOLVERS": {}}
    exec(BLOCKS["src/datagradient/influence/scores.py"], names)
    exec(BLOCKS["src/datagradient/influence/options.py"], declared)
    assert set(declared["SOLVERS"]["minres"]) <= set(options.SOLVER_OPTIONS)
    matrix = np.diag(np.arange(1.0, 9.0))

    class Problem:
        @staticmethod
        def matvec(vector):
            return matrix @ vector

    b = random.normal(size=8)
    x, record = names["SOLVES"]["minres"](Problem, b, 0, damping=0.5, tolerance=1e-8)
    np.testing.assert_allclose(x, b / (np.diag(matrix) + 0.5), rtol=1e-6)
    assert record.status == "converged"


def test_the_preset_is_valid(tmp_path):
    text = BLOCKS["config/mine.yaml"]
    for example, known in (("ridge", "boosted"), ("margin", "loss"), ("cancer", "affairs")):
        assert example in text
        text = text.replace(example, known)
    (tmp_path / "mine.yaml").write_text(text)
    assert validate(*merged(tmp_path / "mine.yaml"))["model_settings"]["logistic"]["solver"]["table"]["damping"] == 1e-3
