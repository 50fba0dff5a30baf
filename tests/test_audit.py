"""The engine of an audit on small made-up data: folds, decisions, the effect and its verdict."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from datagradient.auditing import answer, findings, work
from datagradient.auditing.choice import choose
from datagradient.auditing.judging import decide, evidence_of, inputs_of, measure, refine, refined_labels, trusts
from datagradient.auditing.task import FEWEST, WHOLE, Task, different, different_by_class, drawn_rows, outer_folds
from datagradient.data.record import Dataset
from datagradient.evidence.statistics import corrected_interval
from datagradient.models import declared

N = 400


def made_up(n: int = N, flipped: float = 0.15, seed: int = 0, noise: float = 0.6) -> tuple[Dataset, np.ndarray]:
    """Return a table with two numbers, a word and a label that they nearly give, and which labels were flipped."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 2))
    labels = (x.sum(axis=1) + noise * random.normal(size=n) > 0).astype(np.int64)
    wrong = np.zeros(n, dtype=bool)
    wrong[random.permutation(n)[: round(flipped * n)]] = True
    table = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "word": random.choice(["x", "y"], n)})
    return Dataset("made_up", "Made up", "table", table, np.where(wrong, 1 - labels, labels), ("no", "yes")), wrong


def task_of(dataset: Dataset, **changes) -> Task:
    nobody = np.zeros(len(dataset.labels), dtype=bool)
    settings = {"logistic": {**declared("logistic").defaults, "l2": 1e-2}}
    return replace(Task(dataset, nobody, nobody, ("logistic",), settings, 5, 1, None, 0), **changes)


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    dataset, wrong = made_up()
    task, folder = task_of(dataset), tmp_path_factory.mktemp("audit")
    for name in task.parts:
        work.do_part(task, name, folder)
    return task, wrong, {name: work.read_part(folder, name) for name in task.parts}


def test_every_row_is_held_out_once_and_copies_together():
    dataset, _ = made_up(60)
    table = pd.concat([dataset.samples, dataset.samples.iloc[:20]], ignore_index=True)
    twice = replace(dataset, samples=table, labels=np.concatenate([dataset.labels, 1 - dataset.labels[:20]]))
    rows = np.arange(3, 80)
    folds = outer_folds(twice, rows, 4, 0)
    assert sorted(np.concatenate(folds).tolist()) == rows.tolist()
    groups = different(twice)
    for fold in folds:
        assert not np.isin(groups[fold], groups[np.setdiff1d(rows, fold)]).any()


def test_folds_depend_on_the_seed():
    dataset, _ = made_up(60)
    first, second = (outer_folds(dataset, np.arange(60), 3, seed)[0].tolist() for seed in (0, 1))
    assert first != second


def test_checked_rows_are_divided_by_themselves():
    """Every fold leaves enough rows of a class to be judged, however many of its rows were checked."""
    dataset, _ = made_up(300)
    names = (*dataset.class_names, "mostly checked")
    labels, checked = dataset.labels.copy(), np.zeros(300, dtype=bool)
    labels[:40], checked[:30] = 2, True
    task = task_of(replace(dataset, labels=labels, class_names=names), folds=2, checked=checked)
    assert all(np.bincount(labels[part.judged])[2] >= 5 for part in task.parts.values())


@pytest.mark.parametrize("count", [10, 99, 100])
def test_rows_are_drawn_in_proportion_and_small_classes_keep_their_rows(count):
    labels = np.repeat([0, 1, 2], [70, 27, 4])
    rows = drawn_rows(labels, count, 0)
    sizes = np.bincount(labels[rows])
    assert len(set(rows)) == len(rows) and (np.diff(rows) > 0).all()
    assert sizes[2] == 4 and sizes[1] >= 10 and sizes[0] >= min(10, round(count * 70 / 101))
    assert count != 100 or abs(len(rows) - 100) <= 1


def test_a_class_is_small_by_its_different_rows():
    dataset, _ = made_up(40)
    table = pd.concat([dataset.samples, pd.concat([dataset.samples.iloc[:1]] * 30)], ignore_index=True)
    names = (*dataset.class_names, "copies")
    more = replace(dataset, samples=table, labels=np.concatenate([dataset.labels, np.full(30, 2)]), class_names=names)
    assert np.flatnonzero(different_by_class(more, np.arange(70)) < FEWEST).tolist() == [2]


def test_held_out_rows_take_no_part(audited):
    task, _, parts = audited
    for name, part in task.parts.items():
        assert not np.isin(parts[name]["judged"], part.held).any()
        if name != WHOLE:
            assert len(part.held) + len(part.judged) == N
            assert parts[name]["held_refined"].shape == (len(part.held), 2)


def test_wrong_labels_are_found(audited):
    task, wrong, parts = audited
    said = answer.rows(task, parts, answer.HELPS)
    worst = said.positions[said.order[:30]]
    assert wrong[worst].mean() > 0.75
    assert set(said.decision) <= set(answer.DECISIONS)
    assert (said.judged_in == 4).all()
    acted = (said.decision == answer.DROP) | (said.decision == answer.RELABEL)
    proposed = np.concatenate([parts[WHOLE]["removed"], parts[WHOLE]["relabelled"]])
    assert acted.sum() == len(proposed) - said.drawn[proposed].sum()  # what is drawn is checked, whatever it is
    assert (said.decision[said.drawn] == answer.LOOK).all()
    assert said.stands_out[acted].mean() > 3 * said.stands_out[~acted].mean()


def test_without_a_gain_nothing_is_dropped(audited):
    task, _, parts = audited
    said = answer.rows(task, parts, answer.NOTHING)
    assert set(said.decision) == {answer.LOOK, answer.KEEP}
    assert answer.SUSPICIOUS <= (said.decision == answer.LOOK).sum() <= answer.SUSPICIOUS + answer.DRAWN
    assert said.drawn.sum() == answer.DRAWN


def test_fraction_limits_what_is_done():
    dataset, _ = made_up()
    task = task_of(dataset, fraction=0.02)
    part = task.parts["fold-1"]
    inputs = inputs_of(task, part, task.models)
    crossfits, removal = refine(task, part, inputs)
    most = int(0.02 * len(part.judged))
    assert len(removal.positions) + len(removal.relabelled) == most
    evidence = evidence_of(task, part, "logistic", dataset.labels[part.judged], crossfits)
    free = decide(replace(task, fraction=None), evidence)
    acted = np.concatenate([free.positions, free.relabelled])
    kept = np.concatenate([removal.positions, removal.relabelled])
    assert set(kept) == set(acted[np.argsort(-evidence.own.harm[acted], kind="stable")][:most])


def test_more_rounds_judge_what_is_left():
    dataset, _ = made_up()
    part, changed = task_of(dataset).parts["fold-1"], []
    for rounds in (1, 2):
        task = task_of(dataset, rounds=rounds)
        _, removal = refine(task, part, inputs_of(task, part, task.models))
        changed.append(set(np.concatenate([removal.positions, removal.relabelled]).tolist()))
    assert changed[0] < changed[1]


def test_checked_rows_are_never_removed_and_trusted_ones_judge():
    dataset, wrong = made_up()
    checked = ~wrong & (np.arange(N) < 150)
    task = task_of(dataset, checked=checked, trusted=checked)
    part = task.parts[WHOLE]
    assert trusts(task)
    assert not np.isin(part.judged, np.flatnonzero(checked)).any()
    crossfits, _ = refine(task, part, inputs_of(task, part, task.models))
    assert len(crossfits[0].validation) == 5 * checked.sum()
    doubtful = task_of(dataset, checked=checked)  # checked because they were doubtful: they judge nobody
    assert not trusts(doubtful)


def test_where_nothing_changes_the_arms_are_one_model():
    dataset, _ = made_up()
    task = task_of(dataset)
    part = task.parts["fold-1"]
    nothing = refine(replace(task, fraction=1e-9), part, inputs_of(task, part, task.models))[1]
    found = measure(task, part, inputs_of(task, part, task.models)["logistic"], nothing)
    assert (found["held_baseline"] == found["held_refined"]).all()
    assert found["test_baseline"].shape == (0, 2)


def test_refined_labels():
    from datagradient.refine.removal import Removal

    removal = Removal(np.array([0]), (), np.array([2]), np.array([1]))
    assert refined_labels(removal, np.array([0, 0, 0, 1])).tolist() == [-1, 0, 1, 1]


def test_interval_of_nadeau_and_bengio_on_worked_numbers():
    differences = np.array([0.01, 0.02, 0.03])
    low, high = corrected_interval(differences, 0.2)
    half = stats.t.ppf(0.975, 2) * 0.01 * np.sqrt(1 / 3 + 0.25)
    assert (low, high) == pytest.approx((0.02 - half, 0.02 + half))


def made_up_effect(task: Task, gain: int, by_chance: int = 0, acted: bool = True, loss: int = 0) -> answer.Effect:
    """Return the effect where the refined model is right about so many more held-out rows; in every other fold less."""
    parts, gain, loss = {}, gain - loss, gain + loss
    for name, part in task.parts.items():
        gain, loss = loss, gain
        given = task.dataset.labels[part.held]
        right = np.eye(2)[given]
        arms = {}
        for arm, more in (("baseline", 0), ("refined", gain), ("random", by_chance)):
            arms[f"held_{arm}"] = right.copy()
            arms[f"held_{arm}"][: 10 - more] = 1 - right[: 10 - more]
        parts[name] = {**arms, "removed": np.arange(3 * acted), "relabelled": np.arange(0), "judged": part.judged,
                       "wrong": 0.1}  # fmt: skip
    return answer.effect(task, parts)


@pytest.mark.parametrize(
    ("gain", "by_chance", "acted", "verdict"),
    [
        (8, 0, True, answer.HELPS),
        (8, 9, True, answer.NOTHING),  # as many rows at random help more
        (-20, 0, True, answer.HURTS),
        (0, 0, True, answer.NOTHING),
        (0, 0, False, answer.NOTHING),
    ],
)
def test_verdicts(gain, by_chance, acted, verdict):
    dataset, _ = made_up()
    found = made_up_effect(task_of(dataset), gain, by_chance, acted)
    assert found.verdict == verdict
    words = answer.sentence(found, 3 * acted, 0)
    assert words.startswith("Removing 3 rows would " if acted else "No row stands out enough")
    assert ("would raise accuracy by +" in words) == (gain > 0)
    assert ("at random would change it by +0.00 points." in words) == (verdict == answer.HELPS)
    assert ("at random would do no less: +" in words) == (by_chance > 0)
    assert "+0.00 to +0.00" not in words
    assert found.change["folds"] == 5
    if gain > 0:
        assert found.change["folds_better"] == 5


def test_few_rows_are_too_few_to_say():
    dataset, _ = made_up(60)
    found = made_up_effect(task_of(dataset), 0, loss=2)
    assert found.verdict == answer.TOO_FEW
    words = answer.sentence(found, 5, 55)
    assert words.startswith("There are too few rows to tell whether removing 5 rows and relabelling 55 helps: ")
    assert re.search(r"accuracy would change by \S+ points \(95 % interval −\S+ to \+\S+\); it rose in \d of", words)


def test_a_rare_class_counts_as_much_as_the_other():
    dataset, _ = made_up()
    labels = np.zeros(N, dtype=np.int64)
    labels[::10] = 1
    assert made_up_effect(task_of(replace(dataset, labels=labels)), 5).metric == "area under the ROC curve"


def test_a_test_file_measures(tmp_path):
    dataset, _ = made_up()
    is_test = np.arange(N) >= 300
    task = task_of(replace(dataset, is_test=is_test), folds=2)
    for name in task.parts:
        work.do_part(task, name, tmp_path)
    found = answer.effect(task, {name: work.read_part(tmp_path, name) for name in task.parts})
    assert found.measured_on == "rows of the test file"
    assert found.rows == 100
    assert not is_test[np.concatenate([part.held for part in task.parts.values()])].any()


def test_parts_that_are_done_are_not_done_again(tmp_path, monkeypatch):
    dataset, _ = made_up(120)
    task, said = task_of(dataset, folds=2), []
    monkeypatch.setattr(work, "cores", lambda: 1)
    work.do_all(task, tmp_path, said.append)
    before = {name: work.part_file(tmp_path, name).read_bytes() for name in task.parts}
    work.part_file(tmp_path, "fold-2").unlink()
    work.do_all(task, tmp_path, said.append)
    assert {name: work.part_file(tmp_path, name).read_bytes() for name in task.parts} == before
    assert said[-1].startswith("8 models trained in ")  # five folds and three arms of one part


def test_parts_of_another_audit_are_done_again(tmp_path):
    dataset, _ = made_up()
    task = task_of(dataset, folds=2)
    (tmp_path / "work").mkdir()
    (tmp_path / "begun.json").write_text("{}")
    work.do_all(task, tmp_path, lambda _: None)
    assert work.missing(task, tmp_path) == []
    (tmp_path / "begun.json").write_text('{"seed": 1}')  # a job of before may end after another audit was begun
    assert work.missing(task, tmp_path) == list(task.parts)


def test_the_choice_prefers_what_predicts():
    dataset, _ = made_up(noise=0.1, flipped=0)
    chosen = choose(dataset, np.arange(N), "auto", 0)
    assert chosen.models[0] == min(chosen.loss, key=chosen.loss.get)
    assert chosen.accuracy[chosen.models[0]] > 0.9
    assert chosen.estimate(2 * N, 5, 1) == pytest.approx(2 * chosen.estimate(N, 5, 1))


def test_duplicates_with_other_labels_are_found():
    dataset, _ = made_up(50, flipped=0)
    table = pd.concat([dataset.samples, dataset.samples.iloc[[3, 7]]], ignore_index=True)
    labels = np.concatenate([dataset.labels, [dataset.labels[3], 1 - dataset.labels[7]]])
    found = findings.duplicates(replace(dataset, samples=table, labels=labels), np.arange(52))
    assert found == {"rows": 2, "conflicting_rows": 2, "conflicting": [[7, 51]]}


@pytest.mark.parametrize("kind", ["number", "word"])
def test_a_column_that_gives_the_label_away_is_found(kind):
    dataset, _ = made_up()
    column = dataset.labels * 3.5 if kind == "number" else np.array(["low", "high"])[dataset.labels]
    leaking = replace(dataset, samples=dataset.samples.assign(code=column))
    assert findings.leaks(dataset, np.arange(N), 0) == []
    assert findings.leaks(leaking, np.arange(N), 0) == [{"column": "code", "accuracy": 1.0}]
