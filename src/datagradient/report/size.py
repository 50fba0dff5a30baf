"""The verdicts on one network, with more images and more of it, beside those on the same of another preset."""

from pathlib import Path

from datagradient.evidence.claims import TABLES, Tables, by_condition, read_claims
from datagradient.files import read_rows
from datagradient.refine.policies import INFLUENCE
from datagradient.report.formats import difference, mean_and_sd, noise_words

DATASET, MODEL = "cifar10", "neural"
PRESETS = ("cpu", "full")  # the smaller first
# Three seeds cannot show C4; C5, C6 and C8 are about more than one model. In the unit of each claim.
CLAIMS = {"C1": "test accuracy by influence [points]", "C2": "F1", "C3": "Cohen's d", "C7": "optimism [points]"}


def compared(results: Path) -> str:
    """Return changes and verdicts of the network on images, a row for each condition and preset.

    Args:
        results: the folder with a folder for each preset, beside config/.
    """
    claims = read_claims(results.parent / "config/claims.yaml")
    heads = ["labels", "training images", "seeds", "unrefined [%]",
             *(f"{words} ({name})" for name, words in CLAIMS.items()),
             "accuracy minus that of uniform removal [points]", "accuracy, guarded [points]"]  # fmt: skip
    found = {preset: _alone(results / preset) for preset in PRESETS}
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for noise in dict.fromkeys(row["noise"] for row in found[PRESETS[-1]]["tests"]):
        for tables in found.values():
            sizes = (
                row["n_train"] for row in tables["metrics"] if (row["policy"], row["noise"]) == ("baseline", noise)
            )
            gain, against, guarded = (
                _test(tables, policy=policy, against=other, metric="accuracy", noise=noise)
                for policy, other in ((INFLUENCE, "baseline"), (INFLUENCE, "uniform"), ("guarded", "baseline"))
            )
            judged = [next(part for part in by_condition(name, claims[name], tables) if part["condition"] == noise)
                      for name in CLAIMS]  # fmt: skip
            cells = [noise_words(noise, "of labels flipped"), f"{int(next(sizes)):,}", gain["n"],
                     mean_and_sd(gain, "second"),
                     *map(_judged, judged),
                     difference(against), difference(guarded)]  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _judged(part: dict) -> str:
    measured, low, high = (f"{part[key]:+.3g}" for key in ("measured", "low", "high"))
    return f"{measured}{'' if low == high else f' [{low}, {high}]'}; {part['verdict']}"


def _alone(results: Path) -> Tables:
    """Return the tables of a preset for this network alone; in ``pooled`` stands what its own tests say."""
    tables = {name: read_rows(results / f"{name}.csv") for name in (*TABLES, "metrics")}
    own = {name: [row for row in tables[name] if (row["dataset"], row["model"]) == (DATASET, MODEL)]
           for name in ("tests", "iterations", "metrics")}  # fmt: skip
    last = max(int(row["iteration"]) for row in own["iterations"])
    optimism = [
        {**row, "against": "baseline", "mean_difference": row["mean"], "t_low": row["low"], "t_high": row["high"]}
        for row in own["iterations"] if (row["metric"], int(row["iteration"])) == ("optimism", last)
    ]  # fmt: skip
    return {**{name: [] for name in tables}, **own, "pooled": own["tests"] + optimism}


def _test(tables: Tables, **keys: str) -> dict[str, str]:
    return next(row for row in tables["tests"] if keys.items() <= row.items())
