"""Scores of users' own models against refits without a sample, in any form of samples."""

import copy
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
import xgboost as xgb
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from conftest import code_blocks, run_script
from datagradient import InfluenceResult, influence_scores
from datagradient.influence.modules import FAST_ATTENTION, precision_switches
from interface_examples import HELD_OUT, TRAIN, parts, smoothed, table

EXACT = {"damping": 0.0, "tolerance": 1e-8, "samples": None}


def loss_of(model, features, labels, weights=None):
    p = model.predict_proba(features)[np.arange(len(labels)), np.searchsorted(model.classes_, labels)]
    return (-np.log(p) * (1 if weights is None else weights)).mean()


# LogisticRegression against itself, fitted again without a sample.

KINDS = {
    "two classes": (2, {}, False),
    "three classes": (3, {}, False),
    "no intercept": (3, {"fit_intercept": False}, False),
    "no intercept, two classes": (2, {"fit_intercept": False}, False),
    "balanced": (3, {"class_weight": "balanced"}, False),
    "class weights": (2, {"class_weight": {"a": 3.0, "b": 0.5}}, False),
    "sample weights": (3, {}, True),
    "both weights": (2, {"class_weight": {"a": 3.0}}, True),
    "no penalty": (2, {"C": np.inf}, False),
    "liblinear": (2, {"solver": "liblinear", "fit_intercept": False}, False),
}


@pytest.mark.parametrize("kind", KINDS)
def test_logistic_regressions_are_as_refits_without_a_sample(random, kind):
    n_classes, settings, is_weighted = KINDS[kind]
    features, numbers = table(random, n_classes)
    labels = np.array(["a", "b", "c"])[numbers]
    model = LogisticRegression(**{"C": 0.3, "tol": 1e-9, "max_iter": 10_000, **settings})
    weights = random.uniform(0.2, 3, size=120) if is_weighted else None
    train, held_out = parts(features, labels)
    model.fit(*train, sample_weight=weights)
    before = copy.deepcopy(model.__dict__)
    result = influence_scores(model, train, held_out, sample_weight=weights)
    assert result.record["status"] == "converged"
    assert repr(model.__dict__) == repr(before)

    factors = np.ones(3)
    if settings.get("class_weight") == "balanced":
        factors = 120 / (3 * np.bincount(numbers[TRAIN], minlength=3))
        model.set_params(class_weight=dict(zip("abc", factors, strict=True)))  # a refit keeps the factors
    elif "class_weight" in settings:
        factors = np.array([settings["class_weight"].get(name, 1.0) for name in "abc"])
    held_out_weights, step = factors[numbers[HELD_OUT]], 1e-3
    start, slopes, actual = loss_of(model, *held_out, held_out_weights), [], []
    for i in range(0, 120, 3):
        given = np.ones(120) if weights is None else weights.copy()
        ahead, behind = (
            loss_of(copy.deepcopy(model).fit(*train, np.where(np.arange(120) == i, factor, 1) * given), *held_out,
                    held_out_weights) for factor in (1 - step, 1 + step)
        )  # fmt: skip
        slopes.append((ahead - behind) / (2 * step))
        given[i] = 0
        actual.append(loss_of(copy.deepcopy(model).fit(*train, given), *held_out, held_out_weights) - start)
    predicted = -result.values[::3] / 120
    np.testing.assert_allclose(predicted, slopes, rtol=0.01, atol=2e-6)
    assert spearmanr(predicted, actual).statistic > 0.9
    assert np.polyfit(actual, predicted, 1)[0] == pytest.approx(1, abs=0.3)


def test_a_pipeline_and_its_last_step_on_what_it_takes_have_the_same_scores(random):
    features, labels = table(random)
    frame = pd.DataFrame(features * [1, 10, 100, 1000], columns=list("wxyz"))
    train, held_out = (frame[TRAIN], labels[TRAIN]), (frame[HELD_OUT], pd.Series(labels[HELD_OUT]))
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(*train)
    inside = pipeline.steps[-1][1]
    expected = influence_scores(inside, *((pipeline[:-1].transform(x), np.asarray(y)) for x, y in (train, held_out)))
    found = influence_scores(pipeline, train, held_out)
    np.testing.assert_array_equal(found.values, expected.values)
    sparse = [(scipy.sparse.csr_array(pipeline[:-1].transform(x)), np.asarray(y)) for x, y in (train, held_out)]
    exact = influence_scores(inside, *sparse, solver=EXACT).values
    np.testing.assert_allclose(influence_scores(pipeline, train, held_out, solver=EXACT).values, exact, atol=1e-5)
    np.testing.assert_allclose(found.score(train), found.values, atol=1e-12)
    trees = make_pipeline(StandardScaler(), xgb.XGBClassifier(n_estimators=5)).fit(*train)
    assert influence_scores(trees, train, held_out).values.shape == (120,)


def test_a_cross_validated_regression_is_scored_by_the_penalty_that_it_found(random):
    train, held_out = parts(*table(random, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = LogisticRegressionCV(Cs=[0.1, 1.0], tol=1e-8).fit(*train)
    plain = LogisticRegression(C=float(np.unique(model.C_)[0]), tol=1e-8).fit(*train)
    found, expected = (influence_scores(m, train, held_out).values for m in (model, plain))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


# XGBoost: refits of leaf values are in test_boosted.py. A weight of two is the sample twice.


@pytest.mark.parametrize("n_classes", [2, 3])
def test_trees_with_weights_are_as_with_repeated_samples(random, n_classes):
    train, held_out = parts(*table(random, n_classes))
    train = (train[0].astype(np.float32), train[1])
    times = random.integers(1, 4, size=120)
    repeated = tuple(np.repeat(part, times, axis=0) for part in train)
    settings = {"n_estimators": 12, "max_depth": 2, "tree_method": "exact", "reg_lambda": 2.0}
    weighted = xgb.XGBClassifier(**settings).fit(*train, sample_weight=times)
    solver = {"damping": 0.0, "tolerance": 1e-10, "max_iterations": 3000, "samples": None}
    scaled = {**solver, "damping": 0.05}
    found = influence_scores(weighted, train, held_out, sample_weight=times, solver=scaled)
    # Damping stands beside the mean over samples, of which there are fewer.
    expected = influence_scores(weighted, repeated, held_out, solver={**scaled, "damping": 0.05 * 120 / times.sum()})
    sums = np.add.reduceat(expected.values, np.r_[0, np.cumsum(times)[:-1]])
    np.testing.assert_allclose(found.values / 120, sums / times.sum(), rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_booster_and_its_classifier_have_the_same_scores(random, n_classes):
    train, held_out = parts(*table(random, n_classes))
    model = xgb.XGBClassifier(n_estimators=10, max_depth=3, reg_lambda=3.0).fit(*train)
    by_class = influence_scores(model, train, held_out, class_weight=[1.0] * n_classes)
    by_booster = influence_scores(model.get_booster(), train, held_out)
    np.testing.assert_array_equal(by_class.values, by_booster.values)
    np.testing.assert_allclose(by_class.score(train), by_class.values, atol=1e-6)
    check = influence_scores(model, train, held_out, verify=4).verification
    np.testing.assert_allclose(check.predicted[check.converged], check.actual[check.converged], rtol=0.4, atol=3e-4)


# Networks: linear ones are refitted to the end, by nothing but torch.

DAMPING = 0.05


def squares(outputs, targets):
    return (outputs - targets).square().mean(dim=1)


# Loss -> outputs, labels from class numbers, what torch minimises, what influence_scores is told.
LOSSES = {
    "cross-entropy": (3, lambda y: y, lambda f, t: cross_entropy(f, t, reduction="none"), {}),
    "one logit": (1, lambda y: (y > 0).double(),
                  lambda f, t: binary_cross_entropy_with_logits(f[:, 0], t, reduction="none"), {}),
    "one logit, column": (1, lambda y: (y > 0).double()[:, None], lambda f, t: binary_cross_entropy_with_logits(
        f, t, reduction="none")[:, 0], {"loss": "binary_cross_entropy"}),
    "squared error": (1, lambda y: y.double(), lambda f, t: (f[:, 0] - t).square(), {"loss": "squared_error"}),
    "squared error, two outputs": (2, lambda y: torch.stack([y, 2 - y], dim=1).double(), squares,
                                   {"loss": "squared_error"}),
    "function": (3, lambda y: y, smoothed, {"loss": smoothed}),
    "module": (3, lambda y: y, smoothed, {"loss": nn.CrossEntropyLoss(label_smoothing=0.2)}),
    "class weights": (3, lambda y: y, lambda f, t: cross_entropy(
        f, t, torch.tensor([1.0, 4.0, 0.5], dtype=torch.double), reduction="none"), {"class_weight": [1.0, 4.0, 0.5]}),
}  # fmt: skip


def fitted(layer, inputs, targets, values, weights):
    """The layer at the minimum of the weighted mean loss and an L2 penalty, which damping stands for."""
    layer = copy.deepcopy(layer)
    optimiser = torch.optim.LBFGS(layer.parameters(), max_iter=500, tolerance_grad=1e-10, tolerance_change=1e-14,
                                  line_search_fn="strong_wolfe")  # fmt: skip

    def closure():
        optimiser.zero_grad()
        penalty = DAMPING / 2 * sum(value.square().sum() for value in layer.parameters())
        loss = (weights * values(layer(inputs), targets)).sum() / len(inputs) + penalty
        loss.backward()
        return loss

    optimiser.step(closure)
    return layer


@pytest.mark.parametrize("parameters", ["last", "all"])
@pytest.mark.parametrize("kind", LOSSES)
def test_linear_networks_are_as_refits_without_a_sample(random, kind, parameters):
    n_outputs, targets_of, values, told = LOSSES[kind]
    features, numbers = (torch.from_numpy(part) for part in table(random))
    targets = targets_of(numbers)
    torch.manual_seed(0)
    start = nn.Linear(4, n_outputs).double()
    model = fitted(start, features[TRAIN], targets[TRAIN], values, torch.ones(120))
    solver = {**EXACT, "damping": DAMPING, "parameters": parameters}
    train, held_out = parts(features, targets)
    result = influence_scores(model, train, held_out, solver=solver, **told)

    def loss(layer):
        with torch.no_grad():
            return float(values(layer(features[HELD_OUT]), targets[HELD_OUT]).mean())

    actual = []
    for i in range(0, 120, 4):
        weights = torch.ones(120)
        weights[i] = 0
        actual.append(loss(fitted(model, features[TRAIN], targets[TRAIN], values, weights)) - loss(model))
    predicted = -result.values[::4] / 120
    assert spearmanr(predicted, actual).statistic > 0.97
    assert np.polyfit(actual, predicted, 1)[0] == pytest.approx(1, abs=0.15)


def test_weights_of_samples_are_as_repeated_samples(random):
    (x, y), held_out = parts(*table(random))
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    times = random.integers(1, 4, size=120)
    repeated = np.repeat(x, times, axis=0), np.repeat(y, times)
    for parameters in ("last", "all"):
        solver = {**EXACT, "damping": 0.1, "parameters": parameters}
        found = influence_scores(network, (x, y), held_out, sample_weight=times, solver=solver)
        expected = influence_scores(network, repeated, held_out, solver={**solver, "damping": 0.1 * 120 / times.sum()})
        sums = np.add.reduceat(expected.values, np.r_[0, np.cumsum(times)[:-1]])
        np.testing.assert_allclose(found.values / 120, sums / times.sum(), rtol=1e-4, atol=1e-9)


class Named(nn.Module):
    """Takes two inputs by name, and returns a mapping, as Hugging Face's models do."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.classifier = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, input_ids, attention_mask=None):
        assert attention_mask is not None
        return {"logits": self.classifier(torch.tanh(self.body(input_ids * attention_mask)))}


def loaders(features, labels, mask):
    """The same samples in every form that a network with two inputs may get them in."""
    x, m, y = torch.from_numpy(features), torch.from_numpy(mask), torch.from_numpy(labels)
    batches = [slice(k, k + 50) for k in range(0, len(y), 50)]
    return {
        "mapping of arrays": ({"input_ids": features, "attention_mask": mask}, labels),
        "tuple of tensors": ((x, m), y),
        "loader": DataLoader(TensorDataset(x, m, y), batch_size=17),
        "dataset": TensorDataset(x, m, y),
        "mappings": [{"input_ids": x[k], "attention_mask": m[k], "labels": y[k]} for k in batches],
        "tuples": [(x[k], m[k], y[k]) for k in batches],
        "batches of one": [(x[[i]], m[[i]], y[[i]]) for i in range(len(y))],
        "pairs of pairs": [((x[k], m[k]), y[k]) for k in batches],
    }


@pytest.mark.parametrize("options", [{"parameters": "last"}, {"parameters": "all"},
                                     {"parameters": "all", "samples": 40},
                                     {"parameters": "last", "samples": 40}])  # fmt: skip
def test_samples_have_the_same_scores_in_any_form(random, options):
    features, labels = table(random)
    mask = random.uniform(0.5, 1, size=features.shape)
    model, solver = Named().double(), {"damping": 0.1, "tolerance": 1e-9, "samples": None, **options}
    train, held_out = (loaders(features[part], labels[part], mask[part]) for part in (TRAIN, HELD_OUT))
    first = influence_scores(model, train["tuple of tensors"], held_out["tuple of tensors"], solver=solver)
    assert isinstance(first, InfluenceResult)
    for form in train:
        result = influence_scores(model, train[form], held_out[form], solver=solver)
        np.testing.assert_allclose(result.values, first.values, atol=1e-8, err_msg=form)
        np.testing.assert_allclose(result.score(held_out[form]), first.score(held_out["loader"]), atol=1e-8)
    np.testing.assert_allclose(first.score(train["loader"]), first.values, atol=1e-8)
    assert first.record["options"]["parameters"] == options["parameters"]


def test_batches_of_other_lengths_are_represented(random):
    """Texts that are padded batch by batch cannot be one array."""
    torch.manual_seed(0)

    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.output = nn.Embedding(20, 4), nn.Linear(4, 2)

        def forward(self, tokens):
            words = (tokens > 0).double()
            return self.output((self.embedding(tokens) * words[:, :, None]).sum(dim=1) / words.sum(dim=1)[:, None])

    texts = [torch.from_numpy(random.integers(1, 20, size=random.integers(2, 9))) for _ in range(60)]
    labels = torch.from_numpy(random.integers(2, size=60))
    padded = nn.utils.rnn.pad_sequence(texts, batch_first=True)
    batches = [
        (nn.utils.rnn.pad_sequence(texts[k : k + 7], batch_first=True), labels[k : k + 7]) for k in range(0, 60, 7)
    ]
    for parameters in ("last", "all"):
        solver = {"damping": 0.1, "tolerance": 1e-9, "samples": 30, "parameters": parameters}
        found = influence_scores(Mean().double(), batches, batches, solver=solver)
        torch.manual_seed(0)
        expected = influence_scores(Mean().double(), (padded, labels), (padded, labels), solver=solver)
        assert found.values.shape == expected.values.shape


def test_frozen_parameters_do_not_count(random):
    train, held_out = parts(*table(random))
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    network[0].requires_grad_(False)
    solver = {**EXACT, "damping": 0.1}
    last, whole = (
        influence_scores(network, train, held_out, solver={**solver, "parameters": p}) for p in ("last", "all")
    )
    np.testing.assert_allclose(last.values, whole.values, atol=1e-6)
    assert [value.requires_grad for value in network.parameters()] == [False, False, True, True]
    assert network.training


def test_a_result_tells_positions_and_the_contribution_score(random):
    train, held_out = parts(*table(random))
    result = influence_scores(LogisticRegression().fit(*train), train, held_out, verify=5)
    worst = result.most_harmful(7)
    assert len(worst) == 7 and (np.diff(result.values[worst]) <= 0).all() and worst[0] == result.values.argmax()
    assert len(result.most_harmful(10_000)) == (result.values > 0).sum()
    assert -1 <= result.contribution()["dcs"] <= 1
    check = result.verification
    assert check.converged.all() and check.positions[0] == result.values.argmin() and len(str(check).splitlines()) == 6
    np.testing.assert_allclose(check.predicted, check.actual, rtol=0.3, atol=3e-4)
    assert set(result.record["seconds"]) == {"setup", "val_gradient", "solve", "projection"}


@pytest.mark.parametrize("told", [{}, {"loss": "squared_error"}, {"loss": smoothed}, {"class_weight": [1.0, 2.0, 3.0]}])
@pytest.mark.parametrize("parameters", ["last", "all"])
def test_a_check_refits_networks_with_their_own_loss(random, told, parameters):
    train, held_out = parts(*table(random))
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    if told.get("loss") == "squared_error":
        train, held_out = ((x, np.eye(3)[y]) for x, y in (train, held_out))
    solver = {"damping": 1.0, "tolerance": 1e-8, "samples": None, "parameters": parameters}
    check = influence_scores(network, train, held_out, solver=solver, verify=3, **told).verification
    assert check.converged.all()
    np.testing.assert_allclose(check.predicted, check.actual, rtol=0.1, atol=1e-6)


def test_a_solve_that_ends_early_is_said(random):
    train, held_out = parts(*table(random))
    model = LogisticRegression(C=100, tol=1e-8, max_iter=1000).fit(*train)
    with pytest.warns(UserWarning, match="the solve is unconverged: relative residual .*: raise max_iterations"):
        influence_scores(model, train, held_out, solver={"tolerance": 1e-14, "max_iterations": 1})


def test_other_samples_of_the_same_kind_are_refused_however_many(random):
    features = random.normal(size=(20_000, 5))
    labels = (features @ np.ones(5) + random.normal(size=20_000) > 0).astype(int)
    weights = random.exponential(size=20_000)
    model = LogisticRegression(tol=1e-6).fit(features, labels, weights)
    held_out = features[:500], labels[:500]
    for samples in ((features, labels), (features[:15_000], labels[:15_000])):
        with pytest.raises(ValueError, match="not at the minimum"):
            influence_scores(model, samples, held_out)
    assert influence_scores(model, (features, labels), held_out, sample_weight=weights).values.shape == (20_000,)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_trees_are_not_scored_on_other_samples_or_labels(random, n_classes):
    (x, y), held_out = parts(*table(random, n_classes))
    x = x.astype(np.float32)
    model = xgb.XGBClassifier(n_estimators=10, max_depth=3).fit(x, y)
    influence_scores(model, (x, y), held_out)
    for samples, which in (((x, random.permutation(y)), "other labels"), ((x[::-1].copy(), y), "other"),
                           ((random.normal(size=x.shape), y), "other samples")):  # fmt: skip
        with pytest.raises(ValueError, match=f"the first tree was trained on {which}"):
            influence_scores(model, samples, held_out)
    constrained = xgb.XGBClassifier(n_estimators=5, monotone_constraints=(1, 0, -1, 0), max_depth=3).fit(x, y)
    influence_scores(constrained, (x, y), held_out)


def test_a_loader_that_changes_its_later_batches_is_refused(random):
    (x, y), held_out = parts(*table(random))
    x, y = torch.from_numpy(x), torch.from_numpy(y)

    class Tail(torch.utils.data.Sampler):
        def __iter__(self):
            return iter([*range(60), *(60 + np.random.default_rng().permutation(60)).tolist()])

        def __len__(self):
            return 120

    loader = DataLoader(TensorDataset(x, y), batch_size=30, sampler=Tail())
    with pytest.raises(ValueError, match=r"training batch [23] is another one when it is read again"):
        influence_scores(nn.Linear(4, 3).double(), loader, held_out)


def test_a_last_layer_is_compared_with_the_logits_of_all_samples(random):
    class Clipped(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x):
            return self.layer(x).clamp(-2, 2)

    (x, y), held_out = parts(*table(random))
    x[:70] *= 0.05
    x[70:] *= 20
    with pytest.raises(ValueError, match="the logits are not those of the last linear layer"):
        influence_scores(Clipped().double(), (x, y), held_out)


def test_the_callers_arrays_survive_a_network_that_works_in_place(random):
    (x, y), held_out = parts(*table(random))
    network = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 3)).double()
    for samples in (x.copy(), torch.from_numpy(x.copy())):
        before = copy.deepcopy(samples)
        for parameters in ("last", "all"):
            influence_scores(network, (samples, y), held_out, solver={"parameters": parameters})
        assert (np.asarray(samples) == np.asarray(before)).all()


def test_a_model_that_has_changed_is_not_mixed_with_the_scored_one(random):
    train, held_out = parts(*table(random))
    model = LogisticRegression().fit(*train)
    result = influence_scores(model, train, held_out)
    before = result.score(held_out)
    model.fit(train[0][:60], train[1][:60])
    np.testing.assert_array_equal(result.score(held_out), before)
    network = nn.Linear(4, 3).double()
    result = influence_scores(network, train, held_out)
    with torch.no_grad():
        network.weight *= 1.5
    with pytest.raises(ValueError, match="parameters have changed since it was scored"):
        result.score(held_out)


def test_scoring_works_whatever_the_caller_has_switched_off_and_in_threads(random):
    train, held_out = parts(*table(random))
    networks = [nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double() for _ in range(4)]
    switches = [enabled() for enabled, _ in FAST_ATTENTION]

    def score(network):
        return influence_scores(network, train, held_out, solver={"parameters": "all"}).values

    expected = [score(network) for network in networks]
    with ThreadPoolExecutor(4) as pool:
        for found, values in zip(pool.map(score, networks), expected, strict=True):
            np.testing.assert_allclose(found, values, rtol=1e-6, atol=1e-9)
    assert [enabled() for enabled, _ in FAST_ATTENTION] == switches
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            np.testing.assert_allclose(score(networks[0]), expected[0], rtol=1e-6, atol=1e-9)


PRECISIONS = {
    "torch's own": lambda: None,
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "one by one": lambda: [setattr(part, "fp32_precision", value) for part, value in
                           ((torch.backends.cudnn.rnn, "ieee"), (torch.backends.cuda.matmul, "tf32"))],
}  # fmt: skip


@pytest.fixture
def precision():
    """A function that sets the precision of products; before and afterwards it is torch's own."""

    def reset():
        torch.backends.cudnn.allow_tf32 = True
        torch.set_float32_matmul_precision("highest")

    reset()
    yield lambda name: PRECISIONS[name]()
    reset()


@pytest.mark.parametrize("name", PRECISIONS)
def test_products_have_the_bits_of_single_precision_while_a_network_is_scored_and_not_afterwards(
    random, monkeypatch, precision, name
):
    class Watched(nn.Linear):
        def forward(self, x):
            seen.append([read() for read, _, _ in switches])
            if name == "one by one":  # then torch itself refuses this
                return super().forward(x)
            with torch.backends.cudnn.flags(enabled=False):
                return super().forward(x)

    if name == "one by one" and not hasattr(torch.backends.cudnn, "rnn"):
        pytest.skip("from torch 2.9 on")
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    precision(name)
    switches, seen = precision_switches(), []
    before = [read() for read, _, _ in switches]
    result = influence_scores(Watched(4, 3).double(), *parts(*table(random)))
    result.score(table(random))
    assert all(values == [value for _, _, value in switches] for values in seen)
    assert [read() for read, _, _ in switches] == before != seen[0]


def test_balanced_classes_count_the_weights_of_samples_as_scikit_learn_does(random):
    train, held_out = parts(*table(random, 3))
    weights = random.uniform(0.2, 3, size=120)
    model = LogisticRegression(class_weight="balanced", tol=1e-9, max_iter=5000).fit(*train, weights)
    check = influence_scores(model, train, held_out, sample_weight=weights, verify=3).verification
    assert (
        np.sign(check.predicted) == np.sign(check.actual)
    ).all()  # and the model is at the minimum of what is scored


def test_a_network_may_return_one_number_a_sample(random):
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 1)

        def forward(self, x):
            return self.layer(x)[:, 0]

    (x, y), (x2, y2) = parts(*table(random, 2))
    network = Flat().double()
    logits = influence_scores(network, (x, y > 0), (x2, y2 > 0), solver={"parameters": "all"}).values
    own = influence_scores(network, (x, y.astype(float)), (x2, y2.astype(float)), solver={"parameters": "all"},
                           loss=nn.BCEWithLogitsLoss()).values  # fmt: skip
    np.testing.assert_allclose(own, logits, atol=1e-8)
    targets = (x, y.astype(float)), (x2, y2.astype(float))
    squared, module = (influence_scores(network, *targets, loss=loss).values
                       for loss in ("squared_error", nn.MSELoss()))  # fmt: skip
    np.testing.assert_allclose(squared, module, atol=1e-8)


NAMED = {
    "logistic": ({"name": "explicit"}, {"name": "lissa", "damping": 0.1, "batch_size": 8}, {"name": "cg"}),
    "last": ({"name": "explicit"}, {"name": "lissa", "batch_size": 8}, {"name": "cg"}),
    "all": ({"name": "explicit"}, {"name": "lissa", "batch_size": 8, "samples": 40}, {"name": "ekfac"},
            {"preconditioner": "ekfac"}, {"curvature": "hessian", "damping": 5.0}),
}  # fmt: skip


@pytest.mark.parametrize("kind", NAMED)
def test_any_solver_can_be_named_alone(random, kind):
    train, held_out = parts(*table(random))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    model = LogisticRegression().fit(*train) if kind == "logistic" else model
    form = {} if kind == "logistic" else {"parameters": kind, "samples": None}
    exact = influence_scores(model, train, held_out, solver={"damping": 0.1, "tolerance": 1e-8, **form}).values
    for options in NAMED[kind]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # LiSSA may end before its tolerance
            values = influence_scores(model, train, held_out, solver={**form, **options}).values
        assert spearmanr(values, exact).statistic > 0.8, options


# The examples that readers copy.


def test_the_examples_on_own_models_run(tmp_path):
    said = run_script("\n".join(code_blocks("docs/own-models.md")), tmp_path)
    assert int(said.split()[0]) >= 25  # of forty wrong labels among the forty most harmful, of 1,200
    assert "converged" in said and "predicted" in said


def test_the_readmes_example_runs(tmp_path):
    data = """
from sklearn.datasets import load_iris
x, y = load_iris(return_X_y=True)
x_train, y_train, x_validation, y_validation = x[::2], y[::2], x[1::2], y[1::2]
"""
    (example,) = code_blocks("README.md")
    assert run_script(data + example.replace("LogisticRegression()", "LogisticRegression(max_iter=500)"), tmp_path)
