"""The tests, and every committed result: python tools/everything.py [--plan] [STEP ...], or make everything

Prints what will be run and how long each step took before, then runs what this version of the code has not run. Killed
or stopped, it goes on where it was when it is given again: a finished step, but for the tests, is not repeated, within
a step the workflow goes on with what it had, and of the benchmarks the models on random halves and the audits are kept.
Steps after a failed one are run all the same; the exit status tells. Benchmarks measure time: leave the machine alone
while they run. Peers, policies and GPUs need more than this environment and have commands of their own
(docs/running.md). Writes results/everything.csv, a row for each finished step.
"""

import argparse
import datetime
import hashlib
import subprocess
import sys
import time
from pathlib import Path

from datagradient.files import read_rows, write_rows
from datagradient.pipeline.provenance import CODE, machine

RESULTS = Path("results")
OUT = RESULTS / "everything.csv"
COLUMNS = ("step", "command", "minutes", "outside_share", "finished", "code", "machine")
# lissa before cpu, whose verdicts show it.
PRESETS = ("lissa", "cpu", "seeds", "averaging", "confirm", "confirm-added")
TESTS = "test"
STEPS = {
    TESTS: "make test",
    "quick": "make reproduce",
    **{preset: f"make reproduce PRESET={preset}" for preset in PRESETS},
    "experiments": "make experiments PRESET=cpu",
    "trusted": "make experiments PRESET=confirm",
    "benchmark": "make benchmark",
    "audits": "make audits",
    "full": "make reproduce PRESET=full",
}
LAST = "make readme"  # when all else has succeeded


def main() -> int:
    """Print the plan, then run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)}; without: all")
    parser.add_argument("--plan", action="store_true", help="only print what would be run")
    args = parser.parse_args()
    unknown = [step for step in args.steps if step not in STEPS]
    if unknown:
        parser.error(f"no step {unknown[0]}; legal: {', '.join(STEPS)}")
    before = {row["step"]: row for row in (read_rows(OUT) if OUT.exists() else [])}
    code = code_version()
    wanted = [step for step in STEPS if step in (args.steps or STEPS)]
    waiting = [step for step in wanted if not is_done(before.get(step), code)]
    for step in wanted:
        print(f"{step:14} {words(step, before.get(step), code):44} {STEPS[step]}")
    if args.plan:
        return 0
    failed = [step for step in waiting if not run(step, code)]
    if failed:
        print(f"failed: {', '.join(failed)}; give the command again to go on", file=sys.stderr)
        return 1
    return subprocess.run(LAST.split(), check=False).returncode


def code_version() -> str:
    """Return what names the code that results depend on: words and tests may change without a new run.

    With ``-dirty`` when it was changed since the last commit: what such code has finished is run again.
    """
    try:
        named = hashlib.sha256(git("ls-files", "--stage", "--", *CODE).encode()).hexdigest()[:12]
        changed = git("status", "--porcelain", "--", *CODE)
    except (OSError, subprocess.CalledProcessError):
        sys.exit("this is no git repository: clone it, so that results say what code made them")
    return named + ("-dirty" if changed else "")


def git(*arguments: str) -> str:
    """Return what a git command prints."""
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def words(step: str, row: dict[str, str] | None, code: str) -> str:
    """Return what is known of a step: whether this code has finished it, and how long it took."""
    if row is None:
        return f"about {float(_clock(step)['wall_seconds']) / 60:.0f} min" if _has_clock(step) else "not measured"
    took = f"{float(row['minutes']):.0f} min on {row['machine'].rpartition(', ')[2]}"
    return f"done, {took}" if is_done(row, code) else f"about {took}"


def is_done(row: dict[str, str] | None, code: str) -> bool:
    """Return whether this version of the code, as it was committed, has finished a step; tests are always run."""
    return row is not None and row["step"] != TESTS and row["code"] == code and not code.endswith("-dirty")


def _has_clock(step: str) -> bool:
    return (RESULTS / step / "orchestration.csv").exists()


def _clock(preset: str) -> dict[str, str]:
    """Return what the clock of a preset says, of whatever version of the code: seconds, and share outside of models."""
    return read_rows(RESULTS / preset / "orchestration.csv")[0]


def run(step: str, code: str) -> bool:
    """Run a step and note that it has finished; return whether it has."""
    start = time.monotonic()
    print(f"--- {step}: {STEPS[step]}", flush=True)
    if subprocess.run(STEPS[step].split(), check=False).returncode:
        return False
    row = {
        "step": step, "command": STEPS[step], "minutes": f"{(time.monotonic() - start) / 60:.1f}",
        "outside_share": _clock(step)["outside_share"] if _has_clock(step) else "",
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "code": code,
        "machine": machine(),
    }  # fmt: skip
    others = [other for other in (read_rows(OUT) if OUT.exists() else []) if other["step"] != step]
    write_rows(OUT, COLUMNS, [*others, row])
    return True


if __name__ == "__main__":
    sys.exit(main())
