"""What `influence_scores` costs beside the workflow's own scoring of the same networks, in one process.

    python benchmarks/interface.py adult imdb cifar10

Prints for each data set the median seconds of both over alternating rounds, their ratio, and the largest difference of
the scores as a share of their standard deviation.
"""

import sys
import time

import numpy as np

from datagradient import influence_scores
from datagradient.data import sets
from datagradient.data.splits import SplitPlan
from datagradient.models import declared, family, neural
from datagradient.refine.loop import refine
from datagradient.refine.scoring import Work, score_all

ROUNDS = 7
PLAN = SplitPlan(max_development=12_500, max_test=1000)


def main() -> None:
    """Train one network for each data set named, and score it in both ways."""
    for name in sys.argv[1:]:
        dataset = sets.load(name)
        step = refine(dataset, "neural", policies=["influence"], noise=0.2, iterations=0, plan=PLAN).steps[0]
        declaration, kind = declared("neural").solver, dataset.modality
        plain = {key: value for key, value in declaration.items() if not isinstance(value, dict)}
        solver = {**plain, **(declaration.get(kind) or {})}
        if solver["name"] != "cg":
            raise SystemExit(f"{name}: solver {solver['name']}")
        model, samples = step.trained.model, step.trained.samples
        rows = np.random.default_rng(0).permutation(len(samples.labels))[: len(samples.labels) // 9]
        validation = samples.inputs[rows], samples.labels[rows]
        work = Work(family("neural"), model, {}, samples, validation, solver)
        train, held_out = ((neural.to_tensor(inputs)[1], labels) for inputs, labels in
                           ((samples.inputs, samples.labels), validation))  # fmt: skip
        seconds: dict[str, list[float]] = {"workflow": [], "influence_scores": []}
        for _ in range(ROUNDS):
            start = time.perf_counter()
            expected = score_all(work).arrays["influence"]
            seconds["workflow"].append(time.perf_counter() - start)
            start = time.perf_counter()
            values = influence_scores(model.network, train, held_out, solver=solver, seed=samples.seed).values
            seconds["influence_scores"].append(time.perf_counter() - start)
        ours, theirs = (float(np.median(times[1:])) for times in seconds.values())
        gap = np.abs(values - expected).max() / expected.std()
        print(f"{name}: n = {len(values)}; workflow {ours:.3f} s, influence_scores {theirs:.3f} s, ratio "
              f"{theirs / ours:.3f}; largest difference {gap:.1e}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
