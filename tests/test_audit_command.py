"""The command `audit`: its files and exit status, bad calls, interruptions and kills, the workflow, and MLflow."""

import contextlib
import io
import json
import multiprocessing
import os
import pickle
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import REPOSITORY, environment
from datagradient import audit
from datagradient.auditing import jobs, screen, setup, work
from datagradient.auditing.folder import LOCK, Place
from datagradient.auditing.request import FEWEST_ROWS, AuditOptions, Request
from datagradient.commands.main import main
from datagradient.data.readers import ReadOptions
from datagradient.errors import FileError, UserError
from datagradient.files.locks import locked_alone

FILES = ["plan.json", "report.html", "review.csv", "samples.parquet", "summary.json"]
SAME = ["plan.json", "review.csv", "samples.parquet"]  # byte for byte, however the audit was done
CALL = ["audit", "data.csv", "--target", "label", "--model", "logistic", "--folds", "2"]
# A command line that uses so many processors.
SCRIPT = ("import sys; from datagradient.auditing import work; work.cores = lambda: {}; "
          "from datagradient.commands.main import main; sys.exit(main(sys.argv[1:]))")  # fmt: skip
FORK = multiprocessing.get_context("fork")  # processes that have everything imported already


def made_up(n=240, seed=0, flipped=0.15):
    """A table with two numbers and a word; some labels are wrong."""
    chance = np.random.default_rng(seed)
    x = chance.normal(size=(n, 2))
    label = np.where((x.sum(axis=1) + 0.5 * chance.normal(size=n) > 0) ^ (chance.random(n) < flipped), "yes", "no")
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "word": chance.choice(["x", "y"], n), "label": label})


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with data; parts are done in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(work, "cores", lambda: 1)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made_up().to_csv("data.csv", index=False)
    return tmp_path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The files of an audit that nothing disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    made_up().to_csv(folder / "data.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(work, "cores", lambda: 1)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert main([*CALL, "--quiet"]) == 0
    return contents(folder / "data-audit")


def contents(folder):
    return {name: (folder / name).read_bytes() for name in SAME}


def called(capsys, *arguments):
    """The status of a call, its output, and its lines on standard error."""
    try:
        status = main(list(arguments))
    except SystemExit as stop:  # argparse's own way out
        status = stop.code
    output, errors = capsys.readouterr()
    return status, output, errors.splitlines()


def everything(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# What is called wrongly


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing.csv"], "nothing.csv"),
        ([], "give SOURCE"),
        (["data.csv", "--target", "labels"], "no column 'labels'.*did you mean 'label'"),
        (["data.csv", "--target", "label", "--model", "forest"], "--model forest: legal are auto, boosted, logistic"),
        (["data.csv", "--target", "label", "--folds", "1"], "--folds: 1 is not a whole number of at least 2"),
        (["data.csv", "--target", "label", "--fraction", "0.7"], "--fraction: 0.7 is not a number above 0"),
        (["data.csv", "--target", "label", "--time-limit", "soon"], "--time-limit: soon is not a number"),
        (["data.csv", "--target", "label", "--decimal", ";"], "--decimal is ';': give . or ,"),
        (["data.csv", "--target", "label", "--fail-if", "harm > 1"], "'harm > 1' is not like 'harmful > 0.05'"),
        (["data.csv", "--target", "label", "--device", "tpu"], "--device: invalid choice: 'tpu'"),
        (["data.csv", "--target", "label", "--validation", "no.csv"], "no.csv"),
        (["data.csv", "--target", "label", "--trusted", "no.csv"], "no.csv: not found; --trusted takes a review.csv"),
        (["data.csv", "--target", "label", "--trusted", "data.csv"], "data.csv: holds no 'row'"),
        (["data.csv", "--target", "label", "--overwrite", "--resume"], "--overwrite and --resume: give one of them"),
        (["data.csv", "--target", "label", "--resume"], "data-audit: --resume: no audit was begun here"),
        (["data.csv", "--target", "label", "--out", "data.csv"], "data.csv: is data.csv, which is never changed"),
        (["data.csv", "--target", "label", "--out", "data.csv/in"], "data.csv/in: is inside data.csv, which is never"),
        (["data.csv", "--target", "label", "--out", "other/mine.txt"], "other/mine.txt: is a file; give another --out"),
        (["data.csv", "--target", "label", "--out", "other/mine.txt/in"], "cannot be written .* is a file"),
        (["data.csv", "--target", "label", "--out", "other"], "other: holds mine.txt, which is not of an audit"),
        (["data.csv", "--target", "label", "--out", "other", "--overwrite"], "other: holds mine.txt"),
        (["data.csv", "--target", "label", "--workflow", "w", "--out", "o"], "--workflow: takes no --out"),
        (["data.csv", "--target", "label", "--workflow", "w", "--json"], "takes no --json; give it to --collect"),
        (["data.csv", "--target", "label", "--workflow", "w", "--resume"], "--workflow: takes no --resume"),
        (["--collect", "other", "--folds", "3"], "--collect: takes no --folds"),
        (["data.csv", "--collect", "other"], "--collect: takes no SOURCE"),
        (["--collect", "other"], "other: no audit was begun here"),
    ],
)
def test_a_wrong_call_is_one_line_and_writes_nothing(here, capsys, arguments, says):
    (here / "other").mkdir()
    (here / "other/mine.txt").write_text("mine")
    before = everything(here)
    status, output, lines = called(capsys, "audit", *arguments)
    assert (status, output) == (2, "")
    assert re.search(says, lines[-1].replace("argument --", "--")), lines
    assert lines[-1].startswith("datagradient audit: ")
    assert not [line for line in lines[:-1] if line.startswith("Traceback")]
    assert everything(here) == before


def test_a_label_that_is_no_class_leaves_no_folder(here, capsys):
    Path("review.csv").write_text("row,checked,drawn\n3,maybe,random\n")
    status, _, lines = called(capsys, *CALL, "--trusted", "review.csv")
    assert status == 2
    assert "review.csv, line 2: checked is 'maybe', and classes are 'no', 'yes'" in lines[-1]
    assert not Path("data-audit").exists()


def test_a_job_of_nothing_is_refused(capsys):
    Path("folder").mkdir()
    status, _, lines = called(capsys, "audit-part", "folder", "whole")
    assert (status, lines) == (2, ["datagradient audit-part: folder: no audit was begun here"])


# What it writes and says


def test_the_answer_goes_to_standard_output_and_the_rest_to_standard_error(capsys):
    status, output, lines = called(capsys, *CALL)
    assert status == 0
    assert sorted(path.name for path in Path("data-audit").iterdir()) == sorted([LOCK, "begun.json", "work", *FILES])
    assert "Contribution score" in output and "data-audit/report.html" in output
    assert lines[0].startswith("240 rows, 2 classes: no ")
    assert lines[-1].startswith("21 models trained in ")
    assert len(lines) < 8


def test_quiet_and_json(capsys, monkeypatch):
    do = work.do_part
    monkeypatch.setattr(work, "do_part", lambda *arguments: (print("noise", file=sys.stderr), do(*arguments)))
    status, output, lines = called(capsys, *CALL, "--quiet", "--json")
    summary = json.loads(output)
    assert (status, lines) == (0, [])
    assert summary == json.loads(Path("data-audit/summary.json").read_text())
    assert summary["options"]["folds"] == 2


@pytest.mark.parametrize(
    ("gates", "tripped"),
    [(["wrong > 0.01", "score < 2", "harmful > 1", "change<=1"], ["wrong", "score", "change"]), (["wrong > 0.9"], [])],
)
def test_gates(capsys, gates, tripped):
    status, output, lines = called(capsys, *CALL, *(word for gate in gates for word in ("--fail-if", gate)))
    said = [line.removeprefix("datagradient audit: --fail-if: ") for line in lines if "--fail-if" in line]
    assert [line.split()[0] for line in said] == tripped
    assert status == (1 if tripped else 0)
    assert output.index("% of the labels look wrong") < output.index("Contribution score")


def test_quiet_tells_why_a_gate_tripped(capsys):
    status, _, lines = called(capsys, *CALL, "--quiet", "--fail-if", "wrong > 0.01")
    assert (status, len(lines)) == (1, 1)
    assert re.fullmatch(r"datagradient audit: --fail-if: wrong is 0\.\d+, > 0\.01", lines[0])


def test_labels_written_into_the_review_outlive_the_command(capsys):
    assert called(capsys, *CALL)[0] == 0
    path = Path("data-audit/review.csv")
    written = pd.read_csv(path, dtype=str, keep_default_na=False)
    written.loc[[0, 5], "checked"] = ["YES", "?"]
    written.to_csv(path, index=False, sep=";", encoding="utf-8-sig", lineterminator="\r\n")  # as a spreadsheet does
    assert called(capsys, *CALL, "--resume")[0] == 0
    assert pd.read_csv(path, dtype=str, keep_default_na=False).equals(written)
    before = everything(Path("data-audit"))
    for more in ([], ["--trusted", str(path)]):
        status, _, lines = called(capsys, *CALL, "--overwrite", *more)
        assert status == 2
        assert f"row {written['row'][0]} was checked by hand, which would be lost: move" in lines[-1]
    assert everything(Path("data-audit")) == before
    path.rename("moved.csv")
    status, _, lines = called(capsys, *CALL, "--overwrite", "--trusted", "moved.csv")
    assert status == 0
    assert any(line.startswith("1 label was checked by hand, ") for line in lines)
    assert re.search("There (is 1|are 0) checked labels? of rows drawn at random, and 50 are needed", "\n".join(lines))
    # These labels are in the review that is given, though written in another way: nothing would be lost.
    Path("moved.csv").write_text(
        "\n".join(line for line in Path("moved.csv").read_text().splitlines() if "?" not in line)
    )
    assert called(capsys, *CALL, "--overwrite", "--trusted", "moved.csv")[0] == 0


@pytest.mark.parametrize("option", ["--validation", "--test"])
def test_more_data_that_are_the_audited_ones_are_refused(here, capsys, option):
    made_up().head(30).to_csv("more.csv", index=False)
    status, _, lines = called(capsys, *CALL, option, "more.csv")
    assert status == 2
    assert lines[-1] == (f"datagradient audit: {option} more.csv: all 30 rows are in the audited data, too, and cannot "
                         "be used: give rows that are not audited")  # fmt: skip
    assert not Path("data-audit").exists()


def test_few_trusted_labels_are_said(capsys):
    frame = made_up()
    frame.assign(right=np.where(frame.index < 7, "true", "")).to_csv("data.csv", index=False)
    lines = called(capsys, *CALL, "--trusted-column", "right")[2]
    assert "There are 7 checked labels, and 50 are needed for the other rows to be judged by them." in lines


def test_too_few_rows_are_an_answer_with_all_files_and_trip_every_gate(here, capsys):
    made_up(30).to_csv("data.csv", index=False)
    status, output, lines = called(capsys, *CALL, "--fail-if", "harmful > 0.9", "--fail-if", "score < 0")
    assert status == 1
    assert "Too few rows to say" in output
    assert [line.partition("--fail-if: ")[2][:20] for line in lines if "--fail-if" in line] == [
        "harmful is not known", "score is not known: "]  # fmt: skip
    assert all((Path("data-audit") / name).is_file() for name in FILES)
    assert called(capsys, *CALL, "--workflow", "flow")[0] == 0  # nothing to do: the outcome at once
    assert (here / "flow/summary.json").exists()
    assert called(capsys, "audit", "--collect", "flow")[0] == 0


def test_a_reader_that_has_had_enough_is_no_error():
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(1), *CALL], env=environment(), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        process.stdout.close()
        process.stderr.readline()
        process.stderr.close()  # progress, too, may be closed: the audit goes on
        assert process.wait() == 141
    assert Path("data-audit/summary.json").exists()


# How far it is


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_one_line_is_overwritten(monkeypatch):
    monkeypatch.setattr(screen, "OFTEN", 0.01)
    words = screen.Screen(Terminal())
    words("begun")
    with screen.Progress(words, 10, lambda: 0, 60):
        time.sleep(0.1)
    text = words.stream.getvalue()
    assert text.count("\n") == 2
    assert "\r\x1b[2K0 of 10 models trained, about 1 min 0 s left\r\x1b[2K" in text
    assert text.endswith("\r\x1b[2K10 models trained in 0 s.\n")


def test_elsewhere_there_is_a_line_now_and_then(monkeypatch):
    words = screen.Screen(io.StringIO())
    words.in_passing("reading")
    with screen.Progress(words, 10, lambda: 0, 60):
        time.sleep(0.1)  # less than the pause
    assert words.stream.getvalue() == "10 models trained in 0 s.\n"
    monkeypatch.setattr(screen, "PAUSE", 0.01)
    with screen.Progress(words, 10, lambda: 0, 60):
        time.sleep(0.1)
    assert words.stream.getvalue().count("\n0 of 10 models trained, about 1 min 0 s left\n") == 1


def test_the_time_left_is_counted_from_what_was_done_last():
    progress = screen.Progress(print, 10, lambda: 5)
    progress.start -= 100
    assert progress.words() == "5 of 10 models trained, about 1 min 40 s left"
    progress._seen = (5, progress.start + 90)
    assert progress.words() == "5 of 10 models trained, about 1 min 20 s left"


def test_a_closed_stream_ends_nothing():
    stream = io.StringIO()
    words = screen.Screen(stream)
    stream.close()
    assert words("said to nobody") is None


def test_the_first_words_wait_for_no_model():
    script = ("import sys, datagradient.auditing.beginning, datagradient.auditing.jobs, datagradient.data.readers; "
              "print(*sys.modules)")  # fmt: skip
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True,
                            env=environment()).stdout.split()  # fmt: skip
    heavy = {"sklearn", "scipy.stats", "torch", "xgboost", "mlflow", "matplotlib", "joblib", "jinja2"}
    assert not heavy & set(loaded)


# Interrupted, killed, resumed


def stop_after(monkeypatch, parts, number=signal.SIGINT):
    """Let a signal arrive when so many parts are done."""
    do, done = work.do_part, []

    def do_part(*arguments):
        if len(done) == parts:
            os.kill(os.getpid(), number)
        done.append(do(*arguments))

    monkeypatch.setattr(work, "do_part", do_part)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_audit_says_how_it_goes_on(capsys, monkeypatch, undisturbed, number):
    with monkeypatch.context() as patch:
        stop_after(patch, 2, number)
        status, output, lines = called(capsys, *CALL)
    assert (status, output) == (130, "")
    assert lines[-1] == ("datagradient audit: interrupted: what is finished is kept in data-audit; give the command "
                         "again with --resume")  # fmt: skip
    done = {path.name: path.stat().st_mtime_ns for path in Path("data-audit/work").iterdir()}
    assert len(done) == 3
    status, _, lines = called(capsys, *CALL, "--resume")
    assert status == 0
    assert done.items() <= {path.name: path.stat().st_mtime_ns for path in Path("data-audit/work").iterdir()}.items()
    assert contents(Path("data-audit")) == undisturbed
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interruption_before_anything_is_kept_says_no_more(capsys, monkeypatch):
    monkeypatch.setattr("datagradient.auditing.setup.look_at", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    status, _, lines = called(capsys, *CALL)
    assert (status, lines[-1]) == (130, "datagradient audit: interrupted")
    assert not Path("data-audit").exists()


def test_what_has_changed_since_is_refused(here, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        assert called(capsys, *CALL)[0] == 130
    before = everything(here / "data-audit")
    for arguments, says in (
        ([*CALL, "--resume", "--folds", "3"], "--resume: --folds was 2: give that again, or use --overwrite"),
        ([*CALL, "--resume", "--drop", "a"], "--resume: --drop was not given: leave it out"),
        ([*CALL, "--resume", "--validation", "data.csv"], "the validation has changed since this audit was begun"),
        ([*CALL], "data-audit: holds an audit; --resume goes on with it, --overwrite replaces it"),
    ):
        status, _, lines = called(capsys, *arguments)
        assert (status, says in lines[-1]) == (2, True), lines
    made_up(seed=1).to_csv("data.csv", index=False)
    status, _, lines = called(capsys, *CALL, "--resume")
    assert (status, "the data have changed since this audit was begun; use --overwrite" in lines[-1]) == (2, True)
    begun = here / "data-audit/begun.json"
    begun.write_text(begun.read_text().replace('"version": "', '"version": "0.0.'))
    status, _, lines = called(capsys, *CALL, "--resume")
    assert (status, "was begun by datagradient 0.0." in lines[-1]) == (2, True)
    assert {name: content for name, content in everything(here / "data-audit").items() if name != begun} == {
        name: content for name, content in before.items() if name != begun}  # fmt: skip
    assert called(capsys, *CALL, "--overwrite")[0] == 0


def test_of_two_audits_into_one_folder_the_second_is_refused(capsys, monkeypatch):
    with locked_alone(Path("data-audit") / LOCK, "held"):
        status, _, lines = called(capsys, *CALL)
        assert (status, lines[-1]) == (2, "datagradient audit: data-audit: another audit is at work there")
        assert not Path("data-audit/begun.json").exists()
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        assert called(capsys, *CALL)[0] == 130
    before = everything(Path("data-audit"))
    with locked_alone(Path("data-audit") / LOCK, "held"):
        for option in ("--resume", "--overwrite"):
            assert called(capsys, *CALL, option)[0] == 2
    assert everything(Path("data-audit")) == before


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_read(capsys, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    status, _, lines = called(capsys, *CALL)
    assert (status, len(lines)) == (2, 1)
    assert lines[0].startswith("datagradient audit: data-audit: cannot be written (")


@pytest.mark.parametrize("written", [1, 3])
def test_a_full_disk_is_one_line_and_the_audit_goes_on(capsys, monkeypatch, undisturbed, written):
    savez, calls = np.savez, []

    def full(*arguments, **keywords):
        calls.append(1)
        if len(calls) >= written:
            raise OSError(28, "No space left on device")
        return savez(*arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        status, _, lines = called(capsys, *CALL)
    assert status == 2
    assert re.fullmatch(r"datagradient audit: data-audit/work/\S+\.npz: cannot be written \(No space left on device\); "
                        "what is finished is kept: give the command again with --resume", lines[-1])  # fmt: skip
    assert called(capsys, *CALL, "--resume")[0] == 0
    assert contents(Path("data-audit")) == undisturbed


def test_an_error_about_a_file_comes_whole_out_of_another_process():
    error = pickle.loads(pickle.dumps(FileError("x/y.npz", "cannot be written")))  # noqa: S301, our own
    assert (str(error), error.path) == ("x/y.npz: cannot be written", Path("x/y.npz"))


def test_kills_at_any_moment_change_nothing(undisturbed):
    """Processes that were forked do all parts themselves; the moments are spread over such an audit."""
    start = time.monotonic()
    process = FORK.Process(target=main, args=([*CALL, "--quiet", "--json", "--out", "whole"],))
    process.start()
    process.join(60)
    usual, chance = time.monotonic() - start, random.Random(0)
    for k in range(int(os.environ.get("DATAGRADIENT_KILLS", "4"))):
        folder = Path(f"killed-{k}")
        call = [*CALL, "--quiet", "--json", "--out", str(folder)]
        while not (folder / "summary.json").exists():
            resume = ["--resume"] if (folder / "begun.json").exists() else []
            process = FORK.Process(target=main, args=([*call, *resume],))
            process.start()
            process.join(chance.uniform(0.1, 1.2) * usual)
            process.kill()
            process.join()
        assert contents(folder) == undisturbed
        assert main([*call, "--resume"]) == 0
        assert not list(folder.rglob("*.tmp"))
        assert contents(folder) == undisturbed


def group_of(leader):
    """The processes that were started by one, and it itself, as far as they have not moved away."""
    import psutil

    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_an_audit_that_is_stopped(here, number, undisturbed):
    """Ctrl-C goes to all processes, a kill to the main one; in both cases two others are at work."""
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(2), *CALL], env=environment(), start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        while process.poll() is None and not list(here.glob("data-audit/work/.*.trained")):
            time.sleep(0.02)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            os.kill(process.pid, number)
        _, errors = process.communicate()
    assert process.returncode == (130 if number == signal.SIGINT else -number), errors
    assert "Traceback" not in errors
    waited = time.monotonic() + 20
    while group_of(process.pid) and time.monotonic() < waited:
        time.sleep(0.1)
    assert not group_of(process.pid)
    assert main([*CALL, "--resume", "--quiet"]) == 0
    assert contents(here / "data-audit") == undisturbed


# From Python


def test_an_audit_from_python_goes_on_in_its_folder_with_the_same_data_only(monkeypatch, capsys):
    frame, options = made_up(), {"model": "logistic", "folds": 2, "folder": "kept"}
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            audit(frame, "label", **options)
    with pytest.raises(UserError, match="kept: the data have changed since this audit was begun"):
        audit(made_up(seed=1), "label", **options)
    capsys.readouterr()
    result = audit(frame, "label", **options)
    assert capsys.readouterr().err.splitlines()[-1].startswith("16 models trained in ")
    result.save("kept")
    with pytest.raises(UserError, match="handed over in Python"):
        jobs.collect(Path("kept"), print)


def test_an_unknown_model_is_refused():
    with pytest.raises(UserError, match="--model forest: legal are auto, boosted, logistic, neural"):
        AuditOptions(model="forest")


# As a workflow


def test_a_workflow_gives_the_same_bytes(here, capsys, undisturbed):
    status, output, lines = called(capsys, *CALL, "--workflow", "a 'flow' {x}")
    folder = here / "a 'flow' {x}"
    assert status == 0
    assert sorted(path.name for path in folder.iterdir()) == [LOCK, "begun.json", "work"]
    assert [path.name for path in (folder / "work").iterdir()] == ["choice.json"]
    assert json.loads((folder / "begun.json").read_text())["files"] == {"data": str(here / "data.csv")}
    assert any(line.startswith("Model: logistic") for line in lines)
    first, second = (line.strip() for line in output.splitlines()[1:])
    assert first.startswith("snakemake -s ")
    status, _, lines = called(capsys, "audit", "--collect", folder.name)
    assert (status, len(lines)) == (2, 1)
    assert "not done yet: whole, fold-1, fold-2; run: snakemake -s" in lines[0]
    (here / "elsewhere").mkdir()
    command = f"{shlex.quote(sys.executable)} -m {first}"
    done = subprocess.run(command, shell=True, cwd=here / "elsewhere", env=environment(), check=False,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    status, output, lines = called(capsys, "audit", "--collect", folder.name, "--fail-if", "wrong > 0.01")
    assert status == 1
    assert "Contribution score" in output
    assert contents(folder) == undisturbed
    assert second == "datagradient audit --collect 'a '\"'\"'flow'\"'\"' {x}'"


def test_a_job_refuses_what_it_cannot_do(here, capsys):
    assert called(capsys, *CALL, "--workflow", "flow")[0] == 0
    status, _, lines = called(capsys, "audit-part", "flow", "fold-3")
    assert (status, lines) == (2, ["datagradient audit-part: flow: has no part fold-3; it has whole, fold-1, fold-2"])
    assert called(capsys, "audit-part", "flow", "fold-2")[0] == 0
    made_up(seed=1).to_csv("data.csv", index=False)
    for arguments in (["audit-part", "flow", "whole"], ["audit", "--collect", "flow"]):
        status, _, lines = called(capsys, *arguments)
        assert (status, "flow: the data have changed since this audit was begun" in lines[-1]) == (2, True)
    (here / "data.csv").unlink()
    assert "data.csv" in called(capsys, "audit-part", "flow", "whole")[2][-1]


def test_a_limit_of_time_draws_the_same_rows_later(here, capsys):
    made_up(600).to_csv("data.csv", index=False)
    request = Request("data.csv", ReadOptions("label"), AuditOptions("logistic", 2, time_limit=1e-6))
    with Place("timed") as place:
        first = jobs.begin(request, place, lambda _: None)
    with Place("timed", resume=True) as place:
        again = jobs.begin(request, place, lambda _: None)
    assert first.max_rows == again.max_rows < 600
    assert first.seconds > setup.START  # what every audit takes is counted
    assert setup._rows_in_time(again.material, AuditOptions(time_limit=setup.START), again.choice)[0] == FEWEST_ROWS
    assert (first.material.places == again.material.places).all()


# In MLflow


def test_an_audit_is_a_run_where_there_is_a_store(here, capsys, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    address = f"sqlite:///{here}/store.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setattr("datagradient.auditing.tracked.LONGEST", 300.0)
    assert called(capsys, *CALL, "--quiet")[::2] == (0, [])
    client = mlflow.MlflowClient(address)
    (run,) = client.search_runs([client.get_experiment_by_name("Audits").experiment_id])
    summary = json.loads(Path("data-audit/summary.json").read_text())
    assert (run.info.run_name, run.info.status) == ("data.csv", "FINISHED")
    assert run.data.params["folds"] == "2" and run.data.params["target"] == "label"
    assert run.data.metrics["change.mean"] == summary["effect"]["change"]["mean"]
    assert run.data.metrics["rows.look"] == summary["decisions"]["look"]
    assert run.data.tags["verdict"] == summary["effect"]["verdict"]
    assert {file.path for file in client.list_artifacts(run.info.run_id)} >= set(FILES)


@pytest.mark.parametrize(("address", "says"), [("http://127.0.0.1:9", "127.0.0.1"), ("nonsense://x", "nonsense")])
def test_a_store_out_of_reach_is_a_line_and_no_error(capsys, monkeypatch, address, says):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # tests before may have set the replication's number
    monkeypatch.setattr("datagradient.auditing.tracked.LONGEST", 300.0)
    status, _, lines = called(capsys, *CALL)
    assert status == 0
    assert lines[-1].startswith("The audit is not in MLflow: ")
    assert re.search(says, lines[-1])


def test_a_store_that_does_not_answer_is_not_waited_for(capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr("datagradient.auditing.tracked.LONGEST", 0.05)
    monkeypatch.setattr("datagradient.auditing.tracked._log", lambda *_: time.sleep(1))
    status, _, lines = called(capsys, *CALL)
    assert status == 0
    assert lines[-1].endswith(": the store that MLFLOW_TRACKING_URI names did not answer within 0.05 s")


def test_without_an_address_no_store_is_made(here, capsys):
    assert called(capsys, *CALL)[0] == 0
    assert not [*here.rglob("*.db"), *here.rglob("mlruns")]


def test_the_rules_are_part_of_the_package():
    assert jobs.RULES.is_file()
    assert REPOSITORY / "src" in jobs.RULES.parents
