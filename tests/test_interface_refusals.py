"""Models and samples that `influence_scores` refuses, in one sentence."""

import numpy as np
import pandas as pd
import pytest
import torch
import xgboost as xgb
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, SGDClassifier
from sklearn.model_selection import GridSearchCV
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from datagradient import influence_scores
from interface_examples import parts, smoothed, table


def gradients(labels, margins):
    p = np.exp(margins) / np.exp(margins).sum(axis=1, keepdims=True)
    return 0.8 * (p - np.eye(3)[labels.astype(int)]), p * (1 - p)


def detached(outputs, targets):
    return cross_entropy(outputs.detach(), targets, reduction="none")


def averaged(train):
    settings = {"l1_ratios": (0,), "use_legacy_attributes": False, "scoring": "accuracy"}
    return LogisticRegressionCV(refit=False, **settings).fit(*train)


def refused_models():
    random = np.random.default_rng(0)
    train, _ = parts(*table(random))
    linear = nn.Linear(4, 3).double()
    return {
        "forest": (RandomForestClassifier(5).fit(*train), {}, "RandomForestClassifier; supported are a torch mod.* "
                   "fit one of these on the same samples"),
        "sgd": (SGDClassifier(loss="log_loss").fit(*train), {}, "SGDClassifier; supported are"),
        "search": (GridSearchCV(LogisticRegression(), {"C": [1]}).fit(*train), {}, "GridSearchCV; .*best_estimator_"),
        "string": ("model", {}, "the model is a builtins.str; supported are"),
        "unfitted": (LogisticRegression(), {}, "LogisticRegression has not been fitted; call fit first"),
        "l1": (LogisticRegression(l1_ratio=1, solver="saga", tol=1e-3).fit(*train), {}, "has an L1 penalty"),
        "early": (LogisticRegression(C=1e4, tol=10).fit(*train), {}, "not at the minimum of its objective on these"),
        "weights": (LogisticRegression().fit(*train, random.uniform(0, 9, 120)), {}, "minimum.*sample_weight that fit"),
        "told twice": (LogisticRegression().fit(*train), {"class_weight": "balanced"}, "leave it out: the model's own"),
        "loss": (LogisticRegression().fit(*train), {"loss": "hinge"}, "'hinge', and a LogisticRegression has its own"),
        "weights' shape": (LogisticRegression().fit(*train), {"sample_weight": [1, 2]}, r"shape \(2,\) for 120"),
        "weights' sign": (LogisticRegression().fit(*train), {"sample_weight": -np.ones(120)}, "-1.0 at sample 0"),
        "custom objective": (xgb.XGBClassifier(n_estimators=3, objective=gradients).fit(*train), {}, "objective of yo"),
        "averaged": (averaged(train), {}, "refit=True"),
        "numbers": (LogisticRegression().fit(*train), {"sample_weight": "abc"}, "no array of numbers"),
        "verify": (LogisticRegression().fit(*train), {"verify": -1}, "verify is -1; legal"),
        "seed": (LogisticRegression().fit(*train), {"seed": 0.5}, "seed is 0.5; legal"),
        "solver": (LogisticRegression().fit(*train), {"solver": "cg"}, "solver is 'cg'; pass a mapping"),
        "words for factors": (linear, {"class_weight": 2.0}, "class_weight is 2.0; legal"),
        "many factors": (linear, {"class_weight": [1, 2, 3, 4, 5]}, "class_weight has 5 factors"),
        "huber": (nn.Linear(4, 3).double(), {"loss": detached}, "the network, its loss or its samples fail"),
        "option": (LogisticRegression().fit(*train), {"solver": {"dampin": 1}}, "no option 'dampin'; legal"),
        "name": (LogisticRegression().fit(*train), {"solver": {"name": "adam"}}, "name is 'adam'; legal: cg"),
        "value": (LogisticRegression().fit(*train), {"solver": {"samples": 0.5}}, "samples is 0.5; legal"),
        "ekfac": (LogisticRegression().fit(*train), {"solver": {"preconditioner": "ekfac"}}, "ekfac is for"),
        "unfitted trees": (xgb.XGBClassifier(), {}, "XGBClassifier has not been fitted"),
        "dart": (xgb.XGBClassifier(n_estimators=3, booster="dart").fit(*train), {}, "a booster of kind dart; supp"),
        "alpha": (xgb.XGBClassifier(n_estimators=3, reg_alpha=1).fit(*train), {}, "alpha 1; supported is 0"),
        "tree weights": (xgb.XGBClassifier(n_estimators=3).fit(*train, sample_weight=np.full(120, 3.0)), {},
                         "trained on 3 times the curvature of the 120 training samples"),
        "regressor": (xgb.XGBRegressor(n_estimators=3).fit(*train), {}, "XGBRegressor; supported are"),
        "booster": (xgb.XGBRegressor(n_estimators=3).fit(*train).get_booster(), {}, "objective reg:squarederror"),
        "probabilities": (nn.Sequential(linear, nn.Softmax(1)), {}, "not those of the last linear layer"),
        "two heads": (nn.Bilinear(4, 4, 3).double(), {}, "fails on the training samples"),
        "no loss": (linear, {"loss": "huber"}, "no loss 'huber'; legal: cross_entropy, binary_cross_entropy"),
        "other loss": (linear, {"loss": "binary_cross_entropy"}, "loss binary_cross_entropy, and the network has 3"),
        "mean": (linear, {"loss": cross_entropy}, r"loss returns \(\) for .*reduction='none'"),
        "outputs": (nn.Linear(4, 1).double(), {}, "training label.*2 at sample .* is no class: the model's 2 classes"),
        "factors": (linear, {"class_weight": [1.0, 2.0]}, "class_weight has 2 factors; .*the model's 3 classes"),
        "no classes": (linear, {"loss": smoothed, "class_weight": [1, 2, 3]}, "put the factors into the loss"),
    }  # fmt: skip


@pytest.mark.parametrize("case", refused_models())
def test_what_cannot_be_represented_is_refused_in_one_sentence(case):
    model, told, message = refused_models()[case]
    train, held_out = parts(*table(np.random.default_rng(0)))
    with pytest.raises(ValueError, match=message) as caught:
        influence_scores(model, train, held_out, **told)
    assert "\n" not in str(caught.value)


def refused_samples(x, y):
    class Shuffled:
        def __iter__(self):
            order = np.random.default_rng().permutation(len(y))
            return iter([(torch.from_numpy(x[order]), torch.from_numpy(y[order]))])

    tensors = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    return {
        "shuffling": (DataLoader(tensors, batch_size=30, shuffle=True), r"DataLoader shuffles.*batch_size=30, sh"),
        "changing": (Shuffled(), "batch 0 is another one when it is read again"),
        "once": (iter(DataLoader(tensors, batch_size=30)), "can be read once; pass a DataLoader or a list"),
        "no labels": (DataLoader(TensorDataset(tensors.tensors[0]), batch_size=9), "batch 0 is a list; pass a pair"),
        "samples": (DataLoader(tensors, batch_size=None), "is a single sample; pass batches"),
        "not finite": ((np.where(np.arange(120)[:, None] == 7, np.nan, x), y), "a value of sample 7 is not finite"),
        "keys": ([{"x": tensors.tensors[0]}], "batch 0 has the keys x, and none of labels"),
        "array": (x, "training is a ndarray; pass a pair"),
        "short": ((x, y[:-1]), "inputs of 120 samples and 119 labels"),
        "words": ((x, np.array(["a"] * 120)), "an array of type <U1; pass numbers"),
        "empty": ((x[:0], y[:0]), "there is no sample"),
        "no batch": ([], "there is no batch"),
        "text": ([("a", "b")], "batch 0 holds a str; pass tensors"),
        "uneven": ([(torch.ones(3, 4), torch.ones(2))], "inputs of 3 samples and 2 labels"),
        "features": ((x[:, :3], y), "fails on the training samples: RuntimeError"),
    }  # fmt: skip


CASES = refused_samples(np.zeros((120, 4)), np.zeros(120))


@pytest.mark.parametrize("case", CASES)
def test_samples_that_a_network_cannot_take_are_refused(random, case):
    train, held_out = parts(*table(random))
    samples, message = refused_samples(*train)[case]
    for form, where in ((samples, held_out), (train, samples)):
        with pytest.raises(ValueError, match=message.replace("training is", "(training|validation) is")) as caught:
            influence_scores(nn.Linear(4, 3).double(), form, where)
        assert "\n" not in str(caught.value)
        if case == "features":
            break


def spoiled(x, y):
    frame = pd.DataFrame(x, columns=list("abcd"))
    missing, other = x.copy(), y.copy()
    missing[3, 1], other[5] = np.nan, 9
    return {
        "missing": ((missing, y), "training inputs: a value of sample 3 is missing"),
        "label": ((x, other), r"training label 9 at sample 5 is none of the model's classes 0, 1, 2"),
        "width": ((x[:, :3], y), r"training inputs have the shape \(120, 3\), and the model takes \(n, 4\)"),
        "order": ((frame[list("bacd")], y), "columns are not those that the model was fitted on: 'b' in place of 'a'"),
        "column": ((x, y[:, None]), r"training labels have the shape \(120, 1\); pass one label"),
        "text": ((frame.astype(object).assign(a="x"), y), "training inputs are no numbers"),
        "short": ((x, y[:-1]), "training labels have the shape"),
        "list": ([x, y, y], r"training is a list; pass a pair \(inputs, labels\)"),
        "others": ((x[::-1].copy(), y), "minimum of its objective on these training samples"),
    }


@pytest.mark.parametrize("case", spoiled(np.zeros((120, 4)), np.zeros(120)))
def test_samples_that_a_regression_cannot_take_are_refused(random, case):
    train, held_out = parts(*table(random))
    model = LogisticRegression().fit(pd.DataFrame(train[0], columns=list("abcd")), train[1])
    samples, message = spoiled(*train)[case]
    with pytest.raises(ValueError, match=message) as caught:
        influence_scores(model, samples, held_out)
    assert "\n" not in str(caught.value)


def test_no_validation_sample_is_refused(random):
    train, _ = parts(*table(random))
    with pytest.raises(ValueError, match="no validation sample"):
        influence_scores(LogisticRegression().fit(*train), train, (train[0][:0], train[1][:0]))
