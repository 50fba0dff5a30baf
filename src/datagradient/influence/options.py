"""The solvers and their options by name. Imports nothing: configuration and command line use it."""

# Solver -> its options, beside `PROBLEM_OPTIONS`: on how many samples, and by which matrix, curvature is measured, and
# which parameters of a network count. The function of a solver stands in `SOLVES` of `datagradient.influence.scores`.
SOLVERS = {
    "cg": ("damping", "tolerance", "max_iterations", "preconditioner"),
    "explicit": ("damping", "tolerance"),
    "lissa": ("damping", "tolerance", "max_iterations", "batch_size", "repeats"),
    "ekfac": ("damping",),
}
PROBLEM_OPTIONS = ("samples", "curvature", "parameters")
CURVATURES, PARAMETERS = ("ggn", "hessian"), ("last", "all")
PRECONDITIONERS = ("own", "ekfac")  # of CG: the model family's own, if it has one; EK-FAC is for networks
# What each option may be, as `datagradient.pipeline.schema` reads it.
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
