import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from conftest import write_preset
from datagradient import models
from datagradient.commands.main import main
from datagradient.data.splits import SplitPlan
from datagradient.errors import UserError
from datagradient.files import read_arrays, read_json, read_rows, write_arrays
from datagradient.metrics import losses
from datagradient.models import boosted
from datagradient.pipeline.jobs import models as jobs
from datagradient.pipeline.jobs import refinement
from datagradient.pipeline.jobs.removals import choose_iteration, remove
from datagradient.pipeline.layout import GUARDED, RESERVED, Cell, trained_policies
from datagradient.refine.loop import refine
from datagradient.refine.policies import ALWAYS, INFLUENCE, POLICIES, QUALITY, SCORES, scores_besides
from datagradient.refine.removal import as_many, by_influence, guard, most_harmful
from datagradient.refine.scoring import Work, score_further
from datagradient.report.style import POLICY_STYLE

# Those that remove as many samples as influence in every round; what decides once is tested in test_repair.py.
OTHERS = [name for name, policy in POLICIES.items() if policy.trains and not policy.once and name != "influence"]


def test_the_most_harmful_go_and_helpful_ones_never():
    influence = np.r_[[-1.0, 5.0, 0.0, 2.0, 3.0, -4.0, 1.0, 0.5, 0.4, 0.3, 0.2, -2.0], -np.ones(8)]
    labels = np.r_[[0, 1, 0, 1, 0, 1, 1, 1, 1, 1, 1, 0], np.zeros(6, int), np.ones(2, int)]
    assert by_influence(influence, labels, 0.1).positions.tolist() == [1, 4]
    assert by_influence(influence, labels, 0.9).positions.tolist() == [1, 4, 3, 6, 7, 8]  # 9 is class 1's sixth: capped
    assert not by_influence(-np.ones(20), labels, 0.5).positions.size


def test_no_class_loses_more_than_half():
    labels = np.array([0] * 11 + [1] * 19)
    influence = np.where(labels == 0, 10.0, 1.0) + np.arange(30) * 1e-3
    removal = by_influence(influence, labels, 0.4)
    assert np.bincount(labels[removal.positions], minlength=2).tolist() == [5, 7]
    assert removal.capped == (0,)
    assert by_influence(influence, labels, 5 / 30).capped == ()


def test_a_class_of_fewer_than_ten_loses_none_whatever_the_policy(random):
    labels = np.array([0] * 9 + [1] * 10 + [2] * 40)
    harm = np.where(labels == 0, 10.0, np.where(labels == 1, 5.0, 1.0)) + random.random(59)
    removal = by_influence(harm, labels, 0.25)
    counts = np.bincount(labels[removal.positions], minlength=3)
    assert (counts.tolist(), removal.capped) == ([0, 5, 9], (0, 1))
    for policy in OTHERS:
        removal = removed_by(policy, counts, labels, harm, seed=0, iteration=1)
        gone = np.bincount(labels[removal.positions], minlength=3)
        assert gone[0] == 0 and gone.sum() == 14, policy


def removed_by(name, counts, labels, harm, seed, iteration):
    """What a policy removes where `harm` is planted as the score that it goes by."""
    arrays = {"labels": labels, QUALITY: -harm, **dict.fromkeys((INFLUENCE, *SCORES), harm)}
    return as_many(name, counts, arrays, seed, iteration)


@given(
    n=st.integers(1, 60), n_classes=st.integers(1, 4), count=st.integers(0, 60), above=st.sampled_from([-np.inf, 0.0]),
    seed=st.integers(0, 999),
)  # fmt: skip
def test_the_worst_go_first_within_what_each_class_may_lose(n, n_classes, count, above, seed):
    random = np.random.default_rng(seed)
    harm, labels = random.integers(-3, 4, size=n).astype(float), random.integers(n_classes, size=n)
    removal = most_harmful(harm, labels, count, above)
    gone = removal.positions
    sizes, lost = np.bincount(labels, minlength=n_classes), np.bincount(labels[gone], minlength=n_classes)
    may_lose = np.where(sizes < 10, 0, sizes // 2)
    candidates = np.bincount(labels[harm > above], minlength=n_classes)
    assert len(set(gone.tolist())) == len(gone) == min(count, np.minimum(may_lose, candidates).sum())
    assert (lost <= may_lose).all()
    assert (harm[gone] > above).all() and (np.diff(harm[gone]) <= 0).all()
    kept = np.setdiff1d(np.arange(n), gone)
    for label in np.flatnonzero(lost):  # nothing worse of the same class is kept
        assert harm[gone[labels[gone] == label]].min() >= harm[kept[labels[kept] == label]].max(initial=-np.inf)
    open_classes = lost < may_lose  # nor, while its class may still lose some, anything worse of another class
    waiting = kept[open_classes[labels[kept]] & (harm[kept] > above)]
    assert not len(waiting) or harm[waiting].max() <= harm[gone].min(initial=np.inf)


@pytest.mark.parametrize("policy", OTHERS)
def test_a_policy_removes_as_many_the_worst_by_its_score_or_by_chance_of_the_seed(policy, random):
    labels, harm = random.integers(3, size=60), random.normal(size=60)
    counts = np.array([4, 0, 7])
    positions = removed_by(policy, counts, labels, harm, seed=0, iteration=1).positions
    assert len(set(positions.tolist())) == len(positions) == 11
    np.testing.assert_array_equal(positions, removed_by(policy, counts, labels, harm, seed=0, iteration=1).positions)
    others = [removed_by(policy, counts, labels, harm, **keys).positions
              for keys in ({"seed": 1, "iteration": 1}, {"seed": 0, "iteration": 2})]  # fmt: skip
    if POLICIES[policy].score:
        assert set(positions) == set(np.argsort(-harm)[:11])
        assert all((other == positions).all() for other in others)
    else:
        assert all(set(other) != set(positions) for other in others)
    if POLICIES[policy].keeps_mix:
        assert np.bincount(labels[positions], minlength=3).tolist() == counts.tolist()


def test_policies_are_declared_so_that_they_can_be_used():
    assert next(iter(POLICIES)) == "influence"
    for name, policy in POLICIES.items():
        assert name.isidentifier() and name not in (*RESERVED, "baseline")
        assert policy.score in (None, INFLUENCE, QUALITY, *SCORES)
        assert policy.description.endswith(".")
        assert policy.score is None or not policy.keeps_mix  # only chance can keep the mix of classes
    assert trained_policies({"policies": list(POLICIES)}) == [name for name in POLICIES if name != GUARDED]
    assert len({tuple(style.values()) for style in POLICY_STYLE.values()}) == len(POLICIES)


def test_the_unrefined_model_has_all_scores_that_a_preset_goes_by_and_the_others_their_own():
    assert scores_besides(["influence", "guarded"], "baseline", 0) == list(ALWAYS)
    assert scores_besides(list(POLICIES), "baseline", 0) == list(SCORES)
    for name in OTHERS:
        own = POLICIES[name].score
        assert scores_besides(list(POLICIES), name, 1) == ([own] if own in SCORES else [])


def cell(folder, policy, iteration=1):
    return Cell(folder, "made", "logistic", "0.2", 0, policy, iteration)


@pytest.fixture
def scores(tmp_path):
    arrays = {
        "positions": np.arange(20) * 2,
        "labels": np.arange(20) % 2,
        "flipped": np.arange(20) == 1,
        "influence": np.r_[-1.0, 2.0, 1.0, -3.0, -np.ones(16)],
    }
    write_arrays(cell(tmp_path, "influence", 0).file("scores.npz"), {"seed": 0}, **arrays)


@pytest.mark.usefixtures("scores")
def test_removals_are_written_and_the_other_policies_copy_their_number(tmp_path):
    first = cell(tmp_path, "influence")
    remove({"removal_fraction": 0.05}, first)
    kept, meta = read_arrays(first.kept)
    assert kept["positions"].tolist() == [0, *range(4, 40, 2)]
    assert meta["removed"] == {"count": 1, "flipped": 1}
    expected = [{"position": "2", "label": "1", "flipped": "1", "influence": "2.0"}]
    assert read_rows(first.file("removed.csv")) == expected
    remove({"removal_fraction": 0.05}, cell(tmp_path, "random"))
    (removed,) = read_rows(cell(tmp_path, "random").file("removed.csv"))
    assert removed["label"] == "1"


def test_what_the_cap_holds_back_is_taken_from_other_classes():
    labels = np.array([0] * 10 + [1] * 16)
    harm = np.where(labels == 0, 10.0, 1.0) + np.arange(26) * 1e-3
    assert np.bincount(labels[most_harmful(harm, labels, 8).positions]).tolist() == [5, 3]


@pytest.mark.usefixtures("scores")
@pytest.mark.parametrize(("policy", "says"), [
    ("confident", "features.npz: not found; it is made by the job 'prepare'"),
    ("repair", "features.npz: not found; it is made by the job 'prepare'"),
    ("gradient", "scores.npz: holds no gradient; score the model again"),
])  # fmt: skip
def test_what_a_control_goes_by_must_be_there(tmp_path, policy, says):
    remove({"removal_fraction": 0.05}, cell(tmp_path, "influence"))
    with pytest.raises(UserError, match=says):
        remove({"removal_fraction": 0.05}, cell(tmp_path, policy))
    assert not cell(tmp_path, policy).kept.exists()


def test_the_guard_keeps_the_best_of_all_rounds_if_it_surely_helps(random):
    m = 200
    first, surely = random.exponential(size=m), random.normal(size=m) * 1e-3
    better = first - 0.1
    assert guard([first, better, better - 0.1 + surely]) == 2
    assert guard([first, better, better + 0.1]) == 1
    assert guard([first, first + 0.1, better]) == 2  # a round that hurts may come before one that helps
    assert guard([first, first + 0.1, first + 0.2]) == 0
    chance = first + random.permutation(np.arange(m) - m / 2 + 0.4) * 1e-2  # a gain of less than one standard error
    assert (first - chance).mean() > 0
    assert guard([first, chance]) == 0


@pytest.mark.parametrize(("gain", "kept"), [(0.09, 0), (0.11, 1)])
def test_the_guards_margin_is_one_standard_error(gain, kept):
    noise = np.where(np.arange(100) % 2, 1.0, -1.0)  # standard error 0.1005
    assert guard([noise, np.full(100, -gain)]) == kept


def test_the_guard_judges_by_the_selection_part_after_recalibration_on_the_other(tmp_path, random):
    right = softmax(2 * random.normal(size=(4000, 2)), axis=1)
    labels = (random.random(4000) < right[:, 1]).astype(int)
    bolder = softmax(3 * np.log(right), axis=1)  # the same ranking, but too sure: recalibration undoes that
    blurred = softmax(np.log(right) + random.normal(size=right.shape), axis=1)
    first = cell(tmp_path, "baseline", 0)
    for k, p in enumerate((blurred, bolder)):
        arrays = {"probabilities_influence": p[:2000], "labels_influence": labels[:2000],
                  "probabilities_selection": p[2000:], "labels_selection": labels[2000:]}  # fmt: skip
        write_arrays(cell(tmp_path, "influence", k).file("predictions.npz"), {"seed": 0}, **arrays)
    choose_iteration({"iterations": 1}, first)
    decision = read_json(first.guard)
    assert decision["iteration"] == 1
    assert decision["selection_loss"][1] > decision["selection_loss"][0]
    assert decision["recalibrated_loss"][1] == pytest.approx(losses(right[2000:], labels[2000:]).mean(), abs=0.01)


def test_a_refinement_that_is_stopped_leaves_no_record_of_an_earlier_one(tmp_path, monkeypatch):
    config = {"datasets": {"made": {}}, "models": ["logistic"], "noise": [0.2], "policies": ["influence"], "seeds": [0],
              "iterations": 1}  # fmt: skip
    first = cell(tmp_path, "baseline", 0)
    old = [first.refined, first.file("metrics.json"), cell(tmp_path, "influence").file("metrics.json")]
    for path in old:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(refinement, "model_settings", stopped)
    with pytest.raises(KeyboardInterrupt):
        refinement.refine(config, first)
    assert not any(path.exists() for path in old)


@pytest.fixture(scope="module")
def digits():
    from datagradient.data import sets

    return sets.load("digits")


POLICIES_TRIED = ["influence", "uniform", "loss", "confident", "crossfit", "repair", "guarded"]
TRIED = {"logistic": {"l2": 0.01}, "boosted": {"rounds": 10, "depth": 3}}  # family: settings
PLAN = SplitPlan(max_development=400, max_test=100)


@pytest.fixture(scope="module", params=TRIED)
def by_jobs(request, tmp_path_factory):
    """What the jobs of one condition and seed wrote, for each family in a preset of its own: configuration and cell."""
    model, folder = request.param, tmp_path_factory.mktemp("jobs")
    config_file = write_preset(
        folder,
        f"""
        preset: memory
        datasets: {{digits: {{max_development: 400, max_test: 100}}}}
        models: [{model}]
        model_settings: {{{model}: {{settings: {TRIED[model]}}}}}
        policies: {POLICIES_TRIED}
        noise: [0.0, 0.2]
        seeds: [3, 4]
        iterations: 2
        """,
    )
    keys = ["--config", str(config_file), "--dataset", "digits"]
    assert main(["prepare", *keys]) == 0 and main(["noise", *keys, "--noise", "0.2"]) == 0
    assert main(["cross-fit", *keys, "--model", model, "--noise", "0.2", "--seed", "3"]) == 0
    config, first = read_json(config_file), Cell(folder, "digits", model, "0.2", 3)
    refinement.refine(config, first)
    return config, first


def test_refining_in_memory_gives_what_the_jobs_write(by_jobs, digits):
    _, first = by_jobs
    before = digits.samples.copy(), digits.labels.copy()
    found = refine(digits, first.model, policies=POLICIES_TRIED, noise=0.2, seed=3, iterations=2, plan=PLAN,
                   settings=TRIED[first.model])  # fmt: skip
    assert all(map(np.array_equal, before, (digits.samples, digits.labels)))
    assert len(found.steps) == 1 + 2 * 4 + 2 and found.steps[0].policy == "baseline"
    for step in found.steps:
        files = first.at(policy=step.policy, iteration=step.iteration)
        arrays, _ = read_arrays(files.file("scores.npz"))
        for name, values in arrays.items():
            np.testing.assert_array_equal(step.scored.arrays[name], values)
        metrics = step.trained.metrics({part: (None, labels) for part, labels in held_labels(files).items()})
        assert metrics == read_json(files.file("metrics.json"))["metrics"]
        direction, _ = read_arrays(files.file("direction.npz"), "solution")
        np.testing.assert_array_equal(step.scored.direction.solution, direction["solution"])
        if step.removal:
            kept, _ = read_arrays(files.kept)
            np.testing.assert_array_equal(step.trained.samples.positions, kept["positions"])
            places = step.before["positions"][step.removal.relabelled]
            assert places.tolist() == kept.get("relabelled_positions", np.empty(0)).tolist()
    assert found.kept == read_json(first.guard)["iteration"]


def test_single_steps_write_the_same_bytes_as_the_job_that_does_them_all(by_jobs):
    config, first = by_jobs
    for policy in ("influence", "confident", "crossfit", "repair"):
        step = first.at(policy=policy, iteration=1)
        names = [name for name in ("kept.npz", "removed.csv", "relabelled.csv", "predictions.npz", "metrics.json")
                 if step.file(name).exists()]  # fmt: skip
        before = {name: step.file(name).read_bytes() for name in names}
        assert ("relabelled.csv" in names) == (policy == "repair")
        for name in names:
            step.file(name).unlink()
        remove(config, step)
        jobs.train(config, step)
        jobs.evaluate(step)
        assert {name: step.file(name).read_bytes() for name in names} == before, policy


@pytest.mark.parametrize("name", ["crossfit.npz", "crossfit.json"])
def test_without_cross_fitted_models_nothing_is_decided(by_jobs, name):
    config, first = by_jobs
    step, needed = first.at(policy="crossfit", iteration=1), first.file(name)
    before, aside = step.kept.read_bytes(), needed.with_suffix(".aside")
    needed.rename(aside)
    try:
        for job in (lambda: remove(config, step), lambda: remove(config, step.at(policy="confident"))):
            with pytest.raises(UserError, match=f"{name}: not found; it is made by the job 'cross_fit'"):
                job()
    finally:
        aside.rename(needed)
    assert step.kept.read_bytes() == before


def test_relabelled_samples_are_trained_on_with_their_new_labels(by_jobs):
    config, first = by_jobs
    step = first.at(policy="repair", iteration=1)
    kept, facts = read_arrays(step.kept)
    places, new = kept["relabelled_positions"], kept["relabelled_labels"]
    data, owned = read_arrays(step.data)[0], read_arrays(step.labels)[0]
    gone = np.array([int(row["position"]) for row in read_rows(step.file("removed.csv"))])
    assert facts["relabelled"] == len(places) > 0 and facts["removed"]["count"] == len(gone)
    assert sorted([*kept["positions"], *gone]) == list(range(len(owned["labels"])))
    assert not set(places) & set(gone)
    rows = [{"position": str(i), "label": str(owned["labels"][i]), "new_label": str(label)}
            for i, label in zip(places, new, strict=True)]  # fmt: skip
    assert read_rows(step.file("relabelled.csv")) == rows
    assert (new != owned["labels"][places]).all() and (new == data["labels_train"][places]).mean() > 0.6
    labels = owned["labels"].copy()
    labels[places] = new
    family, settings = models.family(first.model), config["model_settings"][first.model]["settings"]
    features = {part: data[f"features_{part}"] for part in ("train", "test")}
    model, _ = family.fit(features["train"][kept["positions"]], labels[kept["positions"]], 10, settings, 3)
    by_hand = family.probabilities(model, features["test"])
    predictions, _ = read_arrays(step.file("predictions.npz"))
    np.testing.assert_array_equal(predictions["probabilities_test"], by_hand)
    scores, _ = read_arrays(step.file("scores.npz"))
    np.testing.assert_array_equal(scores["labels"], labels[kept["positions"]])
    np.testing.assert_array_equal(scores["flipped"], (labels != data["labels_train"])[kept["positions"]])


def test_right_labels_are_trained_on_where_they_are_known_and_otherwise_nothing(digits):
    ideal = ["influence", "true_labels", "oracle_removal"]
    options = {"policies": ideal, "seed": 3, "iterations": 1, "plan": PLAN}
    _, _, repaired, rest = refine(digits, "logistic", noise=0.2, **options).steps
    first, _ = clean = refine(digits, "logistic", noise=0.0, **options).steps
    assert [step.policy for step in clean] == ["baseline", "influence"]
    np.testing.assert_array_equal(repaired.trained.probabilities["test"], first.trained.probabilities["test"])
    assert not repaired.trained.samples.flipped.any() and not rest.trained.samples.flipped.any()
    n = len(first.trained.samples.labels)
    assert len(rest.trained.samples.labels) == n - round(0.2 * n)
    untrusted = refine(digits, "logistic", noise=0.2, validation="untrusted", **options).steps
    assert [step.policy for step in untrusted] == ["baseline", "influence"]


def held_labels(files):
    arrays, _ = read_arrays(files.file("predictions.npz"))
    return {part: arrays[f"labels_{part}"] for part in ("test", "influence", "selection")}


def test_samples_that_a_model_was_not_trained_on_are_scored_along_the_same_direction(digits):
    plan = SplitPlan(max_development=300, max_test=100)
    step = refine(digits, "boosted", policies=["influence"], iterations=0, plan=plan,
                  settings={"rounds": 5}, solver={"samples": None}).steps[0]  # fmt: skip
    work = Work(boosted, step.trained.model, {}, step.trained.samples, (None, None), {"name": "cg"})
    samples = step.trained.samples
    again = score_further(work, step.scored.direction.solution, samples.inputs[:50], samples.labels[:50])
    np.testing.assert_allclose(again, step.scored.arrays["influence"][:50], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("policies", "message"), [(["loss"], "add it"), (["influence", "lucky"], "no policy 'lucky'")])
def test_policies_that_there_are_not_are_refused(digits, policies, message):
    with pytest.raises(UserError, match=message):
        refine(digits, "logistic", policies=policies)


@pytest.mark.parametrize(("model", "solver", "policies", "message"), [
    ("logistic", {"dampng": 1}, ["influence"], "cg has no option 'dampng'; legal: name, damping"),
    ("logistic", {"name": "lu"}, ["influence"], "no 'lu'; legal: cg, record"),
    ("logistic", {"name": "record"}, ["influence"], "name, for logistic: record is for networks"),
    ("neural", {"name": "record", "parameters": "all"}, ["influence"], "parameters, for neural: all, and record keeps"),
    ("neural", {"parameters": "projected"}, ["influence", "repair"], "policies that go by cross-fitting need last"),
])  # fmt: skip
def test_a_solver_that_does_not_fit_is_refused_before_anything_is_trained(digits, model, solver, policies, message):
    with pytest.raises(UserError, match=message):
        refine(digits, model, solver=solver, policies=policies, plan=PLAN)
