"""The output of a workflow run: one line of progress, and for each failed job its name and the reason.

Snakemake reports through the standard library's logging. `show` adds a handler to Snakemake's own, and a filter that
suppresses messages the line of progress replaces. Snakemake's log file below .snakemake/log still has everything.
"""

import contextlib
import logging
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

KEYS = ("dataset", "model", "noise", "policy", "seed", "iteration", "sizes", "kind")
CHATTER = ("Select jobs to execute", "Execute ", "Complete log", "Exiting because a job", "Shutting down", "Touching")
PAUSE = 10.0  # seconds between two lines if the output is not a terminal
LOG_LINES = 6  # last lines shown of a failed job's log


def show(preset: str, jobs: Iterable[Any], tick: Callable[[], None], quiet: Collection[Any]) -> None:
    """Show the progress of the jobs that are about to run on standard error, instead of Snakemake's own messages.

    Args:
        preset: the name at the beginning of the line.
        jobs: Snakemake's jobs.
        tick: called whenever a job is done.
        quiet: Snakemake's option --quiet; with ``progress``, Snakemake reports no progress, and we show none.
    """
    from snakemake.logging import logger
    from snakemake.settings.enums import Quietness

    for handler in logger.handlers:
        if handler.name == "DefaultStreamHandler":
            handler.addFilter(_is_news)
    if Quietness.ALL not in quiet:
        shows_line = Quietness.PROGRESS not in quiet
        logger.addHandler(Progress(preset, Counter(job.rule.name for job in jobs), tick, sys.stderr, shows_line))


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether a message of Snakemake adds to the line of progress."""
    event, failed_command = getattr(record, "event", None), getattr(record, "exception", "")
    if event is not None:
        return event == "error" and failed_command not in ("RuleException", "CalledProcessError")
    return record.levelno >= logging.WARNING or not str(record.msg).strip().startswith(CHATTER)


class Progress(logging.Handler):
    """Turns Snakemake's events into one line: jobs done of all, time left, and what runs.

    On a terminal the line is overwritten; elsewhere a new line appears at most every `PAUSE` seconds.
    """

    def __init__(
        self, preset: str, rules: Counter[str], tick: Callable[[], None], stream: TextIO, shows_line: bool = True
    ):
        super().__init__()
        self.preset, self.waiting, self.tick, self.stream = preset, rules, tick, stream
        self.total, self.completed, self.failed = rules.total(), 0, 0
        self.running: dict[int, tuple[str, str, float]] = {}
        self.spent: dict[str, list[float]] = defaultdict(list)
        self.start, self.last_line = time.monotonic(), -PAUSE
        self.shows_line = shows_line
        self.is_terminal = stream.isatty()

    def emit(self, record: logging.LogRecord) -> None:
        """Handle one event."""
        event = getattr(record, "event", None)
        try:
            if event == "job_info":
                self.running[record.jobid] = (record.rule_name, describe(record.__dict__), time.monotonic())
                self._say()
            elif event == "job_finished":
                self._finish(record.job_id)
            elif event == "job_error":
                self._fail(record.__dict__)
        except Exception:
            self.handleError(record)

    def seconds_left(self) -> float | None:
        """Return an estimate of the remaining time from finished jobs of the same rules; None at first."""
        finished = [seconds for of_rule in self.spent.values() for seconds in of_rule]
        if not finished:
            return None
        usual = sum(finished) / len(finished)
        now = time.monotonic()
        rest = sum(number * self._mean(rule, usual) for rule, number in self.waiting.items())
        rest -= sum(min(now - begun, self._mean(rule, usual)) for rule, _, begun in self.running.values())
        at_once = max(1.0, sum(finished) / max(now - self.start, 1e-9))
        return max(rest, 0.0) / at_once

    def _mean(self, rule: str, usual: float) -> float:
        seconds = self.spent.get(rule)
        return sum(seconds) / len(seconds) if seconds else usual

    def _finish(self, jobid: int) -> None:
        rule, _, begun = self.running.pop(jobid, ("", "", time.monotonic()))
        self.completed += 1
        if rule:
            self.waiting[rule] -= 1
            self.spent[rule].append(time.monotonic() - begun)
        self.tick()
        self._say(last=self.completed + self.failed == self.total)

    def _fail(self, job: dict) -> None:
        rule, what, _ = self.running.pop(job["jobid"], ("", job["rule_name"], 0.0))
        if rule:
            self.waiting[rule] -= 1
        self.failed += 1
        self._write(f"failed: {what}{_end_of_log(job['log'])}", over=False)

    def _say(self, last: bool = False) -> None:
        now = time.monotonic()
        if not self.shows_line or not (last or self.is_terminal or now - self.last_line >= PAUSE):
            return
        self.last_line, left = now, self.seconds_left()
        parts = [f"{self.preset}: {self.completed} of {self.total} jobs done"]
        if self.failed:
            parts.append(f"{self.failed} failed")
        if left is not None and self.completed < self.total:
            parts.append(f"about {duration(left)} left")
        if self.running:
            parts.append("running: " + "; ".join(what for _, what, _ in self.running.values()))
        self._write(", ".join(parts), over=self.is_terminal and not last)

    def _write(self, text: str, over: bool) -> None:
        clear = "\r\x1b[2K" if self.is_terminal else ""
        self.stream.write(f"{clear}{text[: _width(self.stream)] if over else text}" + ("" if over else "\n"))
        self.stream.flush()


def describe(job: dict) -> str:
    """Return a job's rule and keys in words: ``train adult neural, noise 0.2, iteration 1``."""
    wildcards = job.get("wildcards") or {}
    named = [str(wildcards[key]) for key in ("dataset", "model") if key in wildcards]
    others = [f"{key} {wildcards[key]}" for key in KEYS[2:] if key in wildcards]
    return ", ".join([" ".join([job["rule_name"], *named]), *others])


def duration(seconds: float) -> str:
    """Return a time in words, e.g. ``3 min 20 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _end_of_log(logs: list[str]) -> str:
    """Return the last lines of a job's logs, each below the log's name."""
    text = ""
    for log in logs:
        try:
            lines = Path(log).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        text += f" ({log}):" + "".join(f"\n    {line}" for line in lines[-LOG_LINES:])
    return text or ": it left no log; its program could not be started or was killed"


def _width(stream: TextIO) -> int:
    import os

    try:
        return os.get_terminal_size(stream.fileno()).columns - 1
    except (OSError, ValueError):
        return 119


@contextlib.contextmanager
def progress(what: str) -> Iterator[None]:
    """Report on standard error what runs, and how long it took."""
    print(f"{what} …", end=" ", file=sys.stderr, flush=True)
    start, end = time.perf_counter(), "failed"
    try:
        yield
        end = f"{time.perf_counter() - start:.2f} s"
    finally:
        print(end, file=sys.stderr, flush=True)
