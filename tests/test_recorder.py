"""Scores from what the last epoch of training kept: the training is untouched, and the scores are those of a pass."""

import copy
import gc
import shutil
import tempfile
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from datagradient import Recorder, influence_scores
from datagradient.influence.record import Checked, Record, record_from, storage
from datagradient.influence.recording import Recording
from datagradient.models import neural
from recording_examples import CLASSES, SOLVER, N, network, own_loop, samples, shuffled, train


@pytest.fixture
def blobs():
    return samples()


def test_training_is_bit_for_bit_that_without_it(blobs):
    found = []
    for recorded in (False, True):
        model = network()
        torch.manual_seed(1)
        optimiser = train(model, shuffled(blobs[0]), Recorder(model) if recorded else None, last_rate=0.01)
        found.append((model.state_dict(), optimiser.state_dict()["state"], torch.get_rng_state(), model.training))
    (weights, state, random, mode), (weights_too, state_too, random_too, mode_too) = found
    assert all(torch.equal(weights[name], weights_too[name]) for name in weights)
    assert all(torch.equal(state[k][key], state_too[k][key]) for k in state for key in state[k])
    assert torch.equal(random, random_too)
    assert mode == mode_too


@pytest.mark.parametrize(("size", "workers"), [(7, 0), (32, 0), (N, 0), (32, 2)])
def test_scores_are_those_of_a_pass_where_the_last_rate_is_zero(blobs, size, workers):
    model = network()
    recorder = Recorder(model)
    train(model, shuffled(blobs[0], size, num_workers=workers), recorder)
    found, expected = recorder.scores(blobs[1], solver=SOLVER), influence_scores(model, *blobs, solver=SOLVER)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-4, atol=1e-6)
    assert found.record["solver"] == "record"
    assert found.record["agreement"] > 0.9999
    np.testing.assert_allclose(found.score(blobs[1]), expected.score(blobs[1]), rtol=1e-3, atol=1e-5)


def test_scores_are_close_where_the_rate_falls_to_little(blobs):
    model = network()
    recorder = Recorder(model)
    train(model, shuffled(blobs[0]), recorder, last_rate=1e-3)
    found, expected = recorder.scores(blobs[1]).values, influence_scores(model, *blobs).values
    assert spearmanr(found, expected).statistic > 0.99
    assert not np.array_equal(found, expected)


def test_a_record_of_a_network_that_changes_too_much_is_refused_or_replaced_by_a_pass(blobs):
    model = network()
    recorder = Recorder(model)
    train(model, shuffled(blobs[0]), recorder, last_rate=0.3)
    with pytest.raises(ValueError, match=r"rank differently, with a correlation of .*let the learning rate fall"):
        recorder.scores(blobs[1])
    found = recorder.scores(blobs[1], train=blobs[0], solver={"damping": 0.05})
    assert np.array_equal(found.values, influence_scores(model, *blobs, solver={"damping": 0.05}).values)


def test_so_is_that_of_a_network_trained_on_afterwards(blobs):
    model = network()
    recorder = Recorder(model)
    train(model, shuffled(blobs[0]), recorder)
    train(model, shuffled(blobs[0]), epochs=5, rate=0.3, last_rate=0.3)
    with pytest.raises(ValueError, match="rank differently"):
        recorder.scores(blobs[1])


@pytest.mark.parametrize("parts", [1, 3])
def test_a_loop_of_ones_own_with_accumulated_gradients(blobs, parts):
    (x, y), validation = blobs
    model = network()
    recorder = Recorder(model, n=N)
    own_loop(model, recorder, x, y, torch.randperm(N), parts=parts)
    expected = influence_scores(model, (x, y), validation, solver=SOLVER)
    np.testing.assert_allclose(recorder.scores(validation, solver=SOLVER).values, expected.values, rtol=1e-4, atol=1e-6)


def test_weights_of_samples(blobs):
    (x, y), validation = blobs
    model, weights = network(), torch.rand(N) + 0.5
    recorder = Recorder(model, n=N)
    own_loop(model, recorder, x, y, torch.randperm(N), weights=weights)
    expected = influence_scores(model, (x, y), validation, solver=SOLVER, sample_weight=weights)
    np.testing.assert_allclose(recorder.scores(validation, solver=SOLVER).values, expected.values, rtol=1e-4, atol=1e-6)


def binary(z, t, reduction):
    return binary_cross_entropy_with_logits(z[:, 0], t, reduction=reduction)


def test_one_logit(blobs):
    (x, y), (v, w) = blobs
    y, w = (y > 0).float(), (w > 0).float()
    model = network(1)
    recorder = Recorder(model, n=N)
    own_loop(model, recorder, x, y, torch.arange(N), loss=binary)
    expected = influence_scores(model, (x, y), (v, w), solver=SOLVER)
    np.testing.assert_allclose(recorder.scores((v, w), solver=SOLVER).values, expected.values, rtol=1e-4, atol=1e-6)


class Named(nn.Module):
    """Takes its inputs by name, and returns a mapping, like a language model."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(8, 16), nn.Linear(16, CLASSES)

    def forward(self, values, scale):
        return {"logits": self.head(torch.tanh(self.body(values * scale)))}


def test_batches_that_are_mappings(blobs):
    (x, y), (v, w) = blobs
    batches = [{"values": x[i : i + 40], "scale": torch.ones(len(x[i : i + 40]), 1), "labels": y[i : i + 40]}
               for i in range(0, N, 40)]  # fmt: skip
    validation = [{"values": v, "scale": torch.ones(len(v), 1), "labels": w}]
    model = Named()
    recorder = Recorder(model)
    for batch in recorder.epoch(batches):
        inputs = {key: value for key, value in batch.items() if key != "labels"}
        cross_entropy(model(**inputs)["logits"], batch["labels"]).backward()
    expected = influence_scores(model, batches, validation, solver=SOLVER)
    np.testing.assert_allclose(recorder.scores(validation, solver=SOLVER).values, expected.values, rtol=1e-4, atol=1e-6)


def interrupted(recorder, model, x, y):
    for k, (inputs, labels) in enumerate(recorder.epoch(shuffled((x, y)))):
        cross_entropy(model(inputs), labels).backward()
        if k == 3:
            break


def failed(recorder, model, x, y):
    with pytest.raises(KeyError):
        for inputs, labels in recorder.epoch(shuffled((x, y))):
            cross_entropy(model(inputs), labels).backward()
            raise KeyError


def last_dropped(recorder, model, x, y):
    for inputs, labels in recorder.epoch(shuffled((x, y), 64, drop_last=True)):
        cross_entropy(model(inputs), labels).backward()


def seen(order):
    def run(recorder, model, x, y):
        own_loop(model, recorder, x, y, order)

    return run


def second_pass(recorder, model, x, y):
    with recorder:
        for rows in torch.arange(N).split(100):
            recorder.batch(rows, y[rows])
            cross_entropy(model(x[rows]), y[rows]).backward()
            cross_entropy(model(x[rows]), y[rows]).backward()


def unknown(recorder, model, x, y):
    with recorder:
        recorder.batch([0, N], y[:2])
        cross_entropy(model(x[:2]), y[:2]).backward()


def no_pass(recorder, model, x, y):
    with recorder:
        recorder.batch([0, 1], y[:2])
        recorder.batch([2, 3], y[2:4])


def other_loss(loss):
    def run(recorder, model, x, y):
        own_loop(model, recorder, x, y, torch.arange(N), loss=loss)

    return run


def smoothed(z, t, reduction):
    return cross_entropy(z, t, label_smoothing=0.1, reduction=reduction)


def weighted(z, t, reduction):
    return cross_entropy(z, t, torch.tensor([1.0, 2.0, 1.0]), reduction=reduction)


def other_labels(recorder, model, x, y):
    own_loop(model, recorder, x, y.roll(1), torch.arange(N), loss=lambda z, t, reduction: cross_entropy(
        z, (t + 1) % CLASSES, reduction=reduction))  # fmt: skip


REFUSED = {
    "interrupted": (interrupted, "interrupted"),
    "an error": (failed, "interrupted"),
    "last batch dropped": (last_dropped, r"sample \d+ was never seen, as 44 of 300.*drop_last=False"),
    "never": (seen(torch.arange(N - 1)), r"sample 299 was never seen, as 1 of 300"),
    "twice in a batch": (seen(torch.tensor([5, 5, *range(N)])), "sample 5 was seen twice"),
    "twice": (seen(torch.tensor([*range(N), 7])), "sample 7 was seen twice"),
    "no such sample": (unknown, "there is no sample 300: there are 300"),
    "a second pass": (second_pass, "ran on samples that were not named"),
    "no pass": (no_pass, "the pass over sample 0 did not take place"),
    "label smoothing": (other_loss(smoothed), r"loss of sample \d+ is not that of cross-entropy"),
    "weights of classes": (other_loss(weighted), r"loss of sample \d+ is not that of cross-entropy"),
    "other labels": (other_labels, r"loss of sample \d+ is not that of cross-entropy"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_recorded_is_refused_by_number_and_trains_on(blobs, case):
    run, message = REFUSED[case]
    model = network()
    recorder = Recorder(model, n=N)
    run(recorder, model, *blobs[0])
    with pytest.raises(ValueError, match=message):
        recorder.scores(blobs[1])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


OTHERWISE = "score the network afterwards with influence_scores and parameters: all"
NETWORKS = {
    "no layer": (
        nn.Sequential(nn.Linear(8, CLASSES, bias=False)),
        f"no last linear layer with a bias; {OTHERWISE}",
    ),
    "not the logits": (nn.Sequential(nn.Linear(8, CLASSES), nn.Softplus()), "not those of the last linear layer"),
    "positions": (nn.Sequential(nn.Unflatten(1, (4, 2)), nn.Linear(2, CLASSES), nn.Flatten()), "takes the shape"),
}


@pytest.mark.parametrize("case", NETWORKS)
def test_a_network_that_cannot_be_recorded_is_refused(blobs, case):
    model, message = NETWORKS[case]
    recorder = Recorder(model)
    for inputs, labels in recorder.epoch(shuffled(blobs[0])):
        model(inputs)[:, :CLASSES].gather(1, labels[:, None]).sum().backward()
    with pytest.raises(ValueError, match=message):
        recorder.scores(blobs[1])


def test_a_value_that_is_not_finite_is_named(blobs):
    x, y = blobs[0][0].clone(), blobs[0][1]
    model = nn.Sequential(nn.Linear(8, CLASSES))
    x[17, 3] = torch.inf
    recorder = Recorder(model, n=N)
    own_loop(model, recorder, x, y, torch.arange(N))
    with pytest.raises(ValueError, match="sample 17"):
        recorder.scores(blobs[1])


MISUSED = {
    "no module": (lambda x, y: Recorder("network"), "pass a torch module"),
    "no number": (lambda x, y: Recorder(network(), n=0), "pass the number of training samples"),
    "no n": (lambda x, y: Recorder(network()).__enter__(), "say how many training samples"),
    "no context": (lambda x, y: Recorder(network(), n=3).batch([0], [0]), "within the context"),
    "no epoch": (lambda x, y: Recorder(network()).scores((x, y)), "no epoch was recorded"),
    "generator": (lambda x, y: list(Recorder(network()).epoch(iter([(x, y)]))), "does not say which samples"),
    "no batches": (lambda x, y: list(Recorder(network()).epoch(DataLoader(TensorDataset(x, y), batch_size=None))),
                   "say it with batch"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISUSED)
def test_misuse_is_refused_in_a_sentence(blobs, case):
    run, message = MISUSED[case]
    with pytest.raises(ValueError, match=message):
        run(*blobs[0])


def test_a_large_record_is_kept_in_half_precision_and_a_larger_one_in_a_nameless_file(blobs, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    like = torch.zeros(1, 16)
    kinds = {memory: storage(N, 16, like, memory) for memory in (N * 16 * 4, N * 16 * 2, N * 16)}
    assert [values.dtype for values in kinds.values()] == [torch.float32, torch.bfloat16, torch.bfloat16]
    (x, y), validation = blobs
    model, expected = network(), None
    for memory in kinds:
        recorder = Recorder(model, n=N, memory=memory)
        own_loop(model, recorder, x, y, torch.randperm(N))
        found = recorder.scores(validation, solver=SOLVER).values
        expected = found if expected is None else expected
        assert spearmanr(found, expected).statistic > 0.999
    assert not list(tmp_path.iterdir())


def test_a_record_for_which_there_is_no_room_is_refused(blobs, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=5))
    recorder = Recorder(network(), n=N, memory=0)
    own_loop(recorder._model, recorder, *blobs[0], torch.arange(N))
    with pytest.raises(ValueError, match=r"GiB are needed in .*TMPDIR"):
        recorder.scores(blobs[1])


def test_what_was_kept_is_freed_after_a_failure(blobs):
    recording = Recording(network(), N)
    with pytest.raises(KeyError), recording:
        recording.batch([0], [0])
        recording.network(blobs[0][0][:1])
        raise KeyError
    gc.collect()
    assert recording._values is None


def test_a_record_survives_as_arrays():
    record = Record("layer", torch.rand(4, 3), Checked(np.array([2]), torch.rand(1, 3), np.array([0])))
    again = record_from(record.arrays(), network())
    assert torch.equal(again.values, record.values)
    assert torch.equal(again.checked.values, record.checked.values)
    assert record_from(Record("layer", torch.rand(4, 3)).arrays(), network()).checked is None


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_network_of_the_replication_is_recorded(precision):
    random = np.random.default_rng(0)
    labels = random.integers(2, size=400)
    inputs = (labels[:, None] + random.standard_normal((400, 5))).astype(np.float32)
    settings = {**{name: entry["default"] for name, entry in neural.FAMILY["settings"].items()}, "precision": precision}
    model, record = neural.fit(inputs, labels, 2, settings, 0)
    recorded, record_too, kept = neural.fit_recorded(inputs, labels, 2, settings, 0)
    states = model.network.state_dict(), recorded.network.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert record["losses"] == record_too["losses"]
    assert kept.values.shape == (400, 32)
    averaged = neural.fit_recorded(inputs, labels, 2, {**settings, "averaging": 0.5}, 0)
    assert averaged[2] is None
    predicted, part = neural.probabilities_recorded(model, inputs)
    assert np.array_equal(predicted, neural.probabilities(model, inputs))
    assert part.checked is None
    problem = neural.problem(recorded, kept, labels)
    assert problem.project(np.arange(float(len(problem.theta)))).shape == (400,)


@pytest.mark.parametrize("parameters", ["last", "projected"])
def test_nothing_of_an_epoch_stays_behind(blobs, parameters):
    model = network()
    recorder = Recorder(model, n=N, parameters=parameters)
    own_loop(model, recorder, *blobs[0], torch.arange(N))
    recording = weakref.ref(recorder._recording)
    del recorder
    gc.collect()
    assert recording() is None


def test_weights_of_some_batches_alone_leave_the_others_at_one(blobs):
    (x, y), validation = blobs
    model, weights = network(), torch.ones(N)
    weights[:100] = 0.5
    recorder = Recorder(model, n=N)
    with recorder:
        for rows in torch.arange(N).split(100):
            given = weights[rows] if rows[0] == 0 else None
            recorder.batch(rows, y[rows], given)
            (cross_entropy(model(x[rows]), y[rows], reduction="none") * weights[rows]).mean().backward()
    expected = influence_scores(model, (x, y), validation, solver=SOLVER, sample_weight=weights)
    np.testing.assert_allclose(recorder.scores(validation, solver=SOLVER).values, expected.values, rtol=1e-4, atol=1e-6)


class Head(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.body, self.last, self.kind = nn.Linear(8, CLASSES), nn.Linear(CLASSES, CLASSES), kind
        if kind == "frozen":
            self.last.requires_grad_(False)
        if kind == "tied":
            self.other = nn.Linear(CLASSES, CLASSES)
            self.other.weight = self.last.weight

    def forward(self, x):
        x = torch.tanh(self.body(x))
        return self.last(self.last(x) if self.kind == "twice" else self.other(x) if self.kind == "tied" else x)


@pytest.mark.parametrize(("kind", "message"), [("frozen", f"is frozen; {OTHERWISE}"), ("tied", "in several places"),
                                               ("twice", "not those of the last linear layer")])  # fmt: skip
def test_a_head_that_influence_scores_refuses_is_refused(blobs, kind, message):
    model = Head(kind)
    recorder = Recorder(model, n=N)
    own_loop(model, recorder, *blobs[0], torch.arange(N))
    with pytest.raises(ValueError, match=message):
        recorder.scores(blobs[1])


def test_samples_that_are_fitted_or_have_no_weight_are_no_other_loss(blobs):
    x, y = blobs[0]
    model = nn.Sequential(nn.Linear(8, CLASSES))
    weights = torch.ones(N)
    weights[100:150] = 0
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.copy_(torch.tensor([150.0, 0, 0]))
    labels = torch.where(torch.arange(N) < 250, 0, y)  # the first ones are fitted to the last digit
    recorder = Recorder(model, n=N)
    own_loop(model, recorder, x, labels, torch.arange(N), weights=weights)
    found = recorder.scores(blobs[1], solver=SOLVER).values
    expected = influence_scores(model, (x, labels), blobs[1], solver=SOLVER, sample_weight=weights).values
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-9)
    assert not found[100:150].any()


def test_a_pass_without_gradients_is_no_training(blobs):
    recorder = Recorder(network(), n=N)
    with recorder, torch.no_grad():
        recorder.batch(range(N), blobs[0][1])
        recorder._model(blobs[0][0])
    with pytest.raises(ValueError, match="sample 0 passed without labels or without gradients"):
        recorder.scores(blobs[1])


def test_labels_that_are_none_are_refused_by_a_samples_number(blobs):
    (x, y), validation = blobs
    model = network()
    recorder = Recorder(model, n=N)
    with recorder:
        for rows in torch.arange(N).split(30):
            labels = torch.where(rows == 35, -100, y[rows])  # left out by the loss
            recorder.batch(rows, labels)
            cross_entropy(model(x[rows]), labels).backward()
    with pytest.raises(ValueError, match=r"record: labels of sample 0 and further: RuntimeError"):
        recorder.scores(validation)


def test_an_epoch_that_is_repeated_is_not_kept_to_the_end(blobs):
    (x, y), _ = blobs
    model = network()
    recording = Recording(model, N)
    with recording:
        for _ in range(2):
            for rows in torch.arange(N).split(30):
                recording.batch(rows, y[rows])
                cross_entropy(model(x[rows]), y[rows]).backward()
                kept = recording._values
    assert kept is None and "sample 0 was seen twice" in recording.refusal


def test_a_loop_may_use_the_same_tensors_for_every_batch(blobs):
    (x, y), validation = blobs
    found = []
    for again in (False, True):
        model, size = network(), 30
        numbers, labels = torch.empty(size, dtype=torch.long), torch.empty(size, dtype=torch.long)
        recorder = Recorder(model, n=N)
        with recorder:
            for rows in torch.randperm(N, generator=torch.Generator().manual_seed(0)).split(size):
                own = (numbers.copy_(rows), labels.copy_(y[rows])) if again else (rows, y[rows])
                recorder.batch(*own)
                cross_entropy(model(x[rows]), own[1]).backward()
        found.append(recorder.scores(validation).values)
    assert np.array_equal(*found)


def test_weights_by_class_in_batches_of_one_class_are_seen(blobs):
    x, y = blobs[0]
    model, factors = network(), torch.tensor([1.0, 3.0, 5.0])
    recorder = Recorder(model, n=N)
    with recorder:
        for label in range(CLASSES):
            for rows in torch.where(y == label)[0][:90].split(30):
                recorder.batch(rows, y[rows])
                (factors[label] * cross_entropy(model(x[rows]), y[rows])).backward()
        for row in range(N):
            if not recorder._recording._times[row]:
                recorder.batch([row], y[row : row + 1])
                cross_entropy(model(x[row : row + 1]), y[row : row + 1]).backward()
    with pytest.raises(ValueError, match="another factor than that of other passes"):
        recorder.scores(blobs[1])


def test_the_end_of_the_epoch_is_compared_too(blobs):
    (x, y), validation = blobs
    model = network()
    recorder = Recorder(model, n=N)
    with recorder:
        for number, rows in enumerate(torch.arange(N).split(30)):
            kept = {name: value.clone() for name, value in model.state_dict().items()}
            if number == 9:  # only the last ones see other weights
                with torch.no_grad():
                    model[0].weight.copy_(torch.randn(16, 8))
            recorder.batch(rows, y[rows])
            cross_entropy(model(x[rows]), y[rows]).backward()
            model.load_state_dict(kept)
    with pytest.raises(ValueError, match="that training saw last rank differently"):
        recorder.scores(validation)


def test_copies_and_files_of_a_network_within_the_epoch_have_no_hooks(blobs, tmp_path):
    x, y = blobs[0]
    model = network()
    with Recorder(model, n=N) as recorder:
        recorder.batch(range(10), y[:10])
        loss = cross_entropy(model(x[:10]), y[:10])
        twin = copy.deepcopy(model)
        torch.save(model, tmp_path / "model.pt")
        loss.backward()
        with torch.no_grad():
            twin(x[:5])
        assert recorder._recording.refusal is None


def test_one_epoch_at_a_time(blobs):
    model = network()
    recorder = Recorder(model)
    left = recorder.epoch(shuffled(blobs[0]))
    next(left)
    for inputs, labels in recorder.epoch(shuffled(blobs[0])):
        cross_entropy(model(inputs), labels).backward()
    left.close()
    recorder.scores(blobs[1])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_workers_that_stay_are_refused(blobs):
    loader = shuffled(blobs[0], num_workers=1, persistent_workers=True)
    with pytest.raises(ValueError, match="the loader keeps its workers"):
        next(iter(Recorder(network()).epoch(loader)))


def test_other_parameters_than_the_recorded_are_refused(blobs):
    model = network()
    recorder = Recorder(model)
    train(model, shuffled(blobs[0]), recorder)
    with pytest.raises(ValueError, match="parameters is 'all', and last were recorded"):
        recorder.scores(blobs[1], solver={"parameters": "all"})
    with pytest.raises(ValueError, match="record is for what a Recorder keeps"):
        influence_scores(model, *blobs, solver={"name": "record"})
