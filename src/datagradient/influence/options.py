"""The solvers and their options by name. Imports nothing, because configuration and command line use it."""

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


def record_misfit(solver: dict, is_kept: bool) -> tuple[str, str] | None:
    """Return the option of the solver ``record`` that does not fit, and why; None where all do, or for other solvers.

    `is_kept` says whether the model's family keeps records.
    """
    if solver["name"] != RECORD:
        return None
    if not is_kept:
        return "name", f"{RECORD} is for networks"
    if solver.get("parameters") == "all":
        return "parameters", f"all, and {RECORD} keeps last or projected; name: cg takes all"
    return None
