"""Kill audits at random moments, resume them, and compare: python tests/audit_kills.py [KILLS] [SEED]

In turn, all processes are killed or the main one alone. Not part of `make test`, whose kills are of audits in a single
process. Prints one line a kill; ends with status 1 if a result differs or a process is left behind.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from conftest import environment
from test_audit_command import contents, group_of, made_up

PATIENCE = 10.0  # seconds in which processes must have noticed that the main one was killed


def audit(folder: Path, out: str, *options: str) -> subprocess.Popen:
    """Start an audit of the data in a folder, in a group of processes of its own."""
    command = [sys.executable, "-m", "datagradient", "audit", "data.csv", "--target", "label", "--quiet", "--json"]
    return subprocess.Popen([*command, "--out", out, *options], cwd=folder, env=environment(), start_new_session=True,
                            stdout=subprocess.DEVNULL)  # fmt: skip


def main(kills: int, seed: int) -> int:
    """Audit once undisturbed; then begin others, kill each, let it end, and compare."""
    chance, different = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as scratch:
        folder, start = Path(scratch), time.monotonic()
        made_up(1000).to_csv(folder / "data.csv", index=False)
        assert audit(folder, "undisturbed").wait() == 0
        usual, expected = time.monotonic() - start, contents(folder / "undisturbed")
        for k in range(kills):
            seconds, everyone = chance.uniform(0.1, 1.0) * usual, k % 2 == 0
            process = audit(folder, f"killed-{k}")
            time.sleep(seconds)
            (os.killpg if everyone else os.kill)(process.pid, signal.SIGKILL)
            process.wait()
            until = time.monotonic() + PATIENCE
            while (left := group_of(process.pid)) and time.monotonic() < until:
                time.sleep(0.1)
            out = folder / f"killed-{k}"
            parts = len(list(out.glob("work/*.npz")))
            begun = (out / "begun.json").exists()
            assert audit(folder, out.name, *(["--resume"] if begun else [])).wait() == 0
            found = contents(out)
            wrong = [name for name in expected if found[name] != expected[name]]
            wrong += [str(path) for path in out.rglob("*.tmp")] + [f"process {number}" for number in left]
            different += bool(wrong)
            print(f"{'all' if everyone else 'main'} killed after {seconds:.1f} of {usual:.1f} s, "
                  f"{parts} parts done: {wrong or 'the same'}", flush=True)  # fmt: skip
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10, int(sys.argv[2]) if len(sys.argv) > 2 else 0))
