"""The verdicts on one network, with more images and more of it, beside those on the same of another preset."""

from pathlib import Path

from datagradient.evidence.claims import TABLES, Tables, by_condition, read_claims
from datagradient.evidence.comparisons import BASELINE, tracking_rows
from datagradient.files import read_rows
from datagradient.refine.policies import INFLUENCE
from datagradient.report.formats import difference, mean_and_sd, noise_words
from datagradient.report.verdicts import short

DATASET, MODEL = "cifar10", "neural"
PRESETS = ("cpu", "full")  # the smaller first
# Three seeds cannot show C4; C5 and C8 are about more than one model. In the unit of each claim.
CLAIMS = {"C1": "change of test accuracy by influence [points]", "C2": "change of F1", "C3": "Cohen's d",
          "C6": "rank correlation of `dcs` and accuracy", "C7": "optimism [points]"}  # fmt: skip


def compared(results: Path) -> str:
    """Return changes and verdicts of the network on images, a column for each condition and preset.

    Args:
        results: the folder with a folder for each preset, beside config/.
    """
    claims = read_claims(results.parent / "config/claims.yaml")
    found = {preset: _alone(results / preset) for preset in PRESETS}
    columns = {
        f"{noise_words(noise, 'of labels flipped')}, `{preset}`": _column(claims, tables, noise)
        for noise in dict.fromkeys(row["noise"] for row in found[PRESETS[-1]]["tests"])
        for preset, tables in found.items()
    }
    heads = ["", *columns]
    rows = [[what, *(column[what] for column in columns.values())] for what in next(iter(columns.values()))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows))


def _column(claims: dict[str, dict], tables: Tables, noise: str) -> dict[str, str]:
    """Return what is said of one condition in one preset, by what it is."""

    def test(policy: str, against: str) -> dict[str, str]:
        keys = {"policy": policy, "against": against, "metric": "accuracy", "noise": noise}
        return next(row for row in tables["tests"] if keys.items() <= row.items())

    before = next(row for row in tables["metrics"] if (row["policy"], row["noise"]) == (BASELINE, noise))
    gain = test(INFLUENCE, BASELINE)
    verdicts = {
        f"{name}: {what}": short(next(part for part in by_condition(name, claims[name], tables)
                                      if part["condition"] == noise), unit="")
        for name, what in CLAIMS.items()
    }  # fmt: skip
    return {
        "training images, seeds": f"{int(before['n_train']):,}, {gain['n']}",
        "unrefined test accuracy [%]": mean_and_sd(gain, "second"),
        **verdicts,
        "influence − uniform removal [points]": difference(test(INFLUENCE, "uniform")),
        "guarded [points]": difference(test("guarded", BASELINE)),
    }


def _alone(results: Path) -> Tables:
    """Return the tables of a preset for this network alone; in ``pooled`` stands what its own tests say."""
    tables = {name: read_rows(results / f"{name}.csv") for name in (*TABLES, "metrics")}
    own = {name: [row for row in tables[name] if (row["dataset"], row["model"]) == (DATASET, MODEL)]
           for name in ("tests", "iterations", "metrics")}  # fmt: skip
    last = max(int(row["iteration"]) for row in own["iterations"])
    optimism = [
        {**row, "against": BASELINE, "mean_difference": row["mean"], "t_low": row["low"], "t_high": row["high"]}
        for row in own["iterations"] if (row["metric"], int(row["iteration"])) == ("optimism", last)
    ]  # fmt: skip
    return {**{name: [] for name in tables}, **own, "pooled": own["tests"] + optimism,
            "tracking": tracking_rows(own["metrics"])}  # fmt: skip
