"""Verdicts in few words: under which condition, and by which arm, the paper's numbers appear."""

import re
from collections import Counter

from datagradient.data.conditions import PUBLISHED, rate_of
from datagradient.evidence.claims import CONFIRMED, NOT_ATTAINABLE, NOT_CONFIRMED, NOT_TESTED, PARTLY
from datagradient.report.amounts import decimal
from datagradient.report.formats import noise_words

FLIPPED, HUMAN = "0.2", "worse_label"  # the conditions that need no name in their column; others are named
ARM = "LiSSA over all layers of the networks"
OURS = "the solvers that provenance.json of the run names"
BESIDES = {"flipped": "with flipped labels", "human": "with human labels",
           "as in the paper": "as in the paper (networks, LiSSA)"}  # fmt: skip
GAIN = "C1"  # the claim on the change of test accuracy


def rows(claims: list[dict]) -> list[dict[str, str]]:
    """Return each claim in few words, by column; of its detail the counts alone, and no column that says nothing."""
    told = [{**texts(claim), "as in the paper": _arm_in_short(claim)} for claim in claims]
    shown = {key: words for key, words in BESIDES.items() if any(text[key] for text in told)}
    return [
        {
            "": claim["claim"],
            "claim": claim["statement"],
            "paper": claim["paper"],
            "measured": measured(claim),
            "as published": re.sub(r" \([^()]*\)", "", claim["detail"]).split("; ")[0],
            **{words: text[key] or "–" for key, words in shown.items()},
            "verdict": claim["verdict"],
        }
        for claim, text in zip(claims, told, strict=True)
    ]


def measured(claim: dict) -> str:
    """Return what was measured, with its unit and interval, and what the interval is."""
    number, low, high = _amounts(claim, claim["unit"])
    interval = f"[{low}, {high}]" if low else ""
    what = f"({claim['interval']})" if number else ""
    return " ".join(filter(None, (number, claim["unit"] if number else "", interval, what)))


def _amounts(found: dict, unit: str) -> list[str]:
    """Return what was measured and the ends of its interval, in percent of what the unit names; "" where unknown."""
    share = unit.startswith("of ")
    values = [found["measured"], found["low"], found["high"]]
    return ["" if value is None else f"{100 * value:.0f} %" if share else f"{value:.3g}" for value in values]


def headline(claims: list[dict]) -> str:
    """Return how many claims are confirmed, in full and in part, and how many are not tested."""
    counts = Counter(claim["verdict"] for claim in claims)
    full = counts[CONFIRMED]
    whole = f"{full or 'None'} of the paper's {len(claims)} claims {_are(full or 1)} confirmed in full"
    others = [f"{counts[verdict]} {_are(counts[verdict])} {words}"
              for verdict, words in ((PARTLY, "in part"), (NOT_TESTED, NOT_TESTED)) if counts[verdict]]  # fmt: skip
    return ", ".join([whole, *others])


def in_two_sentences(claims: list[dict]) -> str:
    """Return which claims have which verdict, and how refinement changes test accuracy under each condition."""
    by_verdict = {verdict: [claim["claim"] for claim in claims if claim["verdict"] == verdict]
                  for verdict in (CONFIRMED, PARTLY, NOT_CONFIRMED, NOT_ATTAINABLE, NOT_TESTED)}  # fmt: skip
    found = [f"{_listed(names)} {_are(len(names))} {'partly confirmed' if verdict == PARTLY else verdict}"
             for verdict, names in by_verdict.items() if names]  # fmt: skip
    gain = next(claim for claim in claims if claim["claim"] == GAIN)
    changes = [f"{_change(part, gain['unit'])} ({noise_words(part['condition'], 'of labels flipped')})"
               for part in gain["by_condition"] if part["measured"] is not None]  # fmt: skip
    effect = f"Refinement by influence changes test accuracy by {_listed(changes)}; in brackets: {gain['interval']}."
    return f"By one rule for each, {'; '.join(found)}.{f' {effect}' if changes else ''}"


def _change(part: dict, unit: str) -> str:
    number, low, high = (decimal(part[key]) for key in ("measured", "low", "high"))
    return f"{'+' if part['measured'] > 0 else ''}{number} {unit} [{low}, {high}]"


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1] if words else "")))


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def short(found: dict, unit: str) -> str:
    """Return what was measured with its interval, and the verdict by the same rule; of one value alone no interval."""
    values = _amounts(found, unit)
    interval = f"[{values[1]}, {values[2]}]" if values[1] and len(set(values)) > 1 else ""
    number = " ".join(filter(None, (values[0], unit if values[0] else "", interval)))
    return "; ".join(filter(None, (number, found["verdict"])))


def texts(claim: dict) -> dict[str, str]:
    """Return what a claim's rule says of flipped and of human labels, and of the arm as in the paper.

    Empty where these were not run, or say nothing of the claim.
    """
    found, unit = claim.get("by_condition") or [], claim["unit"]
    human, flipped = ([part for part in found if _is_human(part) == wanted and part["condition"] != PUBLISHED]
                      for wanted in (True, False))  # fmt: skip
    return {"flipped": _by_name(flipped, unit), "human": _by_name(human, unit), "as in the paper": _arm(claim)}


def summary(claims: list[dict]) -> str:
    """Return under which condition the paper's numbers appear, by our solvers and as in the paper; "" if unknown."""
    if not any(claim.get("by_condition") for claim in claims):
        return ""
    where = _where({claim["claim"]: claim["by_condition"] for claim in claims})
    without = [f"{claim['claim']}, which has no condition: {claim['verdict']}" for claim in claims
               if not claim["by_condition"] and claim["measured"] is not None]  # fmt: skip
    arms = {claim["claim"]: claim["as_in_the_paper"] for claim in claims if claim.get("as_in_the_paper")}
    judged = {name: arm["by_condition"] for name, arm in arms.items() if arm["by_condition"]}
    other = f"of {', '.join(judged)}, {'; '.join(_where(judged))}" if judged else "not run"
    solves = "".join(f" Of its {arm['solves']} solves {arm['unconverged']} miss their tolerance."
                     for arm in list(arms.values())[:1])  # fmt: skip
    return (
        "Where the paper's numbers appear, by the same rules; in part means for some data sets and models, or by some "
        f"measure. Ours ({OURS}), {'; '.join([*where, *without])}. As in the paper ({ARM}), {other}.{solves}"
    )


def _where(found: dict[str, list[dict]]) -> list[str]:
    """Return in words, for each condition, the claims that are confirmed there, in full or in part."""
    conditions = list(dict.fromkeys(part["condition"] for parts in found.values() for part in parts))
    clauses = []
    for kind, words in (("published", "on the data as published"), ("flipped", "with flipped labels"),
                        ("human", "with human labels")):  # fmt: skip
        own = [name for name in conditions if _kind(name) == kind]
        for condition in own:
            verdicts = {claim: part["verdict"] for claim, parts in found.items() for part in parts
                        if part["condition"] == condition}  # fmt: skip
            reached = [f"{how} {', '.join(names)}" for how, verdict in (("in full", CONFIRMED), ("in part", PARTLY))
                       if (names := [claim for claim, given in verdicts.items() if given == verdict])]  # fmt: skip
            name = f" ({condition})" if condition != PUBLISHED else ""
            clauses.append(f"{words}{name}: {', '.join(reached) or 'none'}")
        if not own:
            clauses.append(f"{words}: not run")
    return clauses


def _kind(condition: str) -> str:
    if condition == PUBLISHED:
        return "published"
    return "human" if rate_of(condition) is None else "flipped"


def _is_human(part: dict) -> bool:
    return _kind(part["condition"]) == "human"


def _by_name(found: list[dict], unit: str) -> str:
    plain = sorted(found, key=lambda part: part["condition"] not in (FLIPPED, HUMAN))
    return "; ".join(
        short(part, unit) if part["condition"] in (FLIPPED, HUMAN) else f"{part['condition']}: {short(part, unit)}"
        for part in plain
    )


def _arm(claim: dict) -> str:
    """Return gains or cost of the arm as in the paper, under all conditions, and those of the same networks by ours."""
    arm, unit = claim.get("as_in_the_paper"), claim["unit"]
    if not arm:
        return ""
    found = [f"{noise_words(part['condition'], 'of labels flipped')}: {short(part, unit)}"
             for part in arm["by_condition"] if part["condition"] != PUBLISHED]  # fmt: skip
    return "; ".join([short(arm, unit), *found, _solves(arm), f"the same networks by our solvers: {_ours(claim)}"])


def _arm_in_short(claim: dict) -> str:
    """Return what the arm as in the paper gains or costs, on the data as published where there are conditions."""
    arm = claim.get("as_in_the_paper")
    return short(arm, claim["unit"]) if arm else ""


def _ours(claim: dict) -> str:
    ours = claim["as_in_the_paper"]["ours"]
    known = short(ours, claim["unit"]) if ours["measured"] is not None else ours["detail"].split("; ")[0]
    return f"{known}; {_solves(ours)}"


def _solves(arm: dict) -> str:
    return f"{arm['unconverged']} of {arm['solves']} solves unconverged"
