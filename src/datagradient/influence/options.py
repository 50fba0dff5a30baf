"""The solvers and their options by name. Imports nothing heavy: configuration and command line use it."""

from collections.abc import Collection, Iterator

# Solver -> its options. `PROBLEM_OPTIONS` apply to all solvers: the number of samples and the matrix for curvature, and
# the parameters of a network that count. `SOLVES` of `datagradient.influence.scores` holds each solver's function.
RECORD = "record"
SOLVERS = {
    "cg": ("damping", "tolerance", "max_iterations", "preconditioner"),
    # By what the last epoch of training kept, see `datagradient.influence.record`; what was not kept is computed again.
    RECORD: ("damping", "tolerance", "max_iterations"),
    "explicit": ("damping", "tolerance"),
    "lissa": ("damping", "tolerance", "max_iterations", "batch_size", "repeats"),
    "ekfac": ("damping",),
}
SOUND = ("converged", "truncated", "approximate")  # statuses of solves that did what they were asked for
PROBLEM_OPTIONS = ("samples", "curvature", "parameters")
# "projected": all, by projected gradients and their second moment.
CURVATURES, PARAMETERS = ("ggn", "hessian"), ("last", "all", "projected")
PRECONDITIONERS = ("own", "ekfac")  # for CG: that of the model family, if it has one; EK-FAC is for networks
# The legal values of each option, in the form that `datagradient.pipeline.schema` reads.
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


def misfits(solver: dict, choices: Collection[str], is_kept: bool) -> Iterator[tuple[str, str]]:
    """Yield the options of a solver that conflict with others or with the family of the model, and why.

    `choices` are the options that the family's own solver has; `is_kept` says whether it keeps records.
    """
    for key in PROBLEM_OPTIONS[1:]:
        if key in solver and key not in choices:
            yield key, "this family has no such choice"
    if solver["name"] == RECORD and not is_kept:
        yield "name", f"{RECORD} is for networks"
    elif solver["name"] == RECORD and solver.get("parameters") == "all":
        yield "parameters", f"all, and {RECORD} keeps last or projected; name: cg takes all"
    if solver["name"] not in ("cg", RECORD) and solver.get("tolerance") == 0:
        yield "tolerance", f"{solver['name']} needs a tolerance above 0"
    if "ekfac" in (solver["name"], solver.get("preconditioner")):
        if "parameters" not in solver:
            yield "name" if solver["name"] == "ekfac" else "preconditioner", "ekfac is for networks"
        elif solver["parameters"] != "all":
            yield "parameters", f"{solver['parameters']}, and ekfac needs all"
