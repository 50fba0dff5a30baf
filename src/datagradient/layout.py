"""Where results lie, and the names there are to choose from. Imports nothing heavy: the Snakefile uses it."""

from collections.abc import Iterator
from pathlib import Path

PREPARED = "{root}/{dataset}/prepared/seed-{seed}"
NOISE = PREPARED + "/noise-{noise}"
CELL = "{root}/{dataset}/{model}/noise-{noise}/{policy}/seed-{seed}/iter-{iteration}"
GUARD = "{root}/{dataset}/{model}/noise-{noise}/guarded/seed-{seed}/guard.json"
# The first is what the others are compared with; each removes as many samples as it does.
POLICIES = ("influence", "random", "uniform", "loss", "gradient", "confident", "guarded")
GUARDED = "guarded"  # trains nothing: it stops the policy `influence` where the selection part says so
# What one job does: all iterations of a model family on a data set, or one step of one iteration of several models.
BATCHES = {
    "all": ("dataset", "noise", "policy", "seed"), "policies": ("policy", "seed"), "seeds": ("seed",), "none": (),
}  # fmt: skip
# Solver -> its options, beside `PROBLEM_OPTIONS`: on how many samples, and by which matrix, curvature is measured, and
# which parameters of a network count.
SOLVERS = {
    "cg": ("damping", "tolerance", "max_iterations", "preconditioner"),
    "explicit": ("damping", "tolerance"),
    "lissa": ("damping", "tolerance", "max_iterations", "batch_size", "repeats"),
    "ekfac": ("damping",),
}
PROBLEM_OPTIONS = ("samples", "curvature", "parameters")
CURVATURES, PARAMETERS = ("ggn", "hessian"), ("last", "all")
PRECONDITIONERS = ("own", "ekfac")  # of CG: the model family's own, if it has one; EK-FAC is for networks
# What each option may be, as `datagradient.schema` reads it.
SOLVER_OPTIONS = {
    "damping": {"type": "number", "ge": 0},
    "tolerance": {"type": "number", "ge": 0},
    "max_iterations": {"type": "whole", "ge": 1},
    "preconditioner": PRECONDITIONERS,
    "batch_size": {"type": "whole", "ge": 1},
    "repeats": {"type": "whole", "ge": 1},
    "samples": {"type": "whole", "ge": 1, "null": True},
    "curvature": CURVATURES,
    "parameters": PARAMETERS,
}
MODALITIES = ("table", "text", "image")
# Names that no preset can have: of files in config/, and of folders beside those of presets.
RESERVED = ("defaults", "claims", "benchmarks", "cpu-last-layer", "mlartifacts", "mlflow", "mlruns", "verdict")
# Other scores that a policy goes by, or a table of the baseline.
ALSO_SCORED = {"baseline": "all", "loss": "loss", "gradient": "gradient"}
BASELINE = "baseline"  # the policy of iteration 0, which all policies share


def modules(folder: str) -> list[str]:
    """Return the names of the modules in a folder of the package: one is one data set, or one model."""
    return sorted(path.stem for path in (Path(__file__).parent / folder).glob("[a-z]*.py"))


def solver_for(options: dict, modality: str) -> dict:
    """Return a solver and its options for one kind of data: what stands under the kind's name overrides the rest."""
    return {**{key: value for key, value in options.items() if key not in MODALITIES}, **(options.get(modality) or {})}


def root(preset: str) -> str:
    """Return the folder of a preset's results."""
    return f"results/{preset}"


def cell(policy: str, iteration: int, **keys: object) -> str:
    """Return the folder of one trained model; iteration 0 of every policy is the shared baseline."""
    return CELL.format(policy=policy if iteration else BASELINE, iteration=iteration, **keys)


def noise_name(rate: float) -> str:
    """Return a noise rate as it stands in paths and tables: 0 and 0.2, not 0.0 and 0.20."""
    return f"{rate:g}"


def noise_names(config: dict) -> list[str]:
    """Return the noise rates of a configuration as they stand in paths and tables."""
    return [noise_name(rate) for rate in config["noise"]]


def grid(config: dict, **fixed: object) -> Iterator[dict]:
    """Yield the keys of every trained model of a configuration, the baseline first.

    Args:
        config: a validated configuration.
        fixed: keys to hold, e.g. ``dataset="adult"``.
    """
    for dataset in config["datasets"]:
        for model in config["models"]:
            for noise in noise_names(config):
                for policy, iteration in _steps(config):
                    for seed in config["seeds"]:
                        keys = {"dataset": dataset, "model": model, "noise": noise, "policy": policy,
                                "seed": seed, "iteration": iteration}  # fmt: skip
                        if fixed.items() <= keys.items():
                            yield keys


def trained_policies(config: dict) -> list[str]:
    """Return the policies that train models of their own."""
    return [policy for policy in config["policies"] if policy != GUARDED]


def _steps(config: dict) -> list[tuple[str, int]]:
    refined = [(policy, k) for policy in trained_policies(config) for k in range(1, config["iterations"] + 1)]
    return [(BASELINE, 0), *refined]
