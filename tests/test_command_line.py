"""Whatever is given to a command: it works, or says in one line what is wrong, ends with 2 and writes nothing."""

import json
import os
import pickle
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from conftest import REPOSITORY, write_preset
from datagradient.commands.main import main

PRESET = """
preset: made
models: [logistic]
seeds: [0, 1]
iterations: 1
noise: [0.2]
policies: [influence, gradient, confident, crossfit, repair, true_labels, guarded]
one_job: step
shards: 2
datasets: {affairs: {max_development: 300, max_test: 100}}
scalability: {repeats: 1, datasets: {affairs: {models: [logistic], sizes: [200]}}}
streaming: {dataset: affairs, model: logistic, trained_on: 200, chunk: 100, sizes: [200]}
fidelity: {halves: 2, single: 2, initialisations: 1}
trusted: {labels: [0, 20], checked: [10], seeds: {logistic: 1}}
sensitivity: {fractions: [0.1]}
"""
CONFIG = "--config config.json"
DATA = f"{CONFIG} --dataset affairs"
CELL = f"{DATA} --model logistic --noise 0.2 --seed 0"
SECOND = f"{CELL} --policy influence --iteration 1"
PREPARED = "affairs/prepared/seed-0"
LABELS = f"{PREPARED}/noise-0.2/labels.npz"
FIRST = "affairs/logistic/noise-0.2/baseline/seed-0/iter-0"
INFLUENCE = FIRST.replace("baseline", "influence")[:-1]
# Command and what it takes -> files that it reads, below the preset's results.
READS = {
    f"noise {DATA} --noise 0.2": [f"{PREPARED}/features.npz"],
    f"train {CELL}": [f"{PREPARED}/features.npz", LABELS],
    f"train {SECOND}": [f"{INFLUENCE}1/kept.npz"],
    f"evaluate {CELL}": [f"{FIRST}/predictions.npz"],
    f"influence {CELL}": [f"{PREPARED}/features.npz", LABELS, f"{FIRST}/model.npz"],
    f"direction {CELL}": [f"{FIRST}/model.npz"],
    f"project {CELL} --shard 1-of-2": [f"{FIRST}/direction.npz"],
    f"gather {CELL}": [f"{FIRST}/direction.npz", f"{FIRST}/shards/2-of-2.npz"],
    f"prune {SECOND}": [f"{FIRST}/scores.npz"],
    f"prune {CELL} --policy confident --iteration 1": [f"{FIRST}/crossfit.npz", f"{INFLUENCE}1/removed.csv"],
    f"prune {CELL} --policy repair --iteration 1": [f"{FIRST}/{name}" for name in ("crossfit.npz", "crossfit.json")],
    f"prune {CELL} --policy true_labels --iteration 1": [f"{FIRST}/scores.npz", LABELS],
    f"cross-fit {CELL}": [f"{PREPARED}/features.npz", LABELS],
    f"guard {CELL}": [f"{INFLUENCE}1/predictions.npz"],
    f"scalability {DATA} --model logistic": ["affairs/scalability/features.npz"],
    f"scalability-table {CONFIG}": ["affairs/scalability/logistic/200/rows.json"],
    f"streamed {CONFIG}": ["affairs/scalability/features.npz"],
    f"single {CELL}": [f"{FIRST}/model.npz"],
    f"fidelity {CONFIG}": [f"{FIRST}/halves.npz", f"{FIRST}/single.npz"],
    f"sensitivity {CELL}": [f"{FIRST}/halves.npz"],
    f"fractions {CELL}": [f"{FIRST}/scores.npz", f"{FIRST}/predictions.npz"],
    f"trusted {CELL}": [f"{PREPARED}/features.npz", LABELS],
    f"concatenate fractions {CONFIG}": [f"{FIRST}/fractions.json"],
    f"concatenate trusted {CONFIG}": [f"{FIRST}/trusted.json"],
    "trusted-shares --results .": ["trusted.csv", "data.csv"],
    f"collect {CONFIG}": [
        f"{FIRST}/metrics.json",
        f"{FIRST}/influence.json",
        f"{PREPARED}/data.json",
        f"{FIRST}/crossfit.npz",
    ],
    "statistics --results .": ["metrics.csv"],
    "claims --claims claims.yaml --results .": ["claims.yaml"],
    "table main --results . --out tables": ["tests.csv"],
    "figure accuracy --results . --out figures": ["iterations.csv"],
    f"gallery {CONFIG} --out figures": [f"{FIRST}/scores.npz"],
    "report --results . --figures accuracy.png --out page.html": [
        "claims.json",
        "provenance.json",
        "data.csv",
        "costs.csv",
        "accuracy.png",
    ],
}
WRONG = ("missing", "folder", "empty", "text", "bytes", "pickled", "objects.npz", "array.npy", "cut.npz", "list.json",
         "deep.json", "twice.json", "scalars.json", "other.csv", "ragged.csv", "words.csv")  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The results of a small preset, and files that no command can use in wrong/."""
    path = tmp_path_factory.mktemp("results")
    write_preset(path, PRESET)
    before = os.getcwd()  # noqa: PTH109
    os.chdir(path)
    for command in (f"prepare {DATA}", f"prepare --scale {DATA}", f"noise {DATA} --noise 0.2",
                    f"cross-fit {DATA} --model logistic", f"refine {DATA} --model logistic", f"direction {CELL}",
                    f"project {CELL} --shard 1-of-2", f"project {CELL} --shard 2-of-2", f"halves {CELL}",
                    f"single {CELL}", f"sensitivity {CELL}", *(f"fractions {CELL[:-1]}{seed}" for seed in (0, 1)),
                    f"trusted {CELL}", f"concatenate trusted {CONFIG}", f"scalability {DATA} --model logistic",
                    f"collect {CONFIG}", "statistics --results .", "figure accuracy --results . --out .",
                    f"claims --claims {shlex.quote(str(REPOSITORY))}/config/claims.yaml --results ."):  # fmt: skip
        assert main(shlex.split(command)) == 0, command
    (path / "claims.yaml").write_text("C1: {}\n")
    wrong = path / "wrong"
    (wrong / "folder").mkdir(parents=True)
    (wrong / "empty").touch()
    (wrong / "text").write_text("not a result\nof any kind\n")
    (wrong / "bytes").write_bytes(bytes(range(256)))
    (wrong / "pickled").write_bytes(pickle.dumps({"a": 1}))
    names = ("labels", "labels_train", "flipped", "positions", "features_train", "influence", "kept", "losses")
    facts = '{"dataset": "affairs", "seed": 0, "modality": "table", "class_names": ["a", "b"]}'
    np.savez(wrong / "objects.npz", meta=facts, **{name: np.array([{"an": "object"}]) for name in names})
    np.save(wrong / "array.npy", np.arange(3))
    (wrong / "cut.npz").write_bytes((path / PREPARED / "features.npz").read_bytes()[:9000])
    (wrong / "list.json").write_text("[1, 2]")
    (wrong / "deep.json").write_text("[" * 2000)
    (wrong / "twice.json").write_text('{"metrics": 1, "metrics": 2}')
    (wrong / "scalars.json").write_text('{"row": 3, "rows": 3, "provenance": 3, "preset": 3, "claims": 3}')
    (wrong / "other.csv").write_text("a,b\n1,2\n")
    (wrong / "ragged.csv").write_text("label,s\n1,2,3\n")
    (wrong / "words.csv").write_text("dataset,model,policy,seed,iteration,label,noise,s\nx,x,x,x,x,x,x,x\n")
    yield path
    os.chdir(before)


def run(capsys, arguments):
    """The status of a command, and the last line that it says."""
    try:
        status = main(arguments)
    except SystemExit as stop:  # argparse's own way out
        status = stop.code
    lines = capsys.readouterr().err.splitlines()
    return status, lines[-1] if lines else ""


def refused(capsys, arguments):
    """What a command says of arguments that it must refuse."""
    status, line = run(capsys, arguments)
    assert status == 2, (arguments, line)
    assert line.startswith(f"datagradient {arguments[0]}: ")
    assert "allow_pickle" not in line and "unsafe" not in line
    return line


def state(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


class Replaced:
    """Another file in the place of one, until the end of the block."""

    def __init__(self, path, other):
        self.path, self.other, self.aside = path, other, path.with_name(f"{path.name}.aside")

    def __enter__(self):
        self.path.rename(self.aside)
        if self.other.is_dir():
            self.path.mkdir()
        elif self.other.exists():
            shutil.copy2(self.other, self.path)

    def __exit__(self, *_):
        if self.path.is_dir():
            self.path.rmdir()
        else:
            self.path.unlink(missing_ok=True)
        self.aside.rename(self.path)


@pytest.mark.parametrize("command", READS)
def test_a_wrong_file_is_refused_by_name_and_nothing_written(results, capsys, command):
    for file in READS[command]:
        for wrong in WRONG:
            with Replaced(results / file, results / "wrong" / wrong):
                before = state(results)
                line = refused(capsys, command.split())
                assert Path(file).name in line, line
                assert state(results) == before


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_configuration_is_refused_by_every_command(results, capsys, wrong):
    before = state(results)
    for command in (f"prepare {DATA}", f"refine {DATA} --model logistic", f"track {CONFIG}", f"mlflow-init {CONFIG}",
                    *(command for command in READS if "--config" in command)):  # fmt: skip
        assert wrong in refused(capsys, command.replace("config.json", f"wrong/{wrong}").split())
    assert state(results) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("train --config {c} --dataset adult", "config.json: has no dataset adult; it has affairs"),
        ("train --model neural", "config.json: has no model neural; it has logistic"),
        ("train --noise 0.1", "config.json: has no noise 0.1; it has 0.2"),
        ("train --seed 7", "config.json: has no seed 7; it has 0, 1"),
        ("train --seed -1", "--seed: -1 is not a whole number|expected one argument"),
        ("train --policy influence", "has no policy of iteration 0 influence; it has baseline"),
        ("train --iteration 1", "no policy of iteration 1 baseline; it has influence, gradient, confident, crossfit"),
        ("train --iteration 2 --policy influence", "config.json: has no iteration 2: the last is 1"),
        ("prune --iteration 0", "--iteration: 0 is the unrefined model, from which nothing is removed"),
        ("project --shard ²-of-3", "--shard: '?²-of-3'? is not like 1-of-4"),
    ],
)  # fmt: skip
def test_keys_that_the_preset_has_not_are_named(results, capsys, arguments, says):
    command, *values = arguments.format(c="config.json").split()
    before = state(results)
    line = refused(capsys, [command, *CELL.split(), *values])
    assert re.search(says, line.replace("argument --", "--")), line
    assert state(results) == before


def test_an_experiment_that_the_preset_does_not_ask_for_is_refused(results, capsys):
    config = json.loads((results / "config.json").read_text())
    (results / "wrong/none.json").write_text(json.dumps({**config, "streaming": None}))
    line = refused(capsys, ["streamed", "--config", "wrong/none.json"])
    assert "none.json: streaming is null: the preset asks for no such experiment" in line


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
FUZZ = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@FUZZ
@given(content=st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()))
@example(content=b"PK\x03\x04" + bytes(30))
@example(content=b"\x93NUMPY\x01\x00\x10\x00{'descr':'|O',}\n")
def test_any_content_of_a_file_is_refused(results, capsys, content):
    (results / "wrong/fuzz").write_bytes(content)
    for command in (f"evaluate {CELL}", f"prune {SECOND}", f"collect {CONFIG}", "statistics --results .",
                    f"prune {CELL} --policy confident --iteration 1", f"gather {CELL}"):  # fmt: skip
        with Replaced(results / READS[command][-1], results / "wrong/fuzz"):
            refused(capsys, command.split())
    refused(capsys, f"collect {CONFIG}".replace("config.json", "wrong/fuzz").split())


@FUZZ
@given(key=st.sampled_from(["seeds", "noise", "model_settings", "datasets", "policies", "iterations", "fidelity"]),
       value=VALUES)  # fmt: skip
def test_any_value_in_a_configuration_is_taken_or_refused(results, capsys, key, value):
    config = json.loads((results / "config.json").read_text())
    (results / "wrong/fuzz.json").write_text(json.dumps({**config, key: value}))
    for command in (f"noise {DATA} --noise 0.2", f"train {CELL}", f"scalability {DATA} --model logistic"):
        status, line = run(capsys, command.replace("config.json", "wrong/fuzz.json").split())
        assert status == 2, (value, line)  # a configuration that is legal has its data elsewhere


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (OSError(28, "No space left on device"), 2, "datagradient prune: No space left on device"),
        (OSError(13, "Permission denied", "there/x"), 2, "datagradient prune: there/x: Permission denied"),
        (MemoryError("800 GB"), 2, "datagradient prune: not enough memory (800 GB); take fewer samples"),
        (KeyboardInterrupt(), 130, "datagradient prune: interrupted"),
    ],
)
def test_what_happens_to_a_command_is_one_line(results, capsys, monkeypatch, error, status, says):
    def fail(*_):
        raise error

    monkeypatch.setattr("datagradient.pipeline.jobs.removals.choose", fail)
    found, line = run(capsys, f"prune {SECOND}".split())
    assert (found, line[: len(says)]) == (status, says)


def test_an_error_of_ours_is_not_hidden(results, monkeypatch):
    monkeypatch.setattr("datagradient.pipeline.jobs.removals.choose", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(f"prune {SECOND}".split())


def test_a_full_disk_leaves_the_file_that_was_there(results, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.savez", full)
    before = state(results)
    line = refused(capsys, f"prune {SECOND}".split())
    assert "iter-1/kept.npz: cannot be written (No space left on device)" in line
    assert state(results) == before


@pytest.mark.parametrize("arguments", ["--help", "train --help"])
def test_a_reader_that_has_had_enough_is_no_error(arguments):
    command = [sys.executable, "-c", "import sys; from datagradient.commands.main import main; "
                                     f"sys.exit(main({arguments.split()}))"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""


def test_the_help_lists_what_users_need_before_the_steps_of_the_workflow(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    yours, steps = text.index("your own data:"), text.index("steps of the workflow:")
    places = {name: text.index(f"\n  {name} ") for name in ("audit", "apply", "demo", "audit-part", "train", "readme")}
    assert all((yours < place < steps) == (name in ("audit", "apply", "demo")) for name, place in places.items())
    assert max(places.values()) < text.index("options:")


def test_characters_that_a_terminal_has_not_are_no_error():
    script = "from datagradient.commands import main as cli; cli._run = lambda _: print('−1'); cli.main(['demo'])"
    told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True,
                          env=os.environ | {"PYTHONIOENCODING": "ascii"})  # fmt: skip
    assert told.stdout == "?1\n"


def test_the_help_needs_nothing_heavy():
    script = "import sys, datagradient.commands.main as cli; cli.parser(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert not {"numpy", "pydantic", "yaml", "torch", "datagradient.pipeline.schema"} & set(loaded)


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["train", "--no-such"], ["noise", "a\nb"]])
def test_the_parser_says_it_in_one_line_too(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("datagradient") and error.count("\n") == 1
