"""Words of an audit on standard error: lines, and how far the work is."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

from datagradient.pipeline.progress import PAUSE, duration

OFTEN = 0.5  # seconds between two looks at the work, on a terminal


class Screen:
    """Where words go: a line each; what is said in passing is overwritten on a terminal, and left out elsewhere.

    A stream that is closed, by a pager or `head`, ends no audit.
    """

    def __init__(self, stream: TextIO | None = None):
        self.stream = sys.stderr if stream is None else stream
        self.is_terminal = self.stream.isatty()

    def __call__(self, line: str) -> None:
        """Write a line that stays."""
        self._write(f"{line}\n")

    def in_passing(self, line: str) -> None:
        """Write a line that the next one overwrites."""
        if self.is_terminal:
            self._write(line[: self._width()])

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.stream.write(("\r\x1b[2K" if self.is_terminal else "") + text)
            self.stream.flush()

    def _width(self) -> int:
        try:
            columns = os.get_terminal_size(self.stream.fileno()).columns
        except (OSError, ValueError):
            columns = 0
        return (columns or 80) - 1  # some terminals do not know


class Progress:
    """How far the work is, as long as the block lasts.

    On a terminal one line is overwritten; elsewhere a line is written if there is something new, at most every `PAUSE`
    seconds. A function that takes words is called whenever `tell` is, by the same thread.

    Args:
        said: a `Screen`, or any function that takes a line.
        total: number of models to train.
        trained: returns how many are trained.
        expected: seconds that all take, roughly; None: not known.
    """

    def __init__(
        self, said: Callable[[str], None], total: int, trained: Callable[[], int], expected: float | None = None
    ):
        self.said, self.total, self.trained, self.expected = said, total, trained, expected
        self.start, self._over = time.monotonic(), threading.Event()
        self._seen = (0, self.start)  # how many were trained, and since when
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Progress":
        """Begin to look."""
        if isinstance(self.said, Screen):
            self._watcher.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Look no more, and say what it took if nothing went wrong."""
        self._over.set()
        if self._watcher.is_alive():
            self._watcher.join()
        if kind is None:
            self.said(f"{self.total} models trained in {duration(time.monotonic() - self.start)}.")
        elif isinstance(self.said, Screen):
            self.said.in_passing("")

    def tell(self) -> None:
        """Say how far the work is, to a function that takes words."""
        if not isinstance(self.said, Screen):
            self.said(self.words())

    def words(self) -> str:
        """Return how far the work is, with the time that is left if it can be told."""
        trained, now = min(self.trained(), self.total), time.monotonic()
        if trained != self._seen[0]:
            self._seen = (trained, now)
        _, since = self._seen
        if trained:
            left = (since - self.start) / trained * (self.total - trained) - (now - since)
        else:
            left = (self.expected or 0) - (now - self.start)
        return f"{trained} of {self.total} models trained" + (f", about {duration(left)} left" if left >= 1 else "")

    def _watch(self) -> None:
        screen, said = self.said, ""
        assert isinstance(screen, Screen)
        while not self._over.wait(OFTEN if screen.is_terminal else PAUSE):
            words, before = self.words(), said
            said = words.partition(",")[0]
            if screen.is_terminal:
                screen.in_passing(words)
            elif said != before:
                screen(words)
