"""The line of progress: what it says, when, and of a job that failed why."""

import io
import logging
from collections import Counter

import pytest

from conftest import REPOSITORY
from datagradient.files import read_json, read_rows, write_json, write_rows
from datagradient.pipeline import orchestration, progress
from datagradient.pipeline.progress import Progress, duration
from datagradient.report import tables


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    return clock


def record(event, message="", level=logging.INFO, **facts):
    entry = logging.LogRecord("snakemake", level, "", 0, message, (), None)
    entry.__dict__.update(event=event, **facts)
    return entry


def begin(handler, jobid, rule, **wildcards):
    handler.emit(record("job_info", jobid=jobid, rule_name=rule, wildcards=wildcards))


def test_the_line_says_what_is_done_what_runs_and_how_long_the_rest_takes(clock):
    stream, ticks = io.StringIO(), []
    handler = Progress("mine", Counter(train=3, prune=1), lambda: ticks.append(clock.now), stream)
    begin(handler, 1, "train", dataset="adult", model="neural", noise="0.2", iteration="2")
    clock.now = 20
    handler.emit(record("job_finished", job_id=1))
    clock.now = 40
    begin(handler, 2, "prune")
    handler.emit(record("job_finished", job_id=2))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "mine: 0 of 4 jobs done, running: train adult neural, noise 0.2, iteration 2"
    # Two of train at 20 s are left, and one of prune, of which nothing is known but that jobs take 20 s.
    assert lines[1] == "mine: 1 of 4 jobs done, about 1 min 0 s left"
    assert lines[2:] == ["mine: 1 of 4 jobs done, about 1 min 0 s left, running: prune"]
    assert handler.seconds_left() == 40
    assert ticks == [20, 40]


def test_elsewhere_than_on_a_terminal_lines_are_few_and_the_last_is_said(clock):
    stream = io.StringIO()
    handler = Progress("mine", Counter(train=100), lambda: None, stream)
    for job in range(100):
        begin(handler, job, "train")
        clock.now += 1
        handler.emit(record("job_finished", job_id=job))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 11
    assert lines[-1] == "mine: 100 of 100 jobs done"


def test_on_a_terminal_the_line_is_written_over(clock):
    stream = io.StringIO()
    stream.isatty = lambda: True
    handler = Progress("mine", Counter(train=2), lambda: None, stream)
    begin(handler, 1, "train")
    begin(handler, 2, "train")
    assert "\n" not in stream.getvalue()
    assert stream.getvalue().count("\r\x1b[2K") == 2


@pytest.mark.parametrize(("lines", "shown"), [(3, ["1", "2", "3"]), (20, [str(k) for k in range(15, 21)])])
def test_a_failure_shows_the_job_and_the_end_of_its_log(clock, tmp_path, lines, shown):
    log = tmp_path / "train.log"
    log.write_text("\n".join(map(str, range(1, lines + 1))))
    stream = io.StringIO()
    handler = Progress("mine", Counter(train=1), lambda: None, stream)
    begin(handler, 1, "train", dataset="adult", seed="0")
    failure = record("job_error", level=logging.ERROR, jobid=1, rule_name="train", log=[str(log)], shellcmd="x" * 9999)
    handler.emit(failure)
    assert stream.getvalue().splitlines()[1:] == [f"failed: train adult, seed 0 ({log}):", *(f"    {k}" for k in shown)]


def test_a_failure_without_a_log_says_so(clock):
    stream = io.StringIO()
    handler = Progress("mine", Counter(train=1), lambda: None, stream)
    begin(handler, 1, "train")
    handler.emit(record("job_error", jobid=1, rule_name="train", log=["/nowhere"]))
    assert "failed: train: it left no log" in stream.getvalue()


def test_of_snakemakes_own_messages_only_news_pass():
    news = [record("error", "no such rule", logging.ERROR, exception="WorkflowError"),
            record(None, "a warning", logging.WARNING), record(None, "Elapsed time: 1")]  # fmt: skip
    chatter = [record(None, "Select jobs to execute..."), record("job_started", "Execute 1 jobs..."),
               record("error", "Command 'set -euo pipefail; …", logging.ERROR, exception="CalledProcessError"),
               record("job_error", "Error in rule train", logging.ERROR), record("progress")]  # fmt: skip
    assert all(map(progress._is_news, news))
    assert not any(map(progress._is_news, chatter))


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (61, "1 min 1 s"),
                                                (7260, "2 h 1 min")])  # fmt: skip
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


def test_orchestration_by_hand(tmp_path):
    """Two runs of two cores, 100 s and, with the report, 50 s; 30 + 6 + 3 + 9 s of them are training and so on."""
    columns = ["policy", "train_seconds", "predict_seconds", "influence_seconds", "other_scores_seconds"]
    values = [("influence", 10, 1, 2, 1), ("loss", 20, 2, 4, 2), ("guarded", 99, 99, 99, 99)]
    write_rows(tmp_path / "metrics.csv", columns, [dict(zip(columns, row, strict=True)) for row in values])
    write_json(tmp_path / "a/crossfit.json", {"seconds": {"fit": 4.0, "score": 2.0}})
    (tmp_path / "workflow.html").touch()
    end = (tmp_path / "workflow.html").stat().st_mtime
    runs = [{"started": 0.0, "finished": 100.0, "cores": 2}, {"started": end - 50, "finished": end - 10, "cores": 2}]
    write_json(tmp_path / "clock.json", {"runs": runs})
    orchestration.write_orchestration(tmp_path)
    (row,) = read_rows(tmp_path / "orchestration.csv")
    assert float(row["wall_seconds"]) == pytest.approx(150)
    assert [float(row[f"{name}_seconds"]) for name in ("fit", "cross_validation", "predict", "score")] == [30, 6, 3, 9]
    assert float(row["outside_share"]) == pytest.approx(1 - 48 / 300)


@pytest.mark.parametrize("preset", ["cpu", "seeds"])
def test_the_time_of_committed_runs_can_be_tabulated(preset):
    (row,) = tables.orchestration(REPOSITORY / "results" / preset)
    assert {"Training [s]", "Folds [s]"} <= row.keys()


def test_the_clock_goes_on_after_a_run_that_was_killed_and_after_a_damaged_file(tmp_path):
    first = orchestration.Clock(tmp_path / "clock.json", 100.0, 2)
    first.tick()
    orchestration.Clock(tmp_path / "clock.json", 200.0, 2)
    runs = read_json(tmp_path / "clock.json")["runs"]
    assert [run["started"] for run in runs] == [100.0, 200.0]
    (tmp_path / "clock.json").write_text("{")
    orchestration.Clock(tmp_path / "clock.json", 300.0, 2)
    assert [run["started"] for run in read_json(tmp_path / "clock.json")["runs"]] == [300.0]
