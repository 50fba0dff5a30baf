"""What the confirmation says of each question of config/protocol.md, beside its goal, for README and docs."""

import math
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

from datagradient.data.conditions import PUBLISHED, TRUSTED, UNTRUSTED
from datagradient.evidence.candidates import summaries
from datagradient.evidence.recovered import POOLED
from datagradient.files import read_json, read_rows
from datagradient.refine.policies import ORACLE_REMOVAL, TRUE_LABELS
from datagradient.report.formats import (
    ALL,
    dataset_titles,
    difference,
    noise_words,
    number,
    trusted_shares,
    with_interval,
    wrapped,
)

FLIPS, HUMAN = "0.2", "worse_label"
# What the protocol asks for; config/protocol.md was committed before the run.
SHARE, OF_ORACLE, OF_TRUE_LABELS, LOSS = 0.70, 0.80, 0.90, -0.1
TEXTS = "imdb"
VALIDATION_WORDS = {TRUSTED: "", UNTRUSTED: ", validation as wrong"}
SHOWN = {  # policies of the table, in its order
    "influence": "three rounds by influence (published)", "guarded": "the same, guarded",
    "crossfit": "`crossfit`: removal by cross-fitted influence", "repair": "`repair`: relabelling and removal",
    "crossfit_loss": "as many, by cross-fitted loss", "crossfit_uniform": "as many, at random",
    "added": "validation samples as training samples", "repair_added": "`repair`, and these added",
    ORACLE_REMOVAL: "removal of exactly the wrong labels",
}  # fmt: skip


IN_SHORT = ("influence", "repair", "added", ORACLE_REMOVAL)
PRIMARY = "harm_reduction_selection"  # definition of the contribution score
SCORES = {PRIMARY: f"`{PRIMARY}` (primary)", "iteration": "the number of the iteration"}  # others by their name


def in_short(results: Path) -> str:
    """Return the table of `recovered` with the published policy, ours, its simplest rival, and the ceiling."""
    return recovered(results, IN_SHORT)


def recovered(results: Path, policies: Iterable[str] = tuple(SHOWN)) -> str:
    """Return the pooled recovered share of policies, a column for each condition and validation."""
    every = read_rows(results / "recovered.csv")
    rows = [row for row in every if row["dataset"] == POOLED]
    columns = list(dict.fromkeys((row["condition"], row["validation"]) for row in rows))
    head = [f"{_words(condition)}, {validation} validation" for condition, validation in columns]
    lines = ["| policy | trainings | " + " | ".join(head) + " |", "|---" * (2 + len(head)) + "|"]
    for policy, words in ((policy, SHOWN[policy]) for policy in policies):
        own = {(row["condition"], row["validation"]): row for row in rows if row["policy"] == policy}
        if own:
            cells = [_share(own.get(column)) for column in columns]
            counts = [round(float(row["trainings"])) for row in every if row["policy"] == policy]
            trainings = f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else f"{counts[0]}"
            lines.append(f"| {words} | {trainings} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def against_added(results: Path, policy: str = "repair") -> str:
    """Return how a policy compares with training on the validation samples too, under each condition, in words."""
    keys = {"policy": policy, "against": "added", "metric": "accuracy"}
    rows = [row for row in read_rows(results / "pooled.csv") if keys.items() <= row.items()]
    changes = [f"{difference(row)} points, p {float(row['p_two_sided']):.2g} ({_words(row['noise'])})" for row in rows]
    return wrapped(f"Test accuracy of `{policy}` minus that of `added`: {'; '.join(changes)}.")


def stronger_baseline(results: Path) -> str:
    """Return accuracies and recovered shares of the networks of `averaging`, without and with averaged weights."""
    policies = ("influence", "crossfit", ORACLE_REMOVAL)
    titles = dataset_titles(results / "averaging")
    found = {
        preset: {(row["condition"], row["dataset"], row["model"], row["policy"]): row
                 for row in read_rows(results / preset / "recovered.csv") if row["validation"] == TRUSTED}
        for preset in ("confirm", "averaging")
    }  # fmt: skip
    lines = ["| labels, network | weights | unrefined [%] | right labels [%] | "
             f"{' | '.join(SHOWN[policy] for policy in policies)} |", "|---" * (4 + len(policies)) + "|"]  # fmt: skip
    cells = dict.fromkeys(key[:3] for key in found["averaging"] if key[1] != POOLED)
    for cell, (preset, words) in product(cells, (("confirm", "of the last step"), ("averaging", "averaged"))):
        own = [found[preset][*cell, policy] for policy in policies]
        accuracies = [f"{100 * float(own[0][name]):.2f}" for name in ("noisy", TRUE_LABELS)]
        lines.append(f"| {_words(cell[0])}, {titles[cell[1]]} | {words} | {' | '.join(accuracies)} | "
                     f"{' | '.join(map(_share, own))} |")  # fmt: skip
    return "\n".join(lines)


def candidates(results: Path) -> str:
    """Return what candidates for removal and relabelling recover on development seeds, a column for each condition."""
    found = summaries(read_rows(results / "policies.csv"))
    conditions = list(dict.fromkeys(one.condition for one in found))
    best = [one for one in found if one.condition == FLIPS]  # in whose order they stand
    widest = max(len(one.seeds) for one in best)
    lines = [f"| candidate | trainings | {' | '.join(map(_words, conditions))} | of these wrong, 20 % flips |",
             "|---" * (3 + len(conditions)) + "|"]  # fmt: skip
    for one in best:
        own = {other.condition: other for other in found if other.candidate == one.candidate}
        cells = [f"{100 * own[name].pooled.change:+.2f} points" if name == PUBLISHED else number(own[name].pooled.share)
                 for name in conditions]  # fmt: skip
        precision = "–" if math.isnan(one.precision) else f"{one.precision:.0%}"
        name = one.candidate if len(one.seeds) == widest else f"{one.candidate} ({', '.join(one.by_family)} alone)"
        lines.append(f"| {name} | {one.trainings:.1f} | {' | '.join(cells)} | {precision} |")
    return "\n".join(lines)


def human_verdicts(results: Path) -> str:
    """Return the verdicts on the paper's claims with labels that people gave, by the same rules, in words."""
    claims = read_json(results / "claims.json")["claims"]
    own = {claim["claim"]: part for claim in claims for part in claim["by_condition"] if part["condition"] == HUMAN}
    verdicts: dict[str, list[str]] = {}
    for claim, part in own.items():
        verdicts.setdefault(part["verdict"], []).append(claim)
    words = "; ".join(f"**{verdict}** {', '.join(names)}" for verdict, names in verdicts.items())
    gain, low, high = (own["C1"][name] for name in ("measured", "low", "high"))
    return wrapped(
        f"With labels that people gave to CIFAR-10 (`{HUMAN}`, right validation labels, the seeds of the confirmation) "
        f"three rounds of influence change test accuracy by {gain:+.2f} points [{low:.2f}, {high:.2f}]. By the same "
        f"rules: {words}."
    )


def goals(results: Path) -> str:
    """Return each question of the protocol with its goal, what was measured, and whether it was reached."""
    lines = ["| question | goal | measured [95 %] | |", "|---|---|---|---|"]
    for question, goal, measured, is_reached in answers(results):
        lines.append(f"| {question} | {goal} | {measured} | {'reached' if is_reached else '**missed**'} |")
    return "\n".join(lines)


def both_together(results: Path) -> str:
    """Return the questions of the second protocol, on `repair_added`, beside `added`, which repairs nothing."""
    rows, pooled = read_rows(results / "recovered.csv"), read_rows(results / "pooled.csv")
    lines = ["| question | goal | `repair_added` [95 %] | | `added` |", "|---|---|---|---|---|"]

    def add(question: str, goal: float, text: str, value: float, beside: str) -> None:
        reached = "reached" if value >= goal else "**missed**"
        lines.append(f"| {question} | at least {goal:g} | {text} | {reached} | {beside} |")

    flips, human = (_pooled(rows, condition, TRUSTED) for condition in (FLIPS, HUMAN))
    ours, other = flips["repair_added"], flips["added"]
    add("20 % flips: recovered share", SHARE, _share(ours), float(ours["share"]), _share(other))
    least, least_too = (
        min((row for row in rows if row["dataset"] != POOLED and (row["condition"], row["policy"]) == (FLIPS, policy)),
            key=lambda row: float(row["share"])) for policy in ("repair_added", "added")
    )  # fmt: skip
    words = [f"{_share(row)}, {row['dataset']} {row['model']}" for row in (least, least_too)]
    add("20 % flips: the same, of the data set and model with the least", 0, words[0], float(least["share"]), words[1])
    ours, other = human["repair_added"], human["added"]
    add("human labels: gain ÷ gain of exact removal", SHARE, _of_exact(ours), float(ours["share_of_oracle"]),
        _of_exact(other))  # fmt: skip
    keys = {"against": "baseline", "noise": PUBLISHED, "metric": "accuracy"}
    change, too = (next(row for row in pooled if {**keys, "policy": policy}.items() <= row.items())
                   for policy in ("repair_added", "added"))  # fmt: skip
    add("as published: change of test accuracy, in points", LOSS, difference(change),
        100 * float(change["mean_difference"]), difference(too))  # fmt: skip
    return "\n".join([*lines, "", against_added(results, "repair_added")])


Answer = tuple[str, str, str, bool]  # question, goal, what was measured, in words, and whether the goal was reached


def answers(results: Path) -> Iterator[Answer]:
    """Yield the protocol's questions with goals, what was measured, and whether a goal was reached.

    Without trusted validation labels the goals are half of those with them: of the goals, which is the stricter reading
    of the protocol, not of what was measured.
    """
    rows = read_rows(results / "recovered.csv")
    for validation, part in ((TRUSTED, 1.0), (UNTRUSTED, 0.5)):
        yield from _of_flips(rows, validation, part)
        yield _of_human_labels(rows, validation, part)
    yield from _as_published(results)


def _of_flips(rows: list[dict], validation: str, part: float) -> Iterator[Answer]:
    """Yield the questions on flipped labels; goals are multiplied by `part`."""
    pooled, where = _pooled(rows, FLIPS, validation), f"20 % flips{VALIDATION_WORDS[validation]}"
    repair, goal = pooled["repair"], part * SHARE
    yield f"{where}: recovered share of `repair`", _at_least(goal), _share(repair), float(repair["share"]) >= goal
    cells = [row for row in rows if row["dataset"] != POOLED
             and (row["condition"], row["validation"], row["policy"]) == (FLIPS, validation, "repair")]  # fmt: skip
    least = min(cells, key=lambda row: float(row["share"]))
    yield (
        f"{where}: the same, of the data set and model with the least", "at least 0",
        f"{_share(least)}, {least['dataset']} {least['model']}", float(least["share"]) >= 0,
    )  # fmt: skip
    removal, goal = pooled["crossfit"], part * OF_ORACLE
    yield (
        f"{where}, removal alone: gain of `crossfit` ÷ gain of exact removal", _at_least(goal), _of_exact(removal),
        float(removal["share_of_oracle"]) >= goal,
    )  # fmt: skip
    for which, wanted in (("logistic regression", {"model": "logistic"}), ("texts", {"dataset": TEXTS})):
        own, goal = [row for row in cells if wanted.items() <= row.items()], part * OF_TRUE_LABELS
        gained, lost = (sum(float(row[name]) - float(row["noisy"]) for row in own)
                        for name in ("refined", TRUE_LABELS))  # fmt: skip
        share = gained / lost
        yield f"{where}, {which}: recovered share of `repair`", _at_least(goal), number(share), share >= goal


def _of_human_labels(rows: list[dict], validation: str, part: float) -> Answer:
    pooled, goal = _pooled(rows, HUMAN, validation), part * SHARE
    ours = pooled["repair"]
    others = {name: float(pooled[name]["share_of_oracle"]) for name in ("crossfit_loss", "crossfit_uniform")}
    beside = ", ".join(f"{SHOWN[name]} {value:.2f}" for name, value in others.items())
    return (
        f"human labels{VALIDATION_WORDS[validation]}: gain of `repair` ÷ gain of exact removal",
        f"{_at_least(goal)}, above 0 and above loss and chance", f"{_of_exact(ours)}; {beside}",
        float(ours["share_of_oracle"]) >= max(goal, *others.values()) and float(ours["oracle_low"]) > 0,
    )  # fmt: skip


def _as_published(results: Path) -> Iterator[Answer]:
    """Yield the change by each policy; t intervals stand for significance, which so few seeds cannot reach."""
    tests, pooled, safety = (read_rows(results / f"{name}.csv") for name in ("tests", "pooled", "safety"))
    for policy in ("repair", "crossfit", "guarded"):
        keys = {"policy": policy, "against": "baseline", "noise": PUBLISHED, "metric": "accuracy"}
        change = next(row for row in pooled if keys.items() <= row.items())
        own = [row for row in tests if keys.items() <= row.items()]
        worse = sum(float(row["t_high"]) < 0 for row in own)
        runs = next(row for row in safety if (row["policy"], row["noise"]) == (policy, PUBLISHED))
        yield (
            f"as published: change of test accuracy by `{policy}`, in points",
            f"at least {LOSS:g}, and no data set and model below 0",
            f"{difference(change)}; {worse} of {len(own)} t intervals below 0; acted in {runs['acted']} of "
            f"{runs['runs']} runs",
            100 * float(change["mean_difference"]) >= LOSS and not worse,
        )  # fmt: skip


def _at_least(goal: float) -> str:
    return f"at least {goal:.2f}"


def _of_exact(row: dict) -> str:
    return _share(row, "share_of_oracle", "oracle_low", "oracle_high")


def found(results: Path) -> str:
    """Return what `crossfit` removes with trusted validation labels, and what comes back, by data set and model."""
    rows, titles = read_rows(results / "metrics.csv"), dataset_titles(results)
    shares = {(row["condition"], row["dataset"], row["model"], row["policy"]): row
              for row in read_rows(results / "recovered.csv") if row["validation"] == TRUSTED}  # fmt: skip
    removals: dict[tuple[str, ...], list[list[int]]] = {}  # by policy too, sums: removed, wrong ones, samples
    for row in rows:
        if row["policy"] in ("crossfit", ORACLE_REMOVAL) and row["noise"] in (FLIPS, HUMAN):
            removed, samples = int(row["removed"]), int(row["n_train"]) + int(row["removed"])
            key = (row["noise"], row["dataset"], row["model"], row["policy"])
            removals.setdefault(key, []).append([removed, int(row["removed_flipped"]), samples])
    lines = ["| labels, data set, model | removed | of these wrong | of all wrong labels | recovered share [95 %] "
             "| by removal of exactly the wrong ones |", "|---" * 6 + "|"]  # fmt: skip
    cells_of = dict.fromkeys(key[:3] for key in removals)
    for condition, dataset, model in sorted(cells_of, key=lambda cell: cell[0] != FLIPS):
        cell = (condition, dataset, model)
        removed, hits, samples = map(sum, zip(*removals[*cell, "crossfit"], strict=True))
        wrong = sum(part[0] for part in removals[*cell, ORACLE_REMOVAL])
        cells = [f"{hits_of:.0%}" for hits_of in (removed / samples, hits / removed, hits / wrong)]
        lines.append(f"| {_words(condition)}, {titles[dataset]}, {model} | {' | '.join(cells)} | "
                     f"{_share(shares[*cell, 'crossfit'])} | {_share(shares[*cell, ORACLE_REMOVAL])} |")  # fmt: skip
    return "\n".join(lines)


def tracking(results: Path) -> str:
    """Return how definitions of the contribution score follow test accuracy within runs, a column a condition."""
    rows = read_rows(results / "tracking.csv")
    conditions = list(dict.fromkeys(row["noise"] for row in rows))
    lines = ["| contribution score | " + " | ".join(map(noise_words, conditions)) + " |",
             "|---" * (1 + len(conditions)) + "|"]  # fmt: skip
    for score in _scores(row["score"] for row in rows):
        own = {row["noise"]: row for row in rows if row["score"] == score}
        lines.append(
            f"| {SCORES.get(score, f'`{score}`')} | "
            + " | ".join(_share(own.get(noise), "correlation") for noise in conditions)
            + " |"
        )
    return "\n".join(lines)


def tracking_of_others(results: Path) -> str:
    """Return what smaller presets say of the definitions of the contribution score on the data as published."""
    found = {
        preset: {row["score"]: row for row in read_rows(results / preset / "tracking.csv") if row["noise"] == PUBLISHED}
        for preset in ("confirm-added", "averaging", "lissa")
    }
    heads = ["contribution score", *(f"`{preset}`" for preset in found)]
    rows = [[SCORES.get(score, f"`{score}`"), *(_share(own[score], "correlation") for own in found.values())]
            for score in _scores(next(iter(found.values())))]  # fmt: skip
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows))


def _scores(names: Iterable[str]) -> list[str]:
    """Return definitions of the contribution score, the primary one first and the number of the iteration last."""
    return sorted(dict.fromkeys(names), key=lambda score: (score != PRIMARY, score == "iteration"))


def few_trusted(results: Path) -> str:
    """Return the recovered share of every way and data set, a column for each number of trusted validation labels."""
    rows = [
        row for row in trusted_shares(results, checked=False) if row["dataset"] != POOLED and row["model"] == POOLED
    ]
    titles, numbers = dataset_titles(results), list(dict.fromkeys(row["labels"] for row in rows))
    numbers.sort(key=lambda labels: float("inf") if labels == ALL else int(labels))
    lines = ["| labels, data set | way | " + " | ".join(numbers) + " |", "|---" * (2 + len(numbers)) + "|"]
    for condition, dataset, way in dict.fromkeys((row["condition"], row["dataset"], row["way"]) for row in rows):
        own = {row["labels"]: row for row in rows
               if (row["condition"], row["dataset"], row["way"]) == (condition, dataset, way)}  # fmt: skip
        cells = [_share(own.get(labels)) for labels in numbers]
        lines.append(f"| {_words(condition)}, {titles[dataset]} | {way} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _pooled(rows: list[dict], condition: str, validation: str) -> dict[str, dict]:
    return {row["policy"]: row for row in rows if row["dataset"] == POOLED
            and (row["condition"], row["validation"]) == (condition, validation)}  # fmt: skip


def _share(row: dict | None, share: str = "share", low: str = "low", high: str = "high") -> str:
    return "–" if row is None or row[share] == "nan" else with_interval(row, share, low, high)


def _words(condition: str) -> str:
    return {FLIPS: "20 % flips", HUMAN: "human labels (worse_label)", PUBLISHED: "as published"}.get(
        condition, condition
    )
