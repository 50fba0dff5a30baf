"""What changed between two runs of a preset: python tools/compare_runs.py OLD_RESULTS NEW_RESULTS > FILE.md

Both are folders of small result tables. Shows the verdicts, the accuracy of the unrefined models and its change by
influence, and marks where the interval of one run lies on another side of 0 than the other's.
"""

import sys
from pathlib import Path

from datagradient.files import read_json, read_rows
from datagradient.report.formats import dataset_titles, difference, mean_and_sd

KEYS = ("dataset", "model", "noise")


def main(old: Path, new: Path) -> None:
    """Print two tables in Markdown."""
    runs = [read_json(folder / "provenance.json") for folder in (old, new)]
    for name, run in zip(("Before", "Now"), runs, strict=True):
        print(f"{name}: preset {run['preset']}, commit {run['git_commit'][:7]}, {run['machine']}.\n")
    print("| claim | before | now |\n|---|---|---|")
    claims = [{claim["claim"]: claim for claim in read_json(folder / "claims.json")["claims"]} for folder in (old, new)]
    for name in claims[1]:
        print(f"| {name} | " + " | ".join(_judged(run.get(name)) for run in claims) + " |")
    print("\nChange of test accuracy by influence against the unrefined baseline, in points [95 % t interval].\n")
    print("| data set | model | noise | unrefined before | unrefined now | before | now | |")
    print("|" + "---|" * 8)
    tests, titles = [_tests(folder) for folder in (old, new)], dataset_titles(new)
    for key, test in tests[1].items():
        pair = [tests[0].get(key), test]
        sides = {_side(one) for one in pair if one}
        texts = [mean_and_sd(one, "second") if one else "–" for one in pair]
        texts += [difference(one) if one else "–" for one in pair]
        print(
            f"| {titles[key[0]]} | {key[1]} | {key[2]} | " + " | ".join(texts) + f" | {'changed' * (len(sides) > 1)} |"
        )


def _judged(claim: dict | None) -> str:
    if claim is None:
        return "–"
    return f"{claim['verdict']}" + ("" if claim["measured"] is None else f" ({claim['measured']:.3g} {claim['unit']})")


def _tests(folder: Path) -> dict[tuple, dict]:
    wanted = ("influence", "baseline", "accuracy")
    return {tuple(row[key] for key in KEYS): row for row in read_rows(folder / "tests.csv")
            if (row["policy"], row["against"], row["metric"]) == wanted}  # fmt: skip


def _side(test: dict) -> int:
    return int(float(test["t_low"]) > 0) - int(float(test["t_high"]) < 0)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
