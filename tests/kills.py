"""Kill runs of all three families at random moments, resume them, and compare: python tests/kills.py [KILLS] [SEED]

Not part of `make test`: each kill costs most of a run. Prints one line a kill; ends with status 1 if a result differs.
"""

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from conftest import REPOSITORY
from test_pipeline import finish, results, snakemake

CONFIG = """
preset: micro
seeds: [0, 1]
iterations: 1
noise: [0.2]
policies: [influence, uniform, confident, guarded]
datasets:
  affairs:
    max_development: 400
    max_test: 100
    models: {boosted: {rounds: 10}, neural: {epochs: 2, batch_size: 64}}
"""


def main(kills: int, seed: int) -> int:
    """Run once undisturbed; then start other runs, kill each, let it end, and compare."""
    chance, different = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as scratch:
        start = time.monotonic()
        finish(snakemake(REPOSITORY, Path(scratch) / "undisturbed", config=CONFIG))
        usual, expected = time.monotonic() - start, results(Path(scratch) / "undisturbed")
        for k in range(kills):
            folder, seconds = Path(scratch) / f"killed-{k}", chance.uniform(0.1, 0.95) * usual
            with open(Path(scratch) / "log", "w+") as log:
                process = snakemake(REPOSITORY, folder, config=CONFIG, log=log)
                time.sleep(seconds)
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            models = len(list(folder.rglob("model.npz")))
            finish(snakemake(REPOSITORY, folder, config=CONFIG))
            found = results(folder)
            wrong = [name for name in expected if found.get(name) != expected[name]]
            wrong += [str(path) for path in folder.rglob("*.tmp")]
            different += bool(wrong)
            print(f"killed after {seconds:.1f} of {usual:.1f} s, {models} models: {wrong or 'the same'}", flush=True)
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10, int(sys.argv[2]) if len(sys.argv) > 2 else 0))
