"""What the confirmation says of each question of config/protocol.md, beside its goal, for README and docs."""

from collections.abc import Iterator
from pathlib import Path

from datagradient.data.conditions import PUBLISHED, TRUSTED, UNTRUSTED
from datagradient.evidence.recovered import POOLED
from datagradient.files import read_rows
from datagradient.refine.policies import ORACLE_REMOVAL, TRUE_LABELS
from datagradient.report.formats import difference, number, with_interval

FLIPS, HUMAN = "0.2", "worse_label"
LEVEL = 0.05
# What the protocol asks for; config/protocol.md was committed before the run.
SHARE, OF_ORACLE, OF_TRUE_LABELS, LOSS = 0.70, 0.80, 0.90, -0.1
TEXTS = "imdb"
SHOWN = {  # policies of the table, in its order
    "influence": "three rounds by influence (published)", "guarded": "the same, guarded",
    "crossfit": "`crossfit`: removal by cross-fitted influence", "repair": "`repair`: relabelling and removal",
    "crossfit_loss": "as many, by cross-fitted loss", "crossfit_uniform": "as many, at random",
    "added": "validation samples as training samples", "repair_added": "`repair`, and these added",
    ORACLE_REMOVAL: "removal of exactly the wrong labels",
}  # fmt: skip


def recovered(results: Path) -> str:
    """Return the pooled recovered share of every policy, a column for each condition and validation."""
    rows = [row for row in read_rows(results / "recovered.csv") if row["dataset"] == POOLED]
    columns = list(dict.fromkeys((row["condition"], row["validation"]) for row in rows))
    head = [f"{_words(condition)}, {validation} validation" for condition, validation in columns]
    lines = ["| policy | trainings | " + " | ".join(head) + " |", "|---" * (2 + len(head)) + "|"]
    for policy, words in SHOWN.items():
        own = {(row["condition"], row["validation"]): row for row in rows if row["policy"] == policy}
        if own:
            cells = [_share(own.get(column)) for column in columns]
            trainings = max(float(row["trainings"]) for row in own.values())
            lines.append(f"| {words} | {trainings:.0f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def goals(results: Path) -> str:
    """Return each question of the protocol with its goal, what was measured, and whether it was reached."""
    lines = ["| question | goal | measured [95 %] | |", "|---|---|---|---|"]
    for question, goal, measured, is_reached in answers(results):
        lines.append(f"| {question} | {goal} | {measured} | {'reached' if is_reached else '**missed**'} |")
    return "\n".join(lines)


def answers(results: Path) -> Iterator[tuple[str, str, str, bool]]:
    """Yield questions, goals and what was measured in words, and whether the goal was reached."""
    rows = read_rows(results / "recovered.csv")
    flips, human = (_pooled(rows, condition, TRUSTED) for condition in (FLIPS, HUMAN))
    repair = flips["repair"]
    yield (
        "20 % flips: recovered share of `repair`", f"at least {SHARE:.2f}", _share(repair),
        float(repair["share"]) >= SHARE,
    )  # fmt: skip
    cells = [row for row in rows if row["dataset"] != POOLED
             and (row["condition"], row["validation"], row["policy"]) == (FLIPS, TRUSTED, "repair")]  # fmt: skip
    least = min(cells, key=lambda row: float(row["share"]))
    yield (
        "the same, of the data set and model with the least", "at least 0",
        f"{_share(least)}, {least['dataset']} {least['model']}", float(least["share"]) >= 0,
    )  # fmt: skip
    by_removal = flips["crossfit"]
    yield (
        "20 % flips, removal alone: gain of `crossfit` ÷ gain of exact removal", f"at least {OF_ORACLE:.2f}",
        _share(by_removal, "share_of_oracle", "oracle_low", "oracle_high"),
        float(by_removal["share_of_oracle"]) >= OF_ORACLE,
    )  # fmt: skip
    for which, wanted in (("logistic regression", {"model": "logistic"}), ("texts", {"dataset": TEXTS})):
        part = [row for row in cells if wanted.items() <= row.items()]
        gained, lost = (sum(float(row[name]) - float(row["noisy"]) for row in part)
                        for name in ("refined", TRUE_LABELS))  # fmt: skip
        yield (f"20 % flips, {which}: recovered share of `repair`", f"at least {OF_TRUE_LABELS:.2f}",
               number(gained / lost), gained / lost >= OF_TRUE_LABELS)  # fmt: skip
    ours = human["repair"]
    others = {name: float(human[name]["share_of_oracle"]) for name in ("crossfit_loss", "crossfit_uniform")}
    beside = ", ".join(f"{SHOWN[name]} {value:.2f}" for name, value in others.items())
    yield (
        "human labels: gain of `repair` ÷ gain of exact removal",
        f"at least {SHARE:.2f}, above 0 and above loss and chance",
        f"{_share(ours, 'share_of_oracle', 'oracle_low', 'oracle_high')}; {beside}",
        float(ours["share_of_oracle"]) >= max(SHARE, *others.values()) and float(ours["oracle_low"]) > 0,
    )  # fmt: skip
    for condition, trusted in ((FLIPS, flips), (HUMAN, human)):
        row, half = _pooled(rows, condition, UNTRUSTED)["repair"], float(trusted["repair"]["share"]) / 2
        yield (
            f"{_words(condition)}, validation as wrong: recovered share of `repair`",
            f"half of that with right validation labels, {half:.2f}", _share(row), float(row["share"]) >= half,
        )  # fmt: skip
    pooled, tests = read_rows(results / "pooled.csv"), read_rows(results / "tests.csv")
    for policy in ("repair", "crossfit", "guarded"):
        keys = {"policy": policy, "against": "baseline", "noise": PUBLISHED, "metric": "accuracy"}
        change = next(row for row in pooled if keys.items() <= row.items())
        worse = [row for row in tests if keys.items() <= row.items() and float(row["mean_difference"]) < 0
                 and float(row["q_two_sided"]) <= LEVEL]  # fmt: skip
        yield (
            f"as published: change of test accuracy by `{policy}`, in points",
            f"at least {LOSS:g}, and no data set and model significantly below 0",
            f"{difference(change)}; {len(worse)} significantly below",
            100 * float(change["mean_difference"]) >= LOSS and not worse,
        )  # fmt: skip


def few_trusted(results: Path) -> str:
    """Return the recovered share by the number of trusted validation labels, a line for each condition and way."""
    rows = [row for row in read_rows(results / "trusted_shares.csv") if row["dataset"] != POOLED]
    lines = ["| labels, data set | way | by number of trusted labels: recovered share |", "|---|---|---|"]
    for key in dict.fromkeys((row["condition"], row["dataset"], row["way"]) for row in rows if row["model"] == POOLED):
        condition, dataset, way = key
        if way.startswith("check_"):
            continue
        own = [row for row in rows
               if (row["condition"], row["dataset"], row["way"], row["model"]) == (*key, POOLED)]  # fmt: skip
        shares = ", ".join(f"{row['labels']}: {_share(row)}" for row in own)
        lines.append(f"| {_words(condition)}, {dataset} | {way} | {shares} |")
    return "\n".join(lines)


def _pooled(rows: list[dict], condition: str, validation: str) -> dict[str, dict]:
    return {row["policy"]: row for row in rows if row["dataset"] == POOLED
            and (row["condition"], row["validation"]) == (condition, validation)}  # fmt: skip


def _share(row: dict | None, share: str = "share", low: str = "low", high: str = "high") -> str:
    return "–" if row is None or row[share] == "nan" else with_interval(row, share, low, high)


def _words(condition: str) -> str:
    return {FLIPS: "20 % flips", HUMAN: "human labels (worse_label)"}.get(condition, condition)
