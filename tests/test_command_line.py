"""Whatever is given to a command: it works, or says in one line what is wrong, ends with 2 and writes nothing."""

import json
import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from datagradient.cli import main

LOGISTIC = '{"l2": 0.001, "tolerance": 1e-4, "max_iterations": 1000}'
MODEL = ["--model", "logistic"]
OF_DATA = ["--data", "features.npz", "--labels", "labels.npz"]
OF_MODEL = [*MODEL, "--model-file", "model.npz", *OF_DATA]
TRAINED = [*MODEL, "--settings", LOGISTIC]
STREAM = '{"trained_on": 200, "chunk": 100, "sizes": [200]}'
# Command -> what it takes but for --out; every file is one that the fixture makes, or of a kind that is refused.
COMMANDS = {
    "noise": ["--data", "features.npz", "--rate", "0.2"],
    "train": [*TRAINED, *OF_DATA, "--kept", "kept.npz"],
    "evaluate": ["--predictions", "predictions.npz"],
    "influence": [*OF_MODEL, "--kept", "kept.npz"],
    "direction": OF_MODEL,
    "project": [*OF_MODEL, "--direction", "direction.npz", "--shard", "1-of-1"],
    "gather": ["--direction", "direction.npz", "--shards", "shard.npz"],
    "prune": ["--scores", "scores.npz", "--fraction", "0.05", "--iteration", "1"],
    "control": ["--policy", "confident", "--scores", "scores.npz", "--like", "removed.csv", "--quality", "quality.npz",
                "--iteration", "1"],
    "cross-validate": [*TRAINED, *OF_DATA],
    "guard": ["--predictions", "predictions.npz", "predictions.npz"],
    "scalability": [*TRAINED, "--data", "features.npz", "--n", "200"],
    "scalability-table": ["--rows", "metrics.json"],
    "streamed": [*TRAINED, "--data", "features.npz", "--plan", STREAM],
    "halves": [*TRAINED, *OF_DATA, "--count", "2"],
    "single": [*TRAINED, *OF_MODEL[2:], "--count", "2", "--initialisations", "1"],
    "fidelity": ["--config", "metrics.json"],
    "sensitivity": [*OF_MODEL, "--noise", "0.2", "--halves", "labels.npz", "--removed", "0.05"],
    "fractions": [*TRAINED, *OF_MODEL[2:], "--noise", "0.2", "--scores", "scores.npz", "--predictions",
                  "predictions.npz", "--fractions", "0.1"],
    "concatenate": ["sensitivity", "--rows", "metrics.json"],
    "collect": ["--config", "metrics.json"],
    "statistics": ["--metrics", "removed.csv"],
    "orchestration": ["--metrics", "removed.csv", "--jobs", "removed.csv", "--cores", "1"],
    "claims": ["--claims", "metrics.json", "--results", "."],
    "track": ["--config", "metrics.json", "--dataset", "affairs", "--model", "logistic"],
    "table": ["main", "--results", "."],
    "figure": ["accuracy", "--results", "."],
    "readme": ["--readme", "removed.csv", "--results", "."],
    "gallery": ["--scores", "scores.npz", "--data", "features.npz"],
}  # fmt: skip
WITHOUT_OUT = {"fidelity", "collect", "statistics", "track", "readme"}
FILES = {"--data", "--labels", "--kept", "--model-file", "--predictions", "--direction", "--shards",
         "--scores", "--like", "--quality", "--rows", "--halves", "--config", "--metrics", "--jobs",
         "--claims", "--readme"}  # fmt: skip
WRONG = ("missing", "folder", "empty", "text", "bytes", "pickled", "objects.npz", "array.npy", "cut.npz", "list.json",
         "deep.json", "twice.json", "scalars.json", "other.csv", "ragged.csv", "words.csv", "features.npz",
         "labels.npz", "metrics.json", "removed.csv")  # fmt: skip
# Commands that read each kind of file; the others read them by the same functions, and a few files will do.
THOROUGH = {"train", "gather", "control", "claims", "statistics", "collect", "orchestration", "concatenate"}
FEW = ("missing", "text", "objects.npz", "other.csv", "features.npz", "labels.npz", "metrics.json")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the results of one small model, and files that no command can use."""
    path = tmp_path_factory.mktemp("results")
    before = os.getcwd()  # noqa: PTH109
    os.chdir(path)
    assert main(["prepare", "--dataset", "affairs", "--seed", "0", "--out", "features.npz"]) == 0
    for command, out in {
        "noise": "labels.npz", "cross-validate": "quality.npz", "train": "model.npz", "evaluate": "metrics.json",
        "influence": "scores.npz", "direction": "direction.npz", "project": "shard.npz", "prune": "kept.npz",
    }.items():  # fmt: skip
        given = [word for word in COMMANDS[command] if word not in ("--kept", "kept.npz")]
        assert main([command, *given, "--out", out]) == 0
    (path / "folder").mkdir()
    (path / "empty").touch()
    (path / "text").write_text("not a result\nof any kind\n")
    (path / "bytes").write_bytes(bytes(range(256)))
    (path / "pickled").write_bytes(pickle.dumps({"a": 1}))
    names = ("labels", "labels_train", "flipped", "positions", "features_train", "influence", "kept", "losses")
    facts = '{"dataset": "affairs", "seed": 0, "modality": "table", "class_names": ["a", "b"]}'
    np.savez(path / "objects.npz", meta=facts, **{name: np.array([{"an": "object"}]) for name in names})
    np.save(path / "array.npy", np.arange(3))
    (path / "cut.npz").write_bytes((path / "features.npz").read_bytes()[:9000])
    (path / "list.json").write_text("[1, 2]")
    (path / "deep.json").write_text("[" * 2000)
    (path / "twice.json").write_text('{"metrics": 1, "metrics": 2}')
    (path / "scalars.json").write_text('{"row": 3, "rows": 3, "provenance": 3, "preset": 3, "claims": 3}')
    (path / "other.csv").write_text("a,b\n1,2\n")
    (path / "ragged.csv").write_text("label,s\n1,2,3\n")
    (path / "words.csv").write_text("dataset,model,policy,seed,iteration,label,noise,s\nx,x,x,x,x,x,x,x\n")
    yield path
    os.chdir(before)


def run(command, capsys, *arguments):
    """The status of a command, and the last line that it says."""
    try:
        status = main([command, *arguments])
    except SystemExit as stop:  # argparse's own way out
        status = stop.code
    lines = capsys.readouterr().err.splitlines()
    return status, lines[-1] if lines else ""


def refused(command, capsys, *arguments):
    """What a command says of arguments that it must refuse."""
    status, line = run(command, capsys, *arguments)
    assert status == 2, (command, arguments, line)
    assert line.startswith(f"datagradient {command}: ")
    assert "allow_pickle" not in line and "unsafe" not in line
    return line


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_file_is_refused_by_name_and_nothing_written(folder, capsys, command):
    arguments = COMMANDS[command]
    out = [] if command in WITHOUT_OUT else ["--out", "out/result.npz"]
    before = sorted(folder.rglob("*"))
    for place in (i + 1 for i, word in enumerate(arguments) if word in FILES):
        for wrong in [name for name in (WRONG if command in THOROUGH else FEW) if name != arguments[place]]:
            given = [*arguments[:place], wrong, *arguments[place + 1 :]]
            refused(command, capsys, *given, *out)
            assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("train --data labels.npz", "labels.npz: holds no 'modality', but .*; --data takes features.npz that"),
        ("train --labels features.npz", "features.npz: holds no 'labels', but .*; --labels takes labels.npz"),
        ("train --data text", r"text: cannot be read \(no .npz file of plain arrays\); --data takes features.npz"),
        ("train --data folder", "folder: is a folder, and a file is needed; --data takes"),
        ("train --data missing", "missing: not found; --data takes features.npz"),
        ("train --data array.npy", "array.npy: holds one array, and an .npz file of several is needed"),
        ("evaluate --predictions scores.npz", "scores.npz: holds no 'probabilities_.*', but positions, labels"),
        ("statistics --metrics removed.csv", "removed.csv: holds no 'dataset', but position, label, "),
        ("control --like words.csv", "words.csv: line 2, column label: 'x' is not a whole number"),
        ("control --like ragged.csv", "ragged.csv: line 2: 3 cells, and the header has 2 columns"),
        ("collect --config list.json", r"list.json: holds \[1, 2\], and not a mapping"),
        ("collect --config twice.json", "twice.json: cannot be read .*the key 'metrics' stands twice"),
        ("collect --config scalars.json", "scalars.json: preset: 3 is not a text"),
        ("claims --claims bytes", "bytes: byte 128 is not UTF-8"),
        ("prune --iteration 0", "--iteration: 0 is not a whole number of at least 1"),
        ("prune --iteration -1", "--iteration: "),
        ("prune --fraction nan", r"--fraction: nan is not a number in \(0, 1\)"),
        ("noise --rate -0.0", r"--rate: "),
        ("streamed --plan {}", "--plan: .*: missing"),
        ("halves --count 99999999999999999999999", "--count: 99999999999999999999999 is not a whole number"),
        ("project --shard ²-of-3", "--shard: '²-of-3' is not like 1-of-4|--shard: ²-of-3 is not like 1-of-4"),
        ("evaluate --out folder", "--out: folder is a folder; give a file"),
        ("evaluate --out text/a.json", "--out: text/a.json cannot be written: .*text is no folder"),
        ("guard --out a a", "--out: a stands twice"),
        ("noise --out a b", "--data has 1 values, --out has 2: give one for each"),
    ],
)  # fmt: skip
def test_mistakes_are_named(folder, capsys, arguments, says):
    command, option, *values = arguments.split()
    given = [*COMMANDS[command], *([] if command in WITHOUT_OUT or option == "--out" else ["--out", "new/result"])]
    line = refused(command, capsys, *given, option, *values)
    assert re.search(says, line.replace("argument --", "--")), line
    assert not (folder / "new").exists()


@pytest.mark.parametrize("seed", ["-1", "1.5", "4294967296", "1e3", "²", ""])
def test_a_seed_is_a_whole_number(folder, capsys, seed):
    assert "whole number" in refused("prepare", capsys, "--dataset", "affairs", f"--seed={seed}", "--out", "x")


@pytest.mark.parametrize(
    ("option", "text", "says"),
    [
        ("--settings", "NaN", "'NaN' is not JSON .NaN is not a number"),
        ("--settings", '{"l2": Infinity}', "Infinity is not a number"),
        ("--settings", '{"l2": 1, "l2": 2}', "the key 'l2' stands twice"),
        (
            "--settings",
            '{"l2": "1", "tolerance": 1, "max_iterations": 1}',
            "l2: '1' is not a number .* write 1$",
        ),
        ("--settings", '{"l2": 1, "tolerance": 1, "max_iterations": 1.0}', "max_iterations: 1.0 is not a whole number"),
        ("--settings", '{"l2": {"a": 1}, "tolerance": 1, "max_iterations": 1}', "l2: {'a': 1} is not a number above 0"),
        ("--settings", "{}", "l2: missing; needed are l2, tolerance, max_iterations"),
        ("--settings", "", "'' is not JSON"),
        ("--settings", "[" * 100_000, "is not JSON .nested too deeply"),
        ("--settings", '{"l2": 1' + "0" * 5000 + "}", "is not JSON"),
        ("--solver", '{"name": "lu"}', "name: 'lu' is not one of cg, explicit, lissa, ekfac"),
        ("--solver", '{"damping": -1}', "damping: -1 is not a number of at least 0"),
        ("--solver", '{"damping": true}', "damping: True is not a number of at least 0"),
        ("--solver", '{"text": {"samples": 2.5}}', "text.samples: 2.5 is not a whole number of at least 1, or null"),
        ("--solver", '{"text": {"table": {}}}', "text.table: unknown; legal: name, damping"),
        ("--solver", '{"name": "explicit", "max_iterations": 3}', "explicit: no option max_iterations"),
        ("--plan", '{"test": 1}', r"test: 1 is not a number in \(0, 1\)"),
        ("--plan", '{"influence": 0.5, "selection": 0.5}', "the shares .* leave nothing to train on"),
        ("--plan", '{"max_test": 5}', "max_test: 5 is not a whole number of at least 100, or null"),
    ],
)
def test_json_options_are_typed(folder, capsys, option, text, says):
    command = {"--settings": "train", "--solver": "influence", "--plan": "prepare"}[option]
    given = list(COMMANDS.get(command, ["--dataset", "affairs", "--seed", "0"]))
    if "--kept" in given:  # the model was trained on the whole training part
        del given[given.index("--kept") : given.index("--kept") + 2]
    assert re.search(says, refused(command, capsys, *given, option, text, "--out", "new/x")), says
    assert not (folder / "new").exists()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(
    ["name", "damping", "samples", "table", "l2", "tolerance", "max_iterations", "test", "influence"]
)
FUZZ = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@FUZZ
@given(
    option=st.sampled_from(["--settings", "--solver", "--plan"]),
    text=st.text(max_size=20) | st.dictionaries(KEYS, VALUES, max_size=4).map(json.dumps) | VALUES.map(json.dumps),
)
def test_any_text_for_an_option_is_taken_or_refused(folder, capsys, option, text):
    command = {"--settings": "train", "--solver": "influence", "--plan": "prepare"}[option]
    given = COMMANDS.get(command, ["--dataset", "affairs", "--seed", "0"])
    given = [word if word not in ("features.npz", "model.npz") else "missing" for word in given]
    status, line = run(command, capsys, *given, f"{option}={text}", "--out", "taken/x")
    assert status == 2 or command == "prepare", line
    assert line.startswith(f"datagradient {command}: ") or status == 0


@FUZZ
@given(content=st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()))
@example(content=b"PK\x03\x04" + bytes(30))
@example(content=b"\x93NUMPY\x01\x00\x10\x00{'descr':'|O',}\n")
def test_any_content_of_a_file_is_refused(folder, capsys, content):
    (folder / "fuzz.bin").write_bytes(content)
    for command, option in {"evaluate": "--predictions", "prune": "--scores", "collect": "--config",
                            "statistics": "--metrics", "control": "--like", "gather": "--shards"}.items():  # fmt: skip
        out = [] if command in WITHOUT_OUT else ["--out", "fuzz/x"]
        refused(command, capsys, *COMMANDS[command], option, "fuzz.bin", *out)
    assert not (folder / "fuzz").exists()


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (OSError(28, "No space left on device"), 2, "datagradient prune: No space left on device"),
        (OSError(13, "Permission denied", "there/x"), 2, "datagradient prune: there/x: Permission denied"),
        (MemoryError("800 GB"), 2, "datagradient prune: not enough memory (800 GB); take fewer samples"),
        (KeyboardInterrupt(), 130, "datagradient prune: interrupted"),
    ],
)
def test_what_happens_to_a_command_is_one_line(folder, capsys, monkeypatch, error, status, says):
    def fail(*_):
        raise error

    monkeypatch.setattr("datagradient.refine.by_influence", fail)
    found, line = run("prune", capsys, *COMMANDS["prune"], "--out", "new/kept.npz")
    assert (found, line[: len(says)]) == (status, says)


def test_an_error_of_ours_is_not_hidden(folder, monkeypatch):
    monkeypatch.setattr("datagradient.refine.by_influence", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["prune", *COMMANDS["prune"], "--out", "new/kept.npz"])


def test_a_full_disk_leaves_nothing(folder, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.savez", full)
    line = refused("prune", capsys, *COMMANDS["prune"], "--out", "full/kept.npz")
    assert "full/kept.npz: cannot be written (No space left on device)" in line
    assert not list((folder / "full").iterdir())


@pytest.mark.parametrize("arguments", ["--help", "train --help"])
def test_a_reader_that_has_had_enough_is_no_error(arguments):
    command = [sys.executable, "-c", "import sys; from datagradient.cli import main; "
                                     f"sys.exit(main({arguments.split()}))"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""


def test_the_help_needs_nothing_heavy():
    script = "import sys, datagradient.cli as cli; cli.parser(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert not {"numpy", "pydantic", "yaml", "torch", "datagradient.schema"} & set(loaded)


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["train", "--no-such"], ["noise", "a\nb"]])
def test_the_parser_says_it_in_one_line_too(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("datagradient") and error.count("\n") == 1
