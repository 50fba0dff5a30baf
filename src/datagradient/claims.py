"""Verdicts on the paper's claims, by rules that were written before the final results were seen.

A claim is judged on the data as published (the lowest noise rate), which is what the paper speaks of, by refinement
with the policy ``influence`` against the unrefined baseline. What the other conditions give stands in ``detail``.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import yaml

from datagradient.errors import UserError
from datagradient.files import read_rows, write_json

CONFIRMED, PARTLY, NOT_CONFIRMED = "confirmed", "partly", "not confirmed"
NOT_ATTAINABLE, NOT_TESTED = "not attainable as stated", "not tested"
VERDICTS = (CONFIRMED, PARTLY, NOT_CONFIRMED, NOT_ATTAINABLE, NOT_TESTED)
SIGNIFICANT = 0.05
TABLES = ("tests", "pooled", "tracking", "iterations", "costs", "data")
Tables = dict[str, list[dict[str, str]]]


@dataclass(frozen=True)
class Finding:
    """What a rule found: measured value and interval (None where there is none), in the claim's unit.

    ``interval`` says what low and high are, ``source`` the table that the numbers come from.
    """

    verdict: str
    source: str
    measured: float | None = None
    low: float | None = None
    high: float | None = None
    interval: str = ""
    detail: str = ""


def judge_files(claims_file: Path, results: Path, out: Path) -> None:
    """Judge every claim by the small tables of a preset, and write one JSON list.

    Args:
        claims_file: config/claims.yaml.
        results: folder of the small result tables; scalability.csv may be missing.
        out: claims.json to write.
    """
    claims = yaml.safe_load(claims_file.read_text(encoding="utf-8"))
    if set(claims) != set(RULES):
        raise UserError(f"{claims_file}: holds {', '.join(claims)}; there are rules for {', '.join(RULES)}")
    tables = {name: read_rows(results / f"{name}.csv") for name in TABLES}
    scalability = results / "scalability.csv"
    tables["scalability"] = read_rows(scalability) if scalability.exists() else []
    write_json(out, {"claims": judge(claims, tables)})


def judge(claims: dict[str, dict], tables: Tables) -> list[dict]:
    """Return one row a claim: what the paper says, what was measured, and the verdict."""
    return [
        {"claim": name, **{key: claim[key] for key in ("statement", "paper", "unit", "said")},
         **asdict(RULES[name](claim, tables))}
        for name, claim in claims.items()
    ]  # fmt: skip


def tally(reached: int, of: int) -> str:
    """Return the verdict on a claim about all of several comparisons, when so many of them reach it."""
    if not of:
        return NOT_TESTED
    return CONFIRMED if reached == of else PARTLY if reached else NOT_CONFIRMED


def gain(claim: dict, tables: Tables, metric: str, scale: float) -> Finding:
    """Confirmed where every data set and model gains at least the paper's least, with an interval above 0."""

    def reaches(test: dict) -> bool:
        return scale * float(test["mean_difference"]) >= claim["low"] and float(test["t_low"]) > 0

    published, noisy = _tests(tables, metric)
    reached = sum(map(reaches, published))
    pooled = _pooled(tables, metric)
    detail = f"{reached} of {len(published)} data sets and models gain at least {claim['low']:g}"
    if noisy:
        detail += f"; with flipped labels {sum(map(reaches, noisy))} of {len(noisy)}"
    return Finding(tally(reached, len(published)), "tests, pooled", *pooled(scale), "95 % t, pooled", detail)


def accuracy_gain(claim: dict, tables: Tables) -> Finding:
    """C1, in percentage points."""
    return gain(claim, tables, "accuracy", 100)


def f1_gain(claim: dict, tables: Tables) -> Finding:
    """C2."""
    return gain(claim, tables, "f1", 1)


def effect_size(claim: dict, tables: Tables) -> Finding:
    """Confirmed where every d is at least the paper's smallest, for a gain whose interval lies above 0."""

    def reaches(test: dict) -> bool:
        return float(test["d"]) >= claim["low"] and float(test["t_low"]) > 0

    published, noisy = _tests(tables, "accuracy")
    if not published:
        return Finding(NOT_TESTED, "tests")
    reached, values = sum(map(reaches, published)), [float(test["d"]) for test in published]
    detail = f"{reached} of {len(published)} data sets and models reach {claim['low']:g}; measured is the median"
    if noisy:
        detail += f"; with flipped labels {sum(map(reaches, noisy))} of {len(noisy)}"
    return Finding(tally(reached, len(published)), "tests", median(values), min(values), max(values),
                   "smallest and largest", detail)  # fmt: skip


def significance(claim: dict, tables: Tables) -> Finding:
    """Not attainable where so few seeds cannot reach it two-sided, unless every gain is significant one-sided."""
    by_metric = [_tests(tables, metric) for metric in ("accuracy", "f1")]
    published, noisy = ([test for tests in by_metric for test in tests[part]] for part in (0, 1))

    def significant(tests: list[dict], side: str) -> int:
        return sum(float(test[f"q_{side}"]) < claim["low"] and float(test["mean_difference"]) > 0 for test in tests)

    if not published:
        return Finding(NOT_TESTED, "tests")
    one, two = significant(published, "one_sided"), significant(published, "two_sided")
    smallest = max(float(test["smallest_p_two_sided"]) for test in published)
    detail = (
        f"{one} of {len(published)} comparisons (accuracy and F1) one-sided, {two} two-sided; "
        f"the smallest two-sided p of {published[0]['n']} seeds is {smallest:g}"
    )
    if noisy:
        detail += f"; with flipped labels {significant(noisy, 'one_sided')} of {len(noisy)} one-sided"
    if smallest >= claim["low"]:
        verdict = PARTLY if one == len(published) else NOT_ATTAINABLE
    else:
        verdict = tally(two, len(published))
    return Finding(verdict, "tests", one / len(published), interval="share significant one-sided", detail=detail)


def overhead(claim: dict, tables: Tables) -> Finding:
    """Confirmed where no size up to the paper's costs more than its ratio; costs of the run itself stand in detail."""
    costs = [float(row["ratio"]) for row in tables["costs"]]
    detail = f"in this run at most {max(costs):.2f}" if costs else ""
    ratios = {int(row["n"]): float(row["ratio"]) for row in tables["scalability"]}
    if not ratios or max(ratios) < claim["samples"]:
        return Finding(NOT_TESTED, "costs", max(costs, default=None), detail=f"no measurement at {claim['samples']} "
                       f"samples; {detail}")  # fmt: skip
    reached = sum(ratio <= claim["low"] for ratio in ratios.values())
    values = list(ratios.values())
    return Finding(tally(reached, len(ratios)), "scalability", ratios[max(ratios)], min(values), max(values),
                   "smallest and largest over sizes", detail)  # fmt: skip


def tracks(claim: dict, tables: Tables) -> Finding:
    """Confirmed where `dcs` follows accuracy in every condition; partly where any definition does in any."""

    def follows(row: dict) -> bool:
        return float(row["correlation"]) >= claim["low"] and float(row["low"]) > 0

    main = [row for row in tables["tracking"] if row["score"] == "dcs"]
    if not main:
        return Finding(NOT_TESTED, "tracking")
    good = [f"{row['score']} at noise {row['noise']}" for row in tables["tracking"] if follows(row)]
    verdict = CONFIRMED if all(map(follows, main)) else PARTLY if good else NOT_CONFIRMED
    first = min(main, key=lambda row: float(row["noise"]))
    others = "; ".join(f"{row['score']} at noise {row['noise']}: {float(row['correlation']):.2f}"
                       for row in tables["tracking"] if row is not first)  # fmt: skip
    return Finding(
        verdict, "tracking", *(float(first[key]) for key in ("correlation", "low", "high")), "95 % t", others
    )


def no_overfitting(claim: dict, tables: Tables) -> Finding:
    """Not confirmed where the pooled optimism lies above 0; partly where only that of some data set and model does."""
    last = max((int(row["iteration"]) for row in tables["iterations"]), default=0)
    rows = [row for row in tables["iterations"] if (row["metric"], row["policy"], int(row["iteration"])) ==
            ("optimism", "influence", last)]  # fmt: skip
    rows = [row for row in rows if row["noise"] == _published(rows)]
    pooled = _pooled(tables, "optimism")(100)
    if not rows or pooled[0] is None:
        return Finding(NOT_TESTED, "iterations, pooled")
    above = sum(float(row["low"]) > 0 for row in rows)
    verdict = NOT_CONFIRMED if pooled[1] > 0 else PARTLY if above else CONFIRMED
    detail = f"validation gains more than test in {above} of {len(rows)} data sets and models (interval above 0)"
    return Finding(verdict, "iterations, pooled", *pooled, "95 % t, pooled", detail)


def holds_everywhere(claim: dict, tables: Tables) -> Finding:
    """Confirmed where every data set and model gains accuracy with an interval above 0."""
    published, noisy = _tests(tables, "accuracy")
    modality = {row["dataset"]: row["modality"] for row in tables["data"]}

    def gains(tests: list[dict]) -> list[dict]:
        return [test for test in tests if float(test["t_low"]) > 0]

    def named(tests: list[dict]) -> str:
        pairs = [f"{modality[test['dataset']]}/{test['model']}" for test in gains(tests)]
        return f"{len(pairs)} of {len(tests)}" + (f" ({', '.join(pairs)})" if 0 < len(pairs) < len(tests) else "")

    if not published:
        return Finding(NOT_TESTED, "tests")
    reached, detail = len(gains(published)), named(published)
    if noisy:
        detail += f"; with flipped labels {named(noisy)}"
    return Finding(tally(reached, len(published)), "tests", reached / len(published), interval="share that gains",
                   detail=detail)  # fmt: skip


RULES: dict[str, Callable[[dict, Tables], Finding]] = {
    "C1": accuracy_gain, "C2": f1_gain, "C3": effect_size, "C4": significance, "C5": overhead, "C6": tracks,
    "C7": no_overfitting, "C8": holds_everywhere,
}  # fmt: skip


def _tests(tables: Tables, metric: str) -> tuple[list[dict], list[dict]]:
    """Return the tests of influence against the baseline: on the data as published, and with flipped labels."""
    wanted = ("influence", "baseline", metric)
    tests = [test for test in tables["tests"] if (test["policy"], test["against"], test["metric"]) == wanted]
    published = _published(tests)
    return [test for test in tests if test["noise"] == published], [t for t in tests if t["noise"] != published]


def _published(rows: list[dict]) -> str | None:
    return min((row["noise"] for row in rows), key=float, default=None)


def _pooled(tables: Tables, metric: str) -> Callable[[float], tuple[float | None, float | None, float | None]]:
    wanted = ("influence", "baseline", metric)
    rows = [row for row in tables["pooled"] if (row["policy"], row["against"], row["metric"]) == wanted]
    row = next((row for row in rows if row["noise"] == _published(rows)), None)

    def scaled(scale: float) -> tuple[float | None, float | None, float | None]:
        if row is None:
            return None, None, None
        return tuple(scale * float(row[key]) for key in ("mean_difference", "t_low", "t_high"))

    return scaled
