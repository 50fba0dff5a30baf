"""Verdicts on the paper's claims, by rules that were written before the first complete run.

Results of logistic regression from an earlier version were known by then, and rules were changed while that run was
under way; none because of its results. Results of complete runs were known when the networks' solvers were chosen
again, twice, by validation data (docs/results.md, "Earlier runs").

A claim is judged on the data as published (noise 0), as in the paper, by refinement with the policy ``influence``
against the unrefined baseline. What flipped labels give stands in ``detail``; only for C6 can it make a claim *partly*
confirmed. What the same rule says of each condition alone, human labels among them, stands in ``by_condition``. Of
claims on gains and cost a second arm stands beside ours, scored as in the paper: networks by LiSSA over all layers.

The first clause of ``detail`` counts on the data as published; one that begins ``with flipped labels`` may follow. The
README shows these two, without what stands in brackets.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from datagradient.data.conditions import PUBLISHED, is_untrusted, rate_of
from datagradient.errors import UserError
from datagradient.files import Content, read_rows, write_json
from datagradient.files.strict_yaml import read_yaml
from datagradient.influence.options import SOUND

CONFIRMED, PARTLY, NOT_CONFIRMED = "confirmed", "partly", "not confirmed"
NOT_ATTAINABLE, NOT_TESTED = "not attainable as stated", "not tested"
MODALITIES, FAMILIES = {"image", "text", "table"}, {"logistic", "boosted", "neural"}  # that the paper speaks of
TABLES = ("tests", "pooled", "tracking", "iterations", "costs", "data")
CONDITIONED = ("tests", "pooled", "tracking", "iterations")  # tables with a condition in each row
ARMS = {"cpu": "lissa"}  # preset -> the one with the same data and networks, scored as in the paper
ARM_TABLES = ("tests", "pooled", "costs")
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
    claims = read_claims(claims_file)
    tables = {name: read_rows(results / f"{name}.csv") for name in TABLES}
    scalability = results / "scalability.csv"
    tables["scalability"] = read_rows(scalability) if scalability.exists() else []
    arm = {file.stem: read_rows(file) for file in arm_files(results)}
    write_json(out, {"claims": judge(claims, tables, arm)})


def arm_files(results: Path) -> list[Path]:
    """Return the tables of the arm as in the paper that belongs to a preset's results; none if not all are there."""
    arm = ARMS.get(results.name)
    files = [results.parent / arm / f"{name}.csv" for name in ARM_TABLES] if arm else []
    return files if all(file.exists() for file in files) else []


def read_claims(file: Path) -> dict[str, dict]:
    """Return the claims that there are rules for, by name."""
    from pydantic import TypeAdapter

    from datagradient.pipeline.schema import COUNT, mapping, problems, text, value

    claims = read_yaml(file)
    if set(claims) != set(RULES):
        raise UserError(f"{file}: holds {', '.join(map(str, claims))}; there are rules for {', '.join(RULES)}")
    words = dict.fromkeys(("statement", "paper", "unit", "said"), text())
    numbers = {**dict.fromkeys(("low", "high"), value({"type": "number", "ge": 0})), "samples": value(COUNT)}
    claim = mapping({**words, **numbers}, needed=tuple(words))
    for problem in problems(TypeAdapter(mapping(dict.fromkeys(RULES, claim))), claims):
        raise UserError(f"{file}: {problem}")
    return {name: Content(file, claim) for name, claim in claims.items()}


def judge(claims: dict[str, dict], tables: Tables, arm: Tables | None = None) -> list[dict]:
    """Return one row a claim: what the paper says, what was measured, and the verdict.

    Rows of other model families than the paper's do not count; pooled tests are over all that a preset has. Under
    ``by_condition`` stands what the same rule says of each condition with right validation labels alone, and under
    ``as_in_the_paper`` what it says of the other arm; None where that says nothing of the claim.

    Args:
        claims: as `read_claims` returns them.
        tables: `TABLES` and scalability.
        arm: `ARM_TABLES` of the arm as in the paper; None or empty where it was not run.
    """
    tables = {name: [row for row in rows if row.get("model") in (None, *FAMILIES)] for name, rows in tables.items()}
    return [
        {"claim": name, **{key: claim[key] for key in ("statement", "paper", "unit", "said")},
         **asdict(RULES[name](claim, tables)), "by_condition": by_condition(name, claim, tables),
         "as_in_the_paper": as_in_the_paper(name, claim, tables, arm) if arm and name in ARM_CLAIMS else None}
        for name, claim in claims.items()
    ]  # fmt: skip


def by_condition(name: str, claim: dict, tables: Tables) -> list[dict]:
    """Return what a claim's rule says of each condition alone: its name, the measured value and interval, the verdict.

    Conditions with untrusted validation labels are left out, and those that say nothing; cost has no condition.
    """
    names = dict.fromkeys(row["noise"] for table in CONDITIONED for row in tables[table])
    found = []
    for condition in names if RULES[name] is not overhead else ():
        if not is_untrusted(condition):
            alone = {
                table: [{**row, "noise": PUBLISHED} for row in rows if row["noise"] == condition]
                if table in CONDITIONED else rows
                for table, rows in tables.items()
            }  # fmt: skip
            finding = asdict(RULES[name](claim, alone))
            if finding["verdict"] != NOT_TESTED:
                found.append({"condition": condition, **{key: finding[key] for key in MEASURED}})
    return found


def as_in_the_paper(name: str, claim: dict, tables: Tables, arm: Tables) -> dict:
    """Return what a claim's rule says of the arm as in the paper, and in ``ours`` of the same networks by our solvers.

    Without a pooled test over these networks alone, ours has counts and no measured gain.
    """
    models = {row["model"] for row in arm["tests"]}
    nothing: Tables = {table: [] for table in tables}
    ours = {table: [row for row in tables[table] if row["model"] in models] for table in ("tests", "costs")}

    def found(some: Tables) -> dict:
        finding = asdict(RULES[name](claim, {**nothing, **some}))
        return {key: finding[key] for key in (*MEASURED, "detail")} | _unconverged(some["costs"])

    return {**found(arm), "by_condition": by_condition(name, claim, {**nothing, **arm}), "ours": found(ours)}


def _unconverged(costs: list[dict]) -> dict[str, int]:
    """Return the number of solves, one a trained model, and of those that missed their tolerance."""
    return {"solves": sum(int(row["models_trained"]) for row in costs),
            "unconverged": sum(int(row["solver_unconverged"]) for row in costs)}  # fmt: skip


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
    detail = f"{reached} of {len(published)} data sets and models reach {claim['low']:g}"
    if noisy:
        large = [float(test["d"]) for test in noisy if reaches(test)]
        detail += f"; with flipped labels {len(large)} of {len(noisy)}"
        if large:
            detail += f", d from {min(large):.2f} to {max(large):.2f}"
    return Finding(tally(reached, len(published)), "tests", median(values), min(values), max(values),
                   "median; smallest and largest", detail)  # fmt: skip


def significance(claim: dict, tables: Tables) -> Finding:
    """Judged two-sided; where so few seeds cannot reach that, *partly* if every gain is significant one-sided.

    If none is, even the easier reading is *not confirmed*; if some are, the claim is *not attainable as stated*.
    """
    by_metric = [_tests(tables, metric) for metric in ("accuracy", "f1")]
    published, noisy = ([test for tests in by_metric for test in tests[part]] for part in (0, 1))

    def significant(tests: list[dict], side: str) -> int:
        return sum(float(test[f"q_{side}"]) < claim["low"] and float(test["mean_difference"]) > 0 for test in tests)

    if not published:
        return Finding(NOT_TESTED, "tests")
    one, two = significant(published, "one_sided"), significant(published, "two_sided")
    fewest = max(published, key=lambda test: float(test["smallest_p_two_sided"]))  # seeds
    smallest = float(fewest["smallest_p_two_sided"])
    detail = (
        f"{one} of {len(published)} comparisons (accuracy and F1) one-sided, {two} two-sided; "
        f"the smallest two-sided p of {fewest['n']} seeds is {smallest:g}"
    )
    if noisy:
        detail += f"; with flipped labels {significant(noisy, 'one_sided')} of {len(noisy)} one-sided"
    if smallest < claim["low"]:
        verdict = tally(two, len(published))
    else:
        verdict = {len(published): PARTLY, 0: NOT_CONFIRMED}.get(one, NOT_ATTAINABLE)
    return Finding(verdict, "tests", one / len(published), interval="share significant one-sided", detail=detail)


def overhead(claim: dict, tables: Tables) -> Finding:
    """Confirmed where no size up to the paper's costs more than its ratio, by each family's default solver.

    Costs of the run itself stand in detail, and those of networks by all solvers at the largest size.
    """
    costs = [float(row["ratio"]) for row in tables["costs"]]
    detail = f"in this run at most {max(costs):.2f}" if costs else ""
    largest: dict[int, float] = {}  # of all models and data sets of a size
    for row in (row for row in tables["scalability"] if row["default"] == "1"):
        largest[int(row["n"])] = max(float(row["ratio"]), largest.get(int(row["n"]), 0.0))
    if not largest or max(largest) < claim["samples"]:
        return Finding(NOT_TESTED, "costs", max(costs, default=None), interval="largest of the run" if costs else "",
                       detail=f"no measurement at {claim['samples']} samples; {detail}")  # fmt: skip
    ratios = list(largest.values())
    kept = [n for n in sorted(largest) if largest[n] <= claim["low"]]
    words = f"the most expensive model costs at most {claim['low']:g} at {len(kept)} of {len(ratios)} sizes"
    if kept:
        words += f" ({', '.join(f'{n:,}' for n in kept)})"
    more = by_solver([row for row in tables["scalability"] if int(row["n"]) == max(largest)])
    return Finding(tally(len(kept), len(ratios)), "scalability", largest[max(largest)], min(ratios), max(ratios),
                   "at the largest size; range over sizes", "; ".join(filter(None, (words, detail, more))))  # fmt: skip


def by_solver(rows: list[dict]) -> str:
    """Return what influence costs by each solver in the rows of one size, in both readings of the paper's ratio.

    Of several data sets the most expensive counts. Empty where no model was scored by more than its own solver.
    """
    names = {"record": "by the record of the last epoch", "cg-all": "by a converged solve over all layers",
             "lissa": "by LiSSA as in the paper"}  # fmt: skip
    compared = {(row["dataset"], row["model"]) for row in rows if row["solver"] in names}
    rows = [row for row in rows if (row["dataset"], row["model"]) in compared]
    words = []
    for solver in dict.fromkeys(row["solver"] for row in rows):
        row = max((row for row in rows if row["solver"] == solver), key=lambda row: float(row["ratio"]))
        notes = [] if row["solver_status"] in SOUND else [row["solver_status"]]
        if row["train_ratio"]:
            notes.append(f"training with it takes {float(row['train_ratio']):.2f} times as long")
        by = names.get(solver, f"by the solver without a record ({solver})")
        words.append(
            f"{float(row['ratio']):.3g} and {float(row['three_rounds_ratio']):.3g} {by}"
            + (f" ({', '.join(notes)})" if notes else "")
        )
    if not words:
        return ""
    size = f"at {int(rows[0]['n']):,} samples one scoring and three rounds of networks cost, over one training, "
    return size + ", ".join(words)


def tracks(claim: dict, tables: Tables) -> Finding:
    """Confirmed where `dcs` follows accuracy; partly where another definition does, or any with flipped labels."""

    def follows(row: dict) -> bool:
        return float(row["correlation"]) >= claim["low"] and float(row["low"]) > 0

    def words(row: dict) -> str:
        return f"{row['score']} at noise {row['noise']}: " + "{:.2f} [{:.2f}, {:.2f}]".format(
            *(float(row[key]) for key in ("correlation", "low", "high")))  # fmt: skip

    def counted(rows: list[dict]) -> str:
        return f"{sum(map(follows, rows))} of {len(rows)}"

    every = [row for row in tables["tracking"] if not math.isnan(float(row["correlation"]))]
    every = [row for row in every if row["noise"] == PUBLISHED or _is_flipped(row["noise"])]
    rows = [row for row in every if row["score"] != "iteration"]
    main = next((row for row in rows if (row["score"], row["noise"]) == ("dcs", PUBLISHED)), None)
    if main is None:
        return Finding(NOT_TESTED, "tracking")
    reaching = [row for row in rows if follows(row)]
    verdict = CONFIRMED if follows(main) else PARTLY if reaching else NOT_CONFIRMED
    published, noisy = _by_condition(rows)
    detail = f"at least {claim['low']:g} with an interval above 0 in {counted(published)} correlations"
    if noisy:
        detail += f"; with flipped labels {counted(noisy)}"
    if reaching:
        detail += f"; {'; '.join(map(words, reaching))}"
    counter = [words(row).replace("iteration", "the number of the iteration itself", 1)
               for row in every if row["score"] == "iteration"]  # fmt: skip
    if counter:
        detail += f"; {'; '.join(counter)}"
    return Finding(verdict, "tracking", *(float(main[key]) for key in ("correlation", "low", "high")), "95 % t", detail)


def no_overfitting(claim: dict, tables: Tables) -> Finding:
    """Optimism is the gain in validation accuracy beyond that in test accuracy, and any counts as overfitting (ours).

    Not confirmed where the pooled optimism lies above 0; partly where only that of some data set and model does."""
    last = max((int(row["iteration"]) for row in tables["iterations"]), default=0)
    wanted = ("optimism", "influence", last, PUBLISHED)
    rows = [row for row in tables["iterations"]
            if (row["metric"], row["policy"], int(row["iteration"]), row["noise"]) == wanted]  # fmt: skip
    pooled = _pooled(tables, "optimism")(100)
    if not rows or pooled[1] is None or math.isnan(pooled[1]):
        return Finding(NOT_TESTED, "iterations, pooled")
    above = sum(float(row["low"]) > 0 for row in rows)
    verdict = NOT_CONFIRMED if pooled[1] > 0 else PARTLY if above else CONFIRMED
    means = [100 * float(row["mean"]) for row in rows]
    detail = (
        f"validation gains more than test in {above} of {len(rows)} data sets and models (interval above 0); "
        f"by {min(means):.1f} to {max(means):.1f} points"
    )
    return Finding(verdict, "iterations, pooled", *pooled, "95 % t, pooled", detail)


def holds_everywhere(claim: dict, tables: Tables) -> Finding:
    """Confirmed where every data set and model gains accuracy with an interval above 0.

    At most *partly* where not all modalities and model families of the paper stand in the tests.
    """
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
    missing = (MODALITIES - {modality[test["dataset"]] for test in published}) | (
        FAMILIES - {test["model"] for test in published}
    )
    verdict = tally(reached, len(published))
    if missing and verdict == CONFIRMED:
        verdict, detail = PARTLY, f"{detail}; not tested: {', '.join(sorted(missing))}"
    return Finding(verdict, "tests", reached / len(published), interval="share that gains", detail=detail)


RULES: dict[str, Callable[[dict, Tables], Finding]] = {
    "C1": accuracy_gain, "C2": f1_gain, "C3": effect_size, "C4": significance, "C5": overhead, "C6": tracks,
    "C7": no_overfitting, "C8": holds_everywhere,
}  # fmt: skip
ARM_CLAIMS = ("C1", "C2", "C3", "C5")  # on gains and cost
MEASURED = ("measured", "low", "high", "verdict")


def _tests(tables: Tables, metric: str) -> tuple[list[dict], list[dict]]:
    """Return the tests of influence against the baseline: on the data as published, and with flipped labels."""
    wanted = ("influence", "baseline", metric)
    tests = [test for test in tables["tests"] if (test["policy"], test["against"], test["metric"]) == wanted]
    return _by_condition(tests)


def _by_condition(rows: list[dict]) -> tuple[list[dict], list[dict]]:
    """Return the rows of the data as published, and those with flipped labels and right validation labels."""
    return [row for row in rows if row["noise"] == PUBLISHED], [row for row in rows if _is_flipped(row["noise"])]


def _is_flipped(noise: str) -> bool:
    return noise != PUBLISHED and rate_of(noise) is not None and not is_untrusted(noise)


def _pooled(tables: Tables, metric: str) -> Callable[[float], tuple[float | None, float | None, float | None]]:
    wanted = ("influence", "baseline", metric, PUBLISHED)
    row = next((row for row in tables["pooled"]
                if (row["policy"], row["against"], row["metric"], row["noise"]) == wanted), None)  # fmt: skip

    def scaled(scale: float) -> tuple[float | None, float | None, float | None]:
        if row is None:
            return None, None, None
        return tuple(scale * float(row[key]) for key in ("mean_difference", "t_low", "t_high"))

    return scaled
