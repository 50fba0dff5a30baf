"""Paths of the results, and the names to choose from. Imports nothing heavy, because the Snakefile uses it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from datagradient.data import MODALITIES
from datagradient.data.conditions import PUBLISHED, TRUSTED, is_untrusted, noise_name, with_untrusted
from datagradient.refine import policies

PREPARED = "{root}/{dataset}/prepared/seed-{seed}"
NOISE = PREPARED + "/noise-{noise}"
CELL = "{root}/{dataset}/{model}/noise-{noise}/{policy}/seed-{seed}/iter-{iteration}"
GUARD = "{root}/{dataset}/{model}/noise-{noise}/guarded/seed-{seed}/guard.json"
REFINED = "{root}/{dataset}/{model}/noise-{noise}/seed-{seed}.json"  # the last file written in a seed's refinement
SCALE = "{root}/{dataset}/scalability/features.npz"  # a whole data set, for measurements of cost
SCALE_ROWS = "{root}/{dataset}/scalability/{model}/{sizes}/rows.json"
POLICIES = tuple(policies.POLICIES)
GUARDED = "guarded"  # trains nothing: it stops the policy `influence` according to the selection part
# The work of one job: all models of a family on a data set; those of one condition and seed; or one step of one model.
JOBS = ("family", "seed", "step")
# Names that no preset can have: those of files in config/, and of folders next to those of presets.
RESERVED = ("defaults", "claims", "benchmarks", "gpu", "mlartifacts", "mlflow", "mlruns", "verdict")
BASELINE = "baseline"  # the policy of iteration 0, which all policies share


def modules(folder: str) -> list[str]:
    """Return the names of the modules in a folder of the package; each module is a data set or a model family."""
    return sorted(path.stem for path in (Path(__file__).parents[1] / folder).glob("[a-z]*.py"))


def solver_for(options: dict, modality: str) -> dict:
    """Return a solver and its options for one kind of data; options under the kind's name override the others."""
    return {**{key: value for key, value in options.items() if key not in MODALITIES}, **(options.get(modality) or {})}


def root(preset: str) -> str:
    """Return the folder of a preset's results."""
    return f"results/{preset}"


@dataclass(frozen=True)
class Cell:
    """The keys of one trained model, and the paths of its files. Iteration 0 of every policy is the shared baseline."""

    root: str | Path
    dataset: str
    model: str
    noise: str
    seed: int
    policy: str = BASELINE
    iteration: int = 0

    @property
    def folder(self) -> Path:
        """The folder of the model's files."""
        policy = self.policy if self.iteration else BASELINE
        return Path(CELL.format(**{**self.__dict__, "policy": policy}))

    def file(self, name: str) -> Path:
        """Return the path of one of these files."""
        return self.folder / name

    @property
    def data(self) -> Path:
        """The prepared data."""
        return Path(PREPARED.format(**self.__dict__)) / "features.npz"

    @property
    def labels(self) -> Path:
        """The labels that the model is trained on, noise included."""
        return Path(NOISE.format(**self.__dict__)) / "labels.npz"

    @property
    def kept(self) -> Path | None:
        """The samples that are left; None for the unrefined model, which uses all."""
        return self.file("kept.npz") if self.iteration else None

    @property
    def guard(self) -> Path:
        """The iteration that the policy ``guarded`` keeps."""
        return Path(GUARD.format(**self.__dict__))

    @property
    def refined(self) -> Path:
        """The file written when all iterations of all policies are done."""
        return Path(REFINED.format(**self.__dict__))

    def at(self, **keys: object) -> "Cell":
        """Return a cell with some keys replaced."""
        return replace(self, **keys)


def scale_rows(config: dict, root: str | Path) -> list[str]:
    """Return the files of cost measurements: one for all sizes if a job does a whole family, otherwise one for each."""
    plans = (config["scalability"] or {}).get("datasets", {})
    return [
        SCALE_ROWS.format(root=root, dataset=dataset, model=model, sizes="-".join(map(str, sizes)))
        for dataset, plan in plans.items()
        for model in plan["models"]
        for sizes in ([plan["sizes"]] if config["one_job"] == "family" else [[n] for n in plan["sizes"]])
    ]


def varied(config: dict, root: str | Path, kind: str) -> list[Path]:
    """Return the files that sensitivity.csv, fractions.csv or trusted.csv is made from, by `kind`.

    For sensitivity, these are of the first seed and the last noise rate; for fractions, of the first three seeds; for
    trusted, of each family's first seeds and all conditions in which training labels alone are wrong.
    """
    if kind == "trusted":
        numbers = config["trusted"]["seeds"]
        models = [keys for model in config["models"] for seed in config["seeds"][: numbers.get(model, 0)]
                  for keys in grid(config, iteration=0, model=model, seed=seed)
                  if keys["noise"] != PUBLISHED and not is_untrusted(keys["noise"])]  # fmt: skip
        return [Cell(root, **keys).file("trusted.json") for keys in models]
    first, noise = config["seeds"][0], noise_names(config)[-1]
    wanted = {"sensitivity": [{"seed": first, "noise": noise}],
              "fractions": [{"seed": seed} for seed in config["seeds"][:3]]}[kind]  # fmt: skip
    models = [keys for fixed in wanted for keys in rate_grid(config, iteration=0, **fixed)]
    return [Cell(root, **keys).file(f"{kind}.json") for keys in models]


def gallery_of(config: dict, root: str | Path, dataset: str) -> Cell:
    """Return the model whose scores select the samples in a data set's gallery."""
    return Cell(root, dataset, config["models"][-1], noise_name(min(config["noise"])), config["seeds"][0])


def noise_names(config: dict) -> list[str]:
    """Return the noise rates of a configuration in the form used in paths and tables."""
    return [noise_name(rate) for rate in config["noise"]]


def seeds_of(config: dict, model: str) -> list[int]:
    """Return the seeds of a model family: all of the preset's, or the first ones for families that are dear."""
    return config["seeds"][: (config.get("first_seeds") or {}).get(model)]


def base_conditions(config: dict, dataset: str) -> list[str]:
    """Return the conditions of a data set with right validation labels: noise rates, then columns of human labels."""
    return [*noise_names(config), *((config["datasets"][dataset] or {}).get("human_labels") or [])]


def conditions(config: dict, dataset: str) -> list[str]:
    """Return the names of all conditions of a data set, see `datagradient.data.conditions`."""
    # Validation that is trusted alone is not mentioned in a validated configuration.
    return with_untrusted(base_conditions(config, dataset), config.get("validation", [TRUSTED]))


def policies_by_crossfit(config: dict) -> list[str]:
    """Return the policies that go by cross-fitted models."""
    return [name for name in config["policies"] if policies.needs_crossfit([name])]


def all_conditions(config: dict) -> list[str]:
    """Return the names of the conditions of all data sets, each once, in order."""
    return list(dict.fromkeys(name for dataset in config["datasets"] for name in conditions(config, dataset)))


def grid(config: dict, **fixed: object) -> Iterator[dict]:
    """Yield the keys of every trained model of a configuration, the baseline first.

    Args:
        config: a validated configuration.
        fixed: keys to hold fixed, e.g. ``dataset="adult"``.
    """
    for dataset in config["datasets"]:
        for model in config["models"]:
            for noise in conditions(config, dataset):
                for policy, iteration in _steps(config, noise):
                    for seed in seeds_of(config, model):
                        keys = {"dataset": dataset, "model": model, "noise": noise, "policy": policy,
                                "seed": seed, "iteration": iteration}  # fmt: skip
                        if fixed.items() <= keys.items():
                            yield keys


def rate_grid(config: dict, **fixed: object) -> Iterator[dict]:
    """Yield the keys of `grid` whose condition is a noise rate: experiments with scores look at these alone."""
    rates = noise_names(config)
    return (keys for keys in grid(config, **fixed) if keys["noise"] in rates)


def trained_policies(config: dict) -> list[str]:
    """Return the policies that train models of their own."""
    return [policy for policy in config["policies"] if policies.POLICIES[policy].trains]


def crossfit_families(config: dict, model: str) -> list[str]:
    """Return the families whose cross-fitted models judge the samples of one: itself, then those before it.

    Families stand in a preset's ``models`` from cheap to dear.
    """
    return [model, *config["models"][: config["models"].index(model)]]


def rounds_of(config: dict, policy: str) -> int:
    """Return the last iteration of a policy: those that decide once have a single one."""
    return 1 if policies.POLICIES[policy].once else config["iterations"]


def _steps(config: dict, condition: str) -> list[tuple[str, int]]:
    trained = [policy for policy in trained_policies(config) if policies.applies(policy, condition)]
    return [(BASELINE, 0), *((policy, k) for policy in trained for k in range(1, rounds_of(config, policy) + 1))]
