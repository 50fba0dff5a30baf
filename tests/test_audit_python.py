"""The Python door of the audit: what a user calls and sees, and a classifier of their own."""

import doctest
import inspect
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.validation import check_is_fitted

from conftest import code_blocks, run_script
from datagradient import audit
from datagradient.auditing import work
from datagradient.auditing.own import OwnClassifier, given_samples, own_classifier
from datagradient.auditing.request import OWN
from datagradient.data.given import Given, joined
from datagradient.data.readers import ReadOptions, read
from datagradient.data.training_set import TrainingSet, stacked
from datagradient.errors import UserError
from datagradient.models import declared
from datagradient.refine.crossfit import CrossFit, cross_fit
from datagradient.refine.repair import judge

N = 160


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Audits run in this process: starting others takes longer than these."""
    monkeypatch.setattr(work, "cores", lambda: 1)


def table(seed=0):
    """A table with a number, a category with missing cells and a constant, ids, labels of which a tenth is wrong."""
    random = np.random.default_rng(seed)
    x = random.normal(size=N)
    label = np.where(x + 0.3 * random.normal(size=N) > 0, "yes", "no")
    wrong = random.permutation(N)[: N // 10]
    label[wrong] = np.where(label[wrong] == "yes", "no", "yes")
    size = random.integers(0, 9, N).astype(np.int32)
    kind = pd.Categorical(np.where(random.random(N) < 0.1, None, np.where(x > 0, "b", "a")), categories=["b", "a", "c"])
    return pd.DataFrame({"name": [f"r{k}" for k in range(N)], "size": size, "x": x, "same": 1, "kind": kind,
                         "label": label}), np.sort(wrong)  # fmt: skip


def regression(**options):
    """A classifier whose influence can be computed, for that table."""
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()), ["kind"]),
        remainder="passthrough",
    )
    return make_pipeline(columns, LogisticRegression(**{"C": 10, "tol": 1e-6, "max_iter": 500, **options}))


def audited(model="logistic", frame=None, **options):
    frame = table()[0] if frame is None else frame
    return audit(frame, "label", id="name", model=model, **{"folds": 2, "progress": False, **options})


def checked(frame, wrong):
    """The same table with a column that says that the first right labels were checked."""
    rows = np.arange(N)
    return frame.assign(right=np.where((rows < 70) & ~np.isin(rows, wrong), "true", ""))


# What a user calls and sees.


def test_an_audit_shows_its_verdict_and_its_rows(tmp_path, capsys):
    frame, wrong = table()
    before = frame.copy()
    result = audited(frame=frame)
    pd.testing.assert_frame_equal(frame, before)
    assert result.effect["sentence"] in repr(result)
    assert repr(result).endswith(f"keep {result.summary['decisions']['keep']}.>")
    assert len(repr(result)) < 500
    review = result.review
    assert len(review) == N
    assert review["row"].isin(wrong)[: len(wrong)].mean() > 0.7
    assert (review["id"] == "r" + review["row"].astype(str)).all()
    assert review["influence"].dtype == review["doubt"].dtype == float
    assert {"report.html", "review.csv"} <= {file.name for file in result.save(tmp_path).iterdir()}
    assert capsys.readouterr() == ("", "")


def test_progress_goes_to_standard_error(capsys):
    audited(progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "160 rows, 2 classes" in err


def test_options_are_those_of_the_command():
    with pytest.raises(UserError, match="--folds is 1: give a whole number from 2 to 20"):
        audited(folds=1)
    with pytest.raises(UserError, match=r"there is no column 'labl' \(--target\): did you mean 'label'"):
        audit(table()[0], "labl", progress=False)
    with pytest.raises(UserError, match="--drop is 'x': give a tuple"):
        audited(drop="x")
    with pytest.raises(UserError, match=r"--model own: legal are auto, boosted, logistic, neural"):
        audited(OWN)


def test_names_of_columns_may_be_numbers():
    frame = table()[0][["x", "size", "label"]].set_axis([0, 1, 2], axis=1)
    for model in ("logistic", LogisticRegression()):
        assert audit(frame, 2, drop=[1], model=model, folds=2, progress=False).summary["source"]["target"] == "2"


def test_the_example_of_the_docstring_runs():
    found = doctest.DocTestFinder(recurse=False).find(audit, globs={})
    assert [len(test.examples) > 3 for test in found] == [True]
    assert doctest.DocTestRunner().run(found[0]).failed == 0


# A classifier of the user's own.


class Picky(ClassifierMixin, BaseEstimator):
    """A classifier that wants samples in just the form in which the user gave them."""

    def __init__(self, like=None):
        self.like = like

    def fit(self, samples, labels):
        self.check(samples)
        assert set(labels.tolist()) == {0, 1}
        self.classes_ = np.array([0, 1])
        self.share_ = labels.mean()
        return self

    def predict_proba(self, samples):
        self.check(samples)
        return np.tile([1 - self.share_, self.share_], (len(samples), 1))

    def check(self, samples):
        assert type(samples) is type(self.like)
        if isinstance(samples, pd.DataFrame):
            pd.testing.assert_frame_equal(samples[:0], self.like[:0])
            assert samples["kind"].isna().any() or len(samples) < N / 4
        elif isinstance(samples, np.ndarray):
            assert (samples.shape[1:], samples.dtype) == (self.like.shape[1:], self.like.dtype)


def test_it_gets_the_columns_as_they_were_given():
    frame, _ = table()
    like = frame[["size", "x", "same", "kind"]]  # a constant, too, which our own families do not get
    found = [audited(Picky(like), frame.sample(frac=1, random_state=0)),
             audited(Picky(like[["size", "same", "kind"]]), frame, drop=("x",)),
             audited(Picky(like), checked(frame, []), trusted_column="right")]  # fmt: skip
    assert all(result.summary["model"]["name"] == "own" for result in found)  # `Picky` refuses other columns


@pytest.mark.parametrize("form", ["array", "flat images", "images", "texts", "frame"])
def test_it_gets_arrays_images_and_texts_as_they_were_given(form):
    random = np.random.default_rng(0)
    labels = np.arange(N) % 2
    samples = {
        "array": random.normal(size=(N, 3)), "flat images": random.integers(0, 256, (N, 8, 8)).astype(np.uint8),
        "images": random.integers(0, 256, (N, 8, 8, 3)).astype(np.uint8),
        "texts": np.array([f"a text with the word number {word}" for word in random.integers(0, 999, N)], dtype=object),
        "frame": pd.DataFrame(random.normal(size=(N, 2)), columns=["a", "b"]).assign(kind=None),
    }[form]  # fmt: skip
    like = list(samples) if form == "texts" else samples
    result = audit((samples, labels), model=Picky(like), folds=2, progress=False)
    assert result.summary["model"]["name"] == "own"  # `Picky` refuses samples in another form


def test_further_files_are_given_alike_and_labels_count_from_0(tmp_path):
    frame, wrong = table()
    more = frame.drop(wrong).assign(x=lambda part: part.x + 1e-3)
    like = frame[["size", "x", "same", "kind"]]
    test = more.assign(x=more.x + 1e-3)[["label", *reversed(list(like))]]
    result = audited(Picky(like), frame, validation=more, test=test)
    assert result.effect["measured_on"] == "rows of the test file"
    with pytest.raises(UserError, match="further samples lack the column 'same', which the classifier gets"):
        audited(Picky(like), frame, test=more.drop(columns="same"))
    frame.to_csv(tmp_path / "data.csv", index=False)  # as a file is read: without the constant, numbers as floats
    as_read = pd.DataFrame({"size": [0.5], "x": [0.5], "kind": pd.Categorical([None], categories=["a", "b"])})
    audited(Picky(as_read), tmp_path / "data.csv", test=more)


def test_influence_is_used_where_it_can_be_computed():
    frame, wrong = table()
    model = regression()
    result = audited(model, checked(frame, wrong), trusted_column="right")
    with pytest.raises(Exception, match="not fitted"):
        check_is_fitted(model)
    assert result.summary["model"]["judges"] == ["your own Pipeline that ends in LogisticRegression"]
    assert result.summary["model"]["settings"]["classifier"].startswith("Pipeline(steps=[('columntransformer'")
    assert "labels that were checked by hand tell how likely that is" in result.summary["believe"]
    assert result.summary["score"]["value"] is not None
    review = result.review.set_index("row")
    worst = review.sort_values("harm").index[:10]
    assert review["influence"].notna().all()
    assert (review.loc[worst, "influence"] > 0).all()
    assert np.isin(worst, wrong).mean() >= 0.7


def test_its_influence_is_that_of_the_same_regression_as_a_family():
    random = np.random.default_rng(0)
    x = random.normal(size=(100, 3))
    labels = (x[:, 0] + random.normal(size=100) > 0).astype(np.int64)
    held = [(x[:20] + 0.1, labels[:20])]
    rest = TrainingSet(x, labels, np.zeros(100, dtype=bool), np.arange(100), 2, 0, "made_up")
    ours = cross_fit("logistic", rest, held, {**declared("logistic").defaults, "l2": 1e-3}, declared("logistic").solver)
    own = OwnClassifier(LogisticRegression(C=1 / (1e-3 * 80), tol=1e-8))
    given = replace(rest, inputs=Given(x))
    theirs = cross_fit(own, given, [(Given(part), numbers) for part, numbers in held], {}, own.solver)
    np.testing.assert_allclose(theirs.probabilities, ours.probabilities, atol=1e-4)
    np.testing.assert_allclose(theirs.validation, ours.validation, atol=1e-4)
    gap = theirs.influence - ours.influence  # a share of the penalty, the same for all samples of a model
    assert gap.std() < 0.01 * ours.influence.std()


def test_without_influence_decisions_go_by_doubt():
    frame, wrong = table()
    forest = make_pipeline(FunctionTransformer(numbers_of), RandomForestClassifier(8))
    first, second = (audited(forest, checked(frame, wrong), trusted_column="right", seed=1) for _ in range(2))
    pd.testing.assert_frame_equal(first.review, second.review)  # the forest has no seed of its own
    assert forest.steps[-1][1].random_state is None
    assert first.review["influence"].isna().all()
    assert first.review["doubt"].notna().all()
    assert first.review.sort_values("harm")["doubt"].is_monotonic_decreasing
    assert first.summary["score"]["value"] is None
    words = first.summary["believe"]
    assert "decisions go by it" in words
    assert (
        "Influence cannot be computed for your own Pipeline that ends in RandomForestClassifier: the model is" in words
    )
    assert first.summary["model"]["judges"][1] == "logistic regression"


def numbers_of(frame):
    return frame[["x", "size"]]


def test_without_influence_an_audit_is_written(tmp_path):
    result = audited(make_pipeline(FunctionTransformer(numbers_of), DecisionTreeClassifier(max_depth=3)))
    result.save(tmp_path)
    assert "NaN" not in (tmp_path / "report.html").read_text()
    assert pd.read_csv(tmp_path / "review.csv")["influence"].isna().all()
    assert pd.read_parquet(tmp_path / "samples.parquet")["influence"].isna().all()


def test_an_xgboost_classifier_is_scored_as_boosted_trees_are():
    from xgboost import XGBClassifier

    result = audited(make_pipeline(FunctionTransformer(numbers_of), XGBClassifier(n_estimators=5, max_depth=2)))
    assert result.review["influence"].notna().all()
    assert len(result.summary["model"]["judges"]) == 2


def test_a_regression_that_cannot_be_scored_says_why():
    result = audited(regression(l1_ratio=1.0, solver="saga", max_iter=5000))
    assert result.review["influence"].isna().all()
    assert "L1 penalty" in result.summary["believe"]


def test_texts_can_be_classified():
    random = np.random.default_rng(0)
    labels = np.arange(N) % 2
    texts = [
        f"the film is {word} and {random.integers(20)} minutes long" for word in np.array(["dull", "fine"])[labels]
    ]
    result = audit(
        (texts, labels), model=make_pipeline(TfidfVectorizer(), LogisticRegression()), folds=2, progress=False
    )
    assert result.review["influence"].notna().all()


class Fails(Picky):
    """Fails where it is trained on so many samples."""

    def __init__(self, at=0):
        self.at = at

    def check(self, samples):
        pass

    def fit(self, samples, labels):
        if len(samples) == self.at:
            raise ValueError(f"cannot take\n{self.at} samples")
        return super().fit(samples, labels)


class Renames(Fails):
    def fit(self, samples, labels):
        super().fit(samples, labels).classes_ = np.array(["a", "b"])
        return self


class Improper(Fails):
    def predict_proba(self, samples):
        return 2 * super().predict_proba(samples)


class Narrow(Fails):
    def predict_proba(self, samples):
        return super().predict_proba(samples)[:, 0]


class Hides:
    """No estimator of scikit-learn's: it cannot be cloned."""

    def fit(self, samples, labels):
        return self

    predict_proba = fit


class Changes(Fails):
    def __init__(self, at=0):
        self.at = [at]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (LinearRegression(), "model: LinearRegression is a regressor: give a classifier"),
        (make_pipeline(SimpleImputer(), LinearRegression()), "Pipeline that ends in LinearRegression is a regressor"),
        (RidgeClassifier(), "model: RidgeClassifier has no predict_proba: give a classifier that predicts prob"),
        (LogisticRegression, r"model is the class LogisticRegression: give an object of it, LogisticRegression\(\)"),
        (5, "model is 5: give 'auto', the name of a family, or a classifier"),
        (Hides(), "model is <.*Hides object at .*>: give 'auto'"),
        (Changes(), "model: Changes cannot be cloned: Cannot clone object Changes"),
        (Fails(120), "^model: Fails fails in fit: ValueError: cannot take 120 samples"),  # at the choice
        (Fails(64), "^fold 1 held out: model: Fails fails in fit: ValueError: cannot take 64 samples"),
        (Fails(128), "^all rows: model: Fails fails in fit: ValueError: cannot take 128 samples"),
        (Renames(), r"Renames was fitted on the classes 0 to 1, and its classes_ are \['a', 'b'\]: give a"),
        (Improper(), "predict_proba of Improper returns numbers below 0, NaN, or rows that do not sum to 1"),
        (Narrow(), r"predict_proba of Narrow returns the shape \(40,\), and \(40, 2\) is needed"),
        (regression(C=-1), "ends in LogisticRegression fails in fit: InvalidParameterError: The 'C' parameter"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(model, message):
    with pytest.raises(UserError, match=message) as caught:
        audited(model)
    assert "\n" not in str(caught.value)


def test_the_same_call_goes_on_in_a_folder_and_another_one_is_refused(tmp_path):
    first = audited(regression(), folder=tmp_path / "kept")
    (tmp_path / "kept/work/fold-2.npz").unlink()
    before = (tmp_path / "kept/work/whole.npz").stat().st_mtime_ns
    again = audited(regression(), folder=tmp_path / "kept")
    assert (tmp_path / "kept/work/whole.npz").stat().st_mtime_ns == before
    pd.testing.assert_frame_equal(again.review, first.review)
    assert again.summary["believe"] == first.summary["believe"]
    with pytest.raises(UserError, match="--classifier was "):
        audited(regression(C=0.1), folder=tmp_path / "kept")
    with pytest.raises(UserError, match="--model was own: give that again"):
        audited(folder=tmp_path / "kept")


def test_a_classifier_is_told_from_others_by_its_settings():
    first, second = (own_classifier(regression(C=c)).settings for c in (1, 2))
    assert first["checksum"] != second["checksum"]
    assert first == own_classifier(regression(C=1)).settings
    steps = [own_classifier(make_pipeline(FunctionTransformer(lambda x: x), RidgeLike())).settings for _ in range(2)]
    assert steps[0] == steps[1]  # wherever the function lies in memory


class RidgeLike(Fails):
    pass


OWN_CLASS = """
class Mine(LogisticRegression):
    pass

work.cores = lambda: 2  # other processes get the class, and the script runs once
result = audit(table[["PID", "age", "vote"]], target="vote", model=Mine(), folds=2, max_rows=100, progress=False)
print("own class:", result.summary["model"]["title"], len(result.review))
"""


def test_the_examples_of_the_page_run_as_a_script_at_top_level(tmp_path):
    work = "from datagradient.auditing import work\n"
    said = run_script("\n".join([work, *code_blocks("docs/own-data.md"), OWN_CLASS]), tmp_path)
    assert re.search("changes accuracy by|would change accuracy by|no row stands out enough", said)
    assert said.count("<Audit: ") == said.count("own class: your own Mine 100\n") == 1
    assert (tmp_path / "votes-audit/report.html").exists()


# Samples in a user's own form.


@pytest.mark.parametrize("samples", [
    pd.DataFrame({"a": [1, 2, 3, 4], "b": list("wxyz")}, index=[7, 7, 3, 1]), ["w", "x", "y", "z"],
    np.arange(8).reshape(4, 2),
])  # fmt: skip
def test_samples_are_taken_and_stacked_by_position(samples):
    n = np.arange(4)
    whole = TrainingSet(Given(samples), n % 2, n < 0, n, 2, 0, "made_up")
    taken = whole.take(np.array([3, 0])).inputs
    both = stacked([taken, whole.inputs[1:3]])
    expected = [samples[k] for k in (3, 0, 1, 2)] if isinstance(samples, list) else None
    if isinstance(samples, np.ndarray):
        assert both.samples.tolist() == samples[[3, 0, 1, 2]].tolist()
    elif isinstance(samples, pd.DataFrame):
        pd.testing.assert_frame_equal(both.samples, samples.iloc[[3, 0, 1, 2]].reset_index(drop=True))
    else:
        assert both.samples == expected
    assert len(both) == len(whole.with_more(whole.inputs, n % 2).inputs) - 4 == 4


def test_categories_that_differ_are_joined():
    first = pd.DataFrame({0: pd.Categorical(["b", None], categories=["b", "a"])})
    found = joined([Given(first), Given(pd.DataFrame({0: pd.Categorical(["c"]), 1: [1]}))]).samples
    assert found[0].tolist()[::2] == ["b", "c"]
    assert found[0].cat.categories.tolist() == ["b", "a", "c"]
    assert joined([Given(first)]).samples[0].dtype == first[0].dtype


@pytest.mark.parametrize(("other", "message"), [
    ([1], "samples are a ndarray and a list"), (np.zeros((2, 3)), r"samples have the shapes \(2,\) and \(3,\)"),
])  # fmt: skip
def test_samples_of_another_form_are_refused(other, message):
    with pytest.raises(UserError, match=message):
        joined([Given(np.zeros((4, 2))), Given(other)])


def test_rows_that_are_set_aside_and_dropped_columns_are_not_given():
    x = np.arange(24.0).reshape(12, 2)
    labels = ["a", "b", None, *"ababababa"]
    (given,) = given_samples([((x, labels), read((x, labels), ReadOptions(drop=("0",))))], ("0",))
    assert given.samples[:, 0].tolist() == [1, 3, *range(7, 24, 2)]


def test_doubt_takes_the_place_of_influence_that_is_not_known():
    random = np.random.default_rng(0)
    labels, chances = np.arange(40) % 2, random.dirichlet([1, 1], 40)
    influence = random.normal(size=(40, 2))
    known = CrossFit(chances, influence, chances, labels, {})
    unknown = replace(known, influence=np.full((40, 2), np.nan))
    for crossfits in ([unknown], [known, unknown]):
        judged = judge(crossfits, labels, trusted=True)
        assert (judged.harm == judged.doubt).all()
    assert not (judge([known], labels, trusted=True).harm == judge([known], labels, trusted=True).doubt).any()


def test_every_argument_is_explained_in_order():
    explained = re.findall(r"^        (\w+): ", audit.__doc__.partition("Returns:")[0], re.MULTILINE)
    assert explained == list(inspect.signature(audit).parameters)


def test_a_classifier_that_takes_no_words_is_told_what_to_do():
    frame = pd.DataFrame({"a": np.arange(120) % 7, "word": np.tile(["x", "y", "z"], 40), "y": np.arange(120) % 2})
    with pytest.raises(UserError, match=r"could not convert string .*; it gets the columns as you give them: encode"):
        audit(frame, "y", model=LogisticRegression(), folds=2, progress=False)
