"""The expected cost of scoring a network, in forward passes over the training set, from operation counts alone.

One pass over m samples costs m/n of a pass over the training set. A gradient takes about 3 forward passes (one forward,
and twice as much backward), a forward-mode pass 2.5 and a Gauss–Newton product 6 (measured on small networks on
CPUs). Not counted are the algebra of the last layer, the eigenvectors of EK-FAC and the overhead of each call; they
dominate for tiny networks and small samples.
"""

GRADIENT, FORWARD_MODE, PRODUCT = 3.0, 2.5, 6.0
EKFAC = 2 * (GRADIENT + 1.0)  # two passes with gradients, each with additional moments or diagonals


def forward_passes(n: int, n_validation: int, solver: dict, iterations: int) -> float:
    """Return the expected cost of scoring n training samples.

    Args:
        n: training samples.
        n_validation: validation samples.
        solver: the solver's options for the kind of data, as in influence.json.
        iterations: steps that it took, or is expected to take.
    """
    samples = min(solver.get("samples") or n, n)
    if solver.get("parameters", "last") == "last":
        drawn = iterations * solver.get("batch_size", 64) if solver["name"] == "lissa" else 0
        return (n_validation + n + (samples if samples < n else 0) + drawn) / n  # one pass if they are the same
    ekfac = EKFAC if "ekfac" in (solver["name"], solver.get("preconditioner")) else 0.0
    if solver["name"] == "lissa":
        solve = PRODUCT * (iterations * solver.get("batch_size", 64) + (10 + 5) * samples)  # power iteration, checks
    else:  # the last product checks the residual; applying EK-FAC's inverse needs no other product
        solve = PRODUCT * (iterations + (solver["name"] != "ekfac")) * samples
    return (GRADIENT * n_validation + ekfac * samples + solve + FORWARD_MODE * n) / n


def training_passes(settings: dict) -> float:
    """Return the expected cost of training: a gradient of every sample in each epoch."""
    return GRADIENT * settings["epochs"]
