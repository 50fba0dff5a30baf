"""The experiments besides refinement: enlarged data, cost, refits, agreement."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from conftest import blobs
from datagradient.data.splits import SplitPlan
from datagradient.errors import UserError
from datagradient.experiments.datamodeling import agreement, correlation_interval, datamodeling_score, random_halves
from datagradient.experiments.enlarge import batches, enlarged, variant
from datagradient.experiments.fidelity import single_rows, single_table
from datagradient.experiments.scalability import gather_sizes, in_fresh_processes, memory_mib, samples_of
from datagradient.experiments.sensitivity import gather_rows, variations
from datagradient.influence.refits import proximal_refit
from datagradient.influence.scores import score
from datagradient.metrics import measure
from datagradient.models import boosted, declared, logistic, neural
from datagradient.pipeline.layout import modules
from datagradient.pipeline.prepare import prepare_seeds

SETTINGS = {"l2": 0.01, "tolerance": 1e-9, "max_iterations": 10_000}
TREES = {"rounds": 8, "depth": 3, "learning_rate": 0.3, "subsample": 1.0, "columns": 1.0, "max_features": 100,
         "l2": 1.0, "max_bins": 32}  # fmt: skip
NETWORK = {"network": "small", "width": 6, "vocabulary": 100, "epochs": 5, "batch_size": 20, "learning_rate": 0.02,
           "weight_decay": 0.05, "averaging": 0, "precision": "float32"}  # fmt: skip


@pytest.fixture
def images(random):
    return random.integers(0, 255, size=(7, 8, 8, 3), dtype=np.uint8), np.arange(7)


def test_enlarged_images_are_distinct_and_keep_their_labels(images):
    inputs, labels = images
    more, more_labels = enlarged(inputs, labels, 40)
    assert len({image.tobytes() for image in more}) == 40
    np.testing.assert_array_equal(more[:7], inputs)
    np.testing.assert_array_equal(more[7:14], inputs[:, :, ::-1])  # mirror images come first
    np.testing.assert_array_equal(more_labels, np.arange(40) % 7)
    np.testing.assert_array_equal(np.sort(variant(inputs, 4), axis=1), np.sort(inputs, axis=1))


@pytest.mark.parametrize("size", [3, 7, 10, 100])
def test_a_stream_holds_the_same_samples_whatever_the_size_of_its_pieces(images, size):
    parts = list(batches(*images, 33, size))
    assert max(len(labels) for _, labels in parts) <= size
    for found, expected in zip(map(np.concatenate, zip(*parts, strict=True)), enlarged(*images, 33), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_more_samples_than_there_are_variants_are_refused(images, random):
    with pytest.raises(UserError, match="113 samples are wanted, and there are 112"):
        enlarged(*images, 113)
    with pytest.raises(UserError, match=r"11 samples are wanted, and there are 10$"):
        enlarged(random.normal(size=(10, 3)), np.arange(10), 11)


def test_refits_near_the_optimum_are_the_exact_refits_of_logistic_regression(random):
    features, labels = blobs(random, 160, 4, 3)
    train, held_out = np.arange(110), np.arange(110, 160)
    model, _ = logistic.fit(features[train], labels[train], 3, SETTINGS, 0)
    problem = logistic.problem(model, features[train], labels[train])
    validation = (features[held_out], labels[held_out])

    def loss(model):
        return measure(logistic.probabilities(model, validation[0]), validation[1])["loss"]

    for i in (0, 17, 63):
        rest = np.delete(train, i)
        actual = loss(logistic.fit(features[rest], labels[rest], 3, SETTINGS, 0)[0]) - loss(model)
        refit = proximal_refit(problem, validation, i, 0.0)
        assert refit.converged
        assert refit.change == pytest.approx(actual, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("kind", ["boosted, two classes", "boosted", "last layer", "all layers"])
def test_scores_foresee_proximal_refits(random, kind):
    n_classes, damping = 2 if "two" in kind else 3, 0.1
    features, labels = blobs(random, 560, 4, n_classes)
    train, held_out = np.arange(400), np.arange(400, 560)
    family, settings = (boosted, TREES) if kind.startswith("boosted") else (neural, NETWORK)
    form = {"parameters": kind.partition(" ")[0]} if family is neural else {}
    model, _ = family.fit(features[train], labels[train], n_classes, settings, 0)
    problem = family.problem(model, features[train], labels[train], **form)
    validation = (features[held_out].astype(np.float32), labels[held_out])
    found = score(problem, *validation, "cg", damping=damping, tolerance=1e-6).influence
    chosen = np.arange(0, 400, 16)
    refits = [proximal_refit(problem, validation, i, damping) for i in chosen]
    done = np.array([refit.converged for refit in refits])
    assert done.mean() > 0.9  # an outlier among so few samples can move a network too far
    actual, predicted = np.array([refit.change for refit in refits])[done], -found[chosen][done] / 400
    assert spearmanr(predicted, actual).statistic > 0.95
    assert np.polyfit(actual, predicted, 1)[0] == pytest.approx(1, abs=0.2)


def test_halves_are_halves_and_do_not_depend_on_their_number():
    few, many = random_halves(11, range(3)), random_halves(11, range(8))
    np.testing.assert_array_equal(few, many[:3])
    assert (many.sum(axis=1) == 5).all()


def test_the_datamodeling_score_of_additive_losses_is_one(random):
    influence, kept = random.normal(size=50), random_halves(50, range(30))
    losses = -(~kept @ influence) / 50 + 3
    assert datamodeling_score(influence, kept, losses) == pytest.approx(1)
    assert datamodeling_score(-influence, kept, losses) == pytest.approx(-1)


def test_agreement_by_hand():
    first, labels = np.arange(20.0)[::-1], np.arange(20) % 2
    second = first[[0, 2, 1, *range(3, 20)]]
    # Two of twenty samples may go: by the first {0, 1}, by the second {0, 2}; one pair of 190 changes its order.
    found = agreement(first, second, labels, 0.1)
    assert found == {"kendall": pytest.approx(188 / 190), "jaccard": pytest.approx(1 / 3)}
    assert agreement(first, first, labels, 0.1) == {"kendall": pytest.approx(1), "jaccard": 1.0}


def test_a_correlation_without_variation_is_not_a_number(random):
    assert np.isnan(correlation_interval(np.ones(9), random.normal(size=9))).all()
    value, low, high = correlation_interval(np.arange(9.0), np.arange(9.0) ** 3)
    assert (value, low, high) == (pytest.approx(1), pytest.approx(1), pytest.approx(1))


@pytest.mark.parametrize("name", modules("models"))
def test_every_kind_of_variation_has_the_default_or_a_reference(name):
    has_choice = "curvature" in declared(name).solver
    solver = {"name": "cg", "damping": 0.03, "tolerance": 0.01, "max_iterations": 50, "samples": 700}
    if has_choice:
        solver |= {"parameters": "all", "curvature": "ggn", "preconditioner": "own"}
    every = variations(solver, declared(name), 100, 900, 300)
    defaults = {one.what for one in every if one.solver == solver and one.validation is None}
    assert defaults == {"damping", "curvature samples", "validation samples", "solver"}
    assert {one.what for one in every if one.alike} == {"LiSSA steps", "LiSSA batch", *["curvature"] * has_choice}
    first = next(one for one in every if one.what == "LiSSA steps")
    assert first.solver["name"] == "cg" and first.solver["samples"] is None
    values = {
        what: [one.value for one in every if one.what == what] for what in ("curvature samples", "validation samples")
    }
    assert values == {"curvature samples": ["250", "all", "700"], "validation samples": ["50", "200", "all"]}


@pytest.mark.parametrize(("family", "settings"), [(logistic, SETTINGS), (boosted, TREES), (neural, NETWORK)])
def test_a_sample_of_weight_zero_has_no_part_in_the_fit(random, family, settings):
    features, labels = blobs(random, 90, 4, 3)
    features = features.astype(np.float32)
    weights = np.ones(90)
    weights[5] = 0
    wrong = labels.copy()
    wrong[5] = (wrong[5] + 1) % 3
    models = [family.fit(features, some, 3, settings, 0, weights)[0] for some in (labels, wrong)]
    one, other = (family.probabilities(model, features) for model in models)
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    every = family.fit(features, labels, 3, settings, 0, np.ones(90))[0]
    plain = family.fit(features, labels, 3, settings, 0)[0]
    np.testing.assert_allclose(family.probabilities(every, features), family.probabilities(plain, features), atol=1e-5)


@pytest.mark.parametrize(("family", "settings"), [(logistic, SETTINGS), (neural, NETWORK)])
def test_the_mean_loss_is_over_the_sum_of_weights(random, family, settings):
    features, labels = blobs(random, 90, 4, 3)
    features = features.astype(np.float32)
    fits = [family.fit(features, labels, 3, settings, 0, weights) for weights in (None, np.full(90, 3.0))]
    one, other = (family.probabilities(model, features) for model, _ in fits)
    np.testing.assert_allclose(one, other, atol=1e-4)
    losses = [record.get("losses", []) for _, record in fits]
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_single_removals_that_show_random_variation_alone_have_a_noise_share_near_one(random):
    n, count, initialisations = 400, 200, 4
    one = {
        "positions": np.arange(count), "predicted": random.normal(size=count), "proximal": random.normal(size=count),
        "converged": np.arange(count) > 2, "scores": random.normal(size=(initialisations, n)),
        # Each initialisation's changes share the random variation of the model that they start from.
        "retrained": random.normal(size=(initialisations, count)) + 9 * random.normal(size=(initialisations, 1)),
    }  # fmt: skip
    proximal, retrained = single_rows(single_table(one))
    assert (proximal["n"], proximal["unconverged"]) == (count - 3, 3)
    assert retrained["noise_share"] == pytest.approx(1, abs=0.2)
    assert abs(retrained["correlation"]) < 0.25
    truth = random.normal(size=count)
    one["retrained"], one["scores"][:, :count] = truth + 0.01 * one["retrained"], -truth
    assert single_rows(single_table(one))[1]["correlation"] > 0.99
    assert single_rows(single_table(one))[1]["noise_share"] < 0.01


def test_every_scale_of_a_data_set_that_is_sorted_by_class_has_all_classes(tmp_path):
    data = tmp_path / "features.npz"
    prepare_seeds("affairs", SplitPlan(), {0: data})
    for n in (100, 500):
        samples, (_, validation) = samples_of("features", data, n)
        assert len(samples.labels) == n and len(validation) == 100
        assert set(samples.labels) == set(validation) == {0, 1}


def test_the_memory_of_a_fresh_process_is_its_own():
    ballast = np.ones(50 * 2**20, dtype=np.uint8)
    mine, (theirs,) = memory_mib("VmRSS"), in_fresh_processes(memory_mib, [("VmRSS",)])
    assert theirs < mine - 40
    assert ballast.all()


@pytest.mark.parametrize("gather", [gather_sizes, lambda rows, out: gather_rows(rows, ("a",), out)])
def test_rows_of_another_kind_are_refused_by_name(gather, tmp_path):
    (tmp_path / "other.json").write_text('{"a": 1}')
    with pytest.raises(UserError, match=r"other.json: holds no 'row"):
        gather([tmp_path / "other.json"], tmp_path / "table.csv")
    assert not (tmp_path / "table.csv").exists()
