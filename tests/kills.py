"""Kill runs of all three families at random moments, resume them, and compare: python tests/kills.py [KILLS] [SEED]

In turn, jobs are of each size that a preset may ask for. Not part of `make test`: each kill costs most of a run. Prints
one line a kill; ends with status 1 if a result differs.
"""

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from conftest import REPOSITORY, finish, snakemake
from test_pipeline import results

SIZES = ("seed", "family", "step")
CONFIG = """
preset: micro
one_job: {size}
seeds: [0, 1]
iterations: 1
noise: [0.2]
policies: [influence, uniform, confident, guarded]
datasets:
  affairs:
    max_development: 400
    max_test: 100
    models: {{boosted: {{rounds: 10}}, neural: {{epochs: 2, batch_size: 64}}}}
"""


def main(kills: int, seed: int) -> int:
    """Run once undisturbed; then start other runs, kill each, let it end, and compare."""
    chance, different = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as scratch:
        usual, expected = {}, {}
        for size in SIZES:
            folder, start = Path(scratch) / f"undisturbed-{size}", time.monotonic()
            finish(snakemake(REPOSITORY, folder, config=CONFIG.format(size=size)))
            usual[size], expected[size] = time.monotonic() - start, results(folder)
        for k in range(kills):
            size = SIZES[k % len(SIZES)]
            folder, config = Path(scratch) / f"killed-{k}", CONFIG.format(size=size)
            seconds = chance.uniform(0.1, 0.95) * usual[size]
            with open(Path(scratch) / "log", "w+") as log:
                process = snakemake(REPOSITORY, folder, config=config, log=log)
                time.sleep(seconds)
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            models = len(list(folder.rglob("model.npz")))
            finish(snakemake(REPOSITORY, folder, config=config))
            found = results(folder)
            wrong = [name for name in expected[size] if found.get(name) != expected[size][name]]
            wrong += [str(path) for path in folder.rglob("*.tmp")]
            different += bool(wrong)
            print(f"one_job: {size}, killed after {seconds:.1f} of {usual[size]:.1f} s, {models} models: "
                  f"{wrong or 'the same'}", flush=True)  # fmt: skip
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10, int(sys.argv[2]) if len(sys.argv) > 2 else 0))
