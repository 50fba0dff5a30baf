"""Whether a loss that a training minimises is the cross-entropy of its labels, by its derivative in every pass."""

import math

import torch
from torch import Tensor

from datagradient.influence.losses import residuals
from datagradient.influence.solvers import SolverError

SINGLE, HALF = 1e-2, 0.1  # tolerance, by precision
NOTHING = 1e-6  # size of a sample's derivative below which rounding is all that is left of it


class Derivative:
    """Compares derivatives by the logits with those of cross-entropy, up to one factor a pass.

    The factor is that of the reduction (sum, mean, accumulated gradients) and of mixed precision. It must be the same
    in all passes of as many samples, up to powers of two, by which mixed precision changes it.

    Args:
        n: number of samples.
    """

    def __init__(self, n: int):
        self._compared = torch.zeros(n, dtype=torch.bool)
        self._departures: list[tuple[Tensor, Tensor, float]] = []  # by sample, and what is tolerated
        self._factors: dict[int, list[tuple[Tensor, Tensor]]] = {}  # by the size of the pass: samples and factor

    def see(
        self, samples: Tensor, gradient: Tensor, logits: Tensor, labels: Tensor, weights: Tensor | None
    ) -> Tensor:  # fmt: skip
        """Return the factor of a pass, in single precision: its gradients ÷ those of the sum of its samples' losses.

        Args:
            samples: numbers (m,).
            gradient: by the logits, (m, classes) or (m, 1).
            logits: of the same shape.
            labels: (m,).
            weights: (m,) factors of the losses; None for 1.
        """
        self._compared[samples] = True
        expected = residuals(logits, labels, weights)
        found = gradient.detach().reshape(expected.shape).to(expected.dtype)
        size = (expected * expected).sum()
        factor = (found * expected).sum() / size.clamp(min=1e-30)
        usual = (size / len(expected)).sqrt()
        distance = (found - factor * expected).norm(dim=1) / (factor.abs() * usual).clamp(min=1e-30)
        departures = torch.where(factor > 0, distance, math.inf)
        # Where all samples are fitted there is nothing to compare, nor where a scaled loss overflows: such a step is
        # left out by the caller.
        silent = (usual < NOTHING) | ~torch.isfinite(found).all()
        departures = torch.where(silent, torch.zeros_like(departures), departures)
        self._departures.append((samples, departures, tolerance(gradient, logits)))
        self._factors.setdefault(len(samples), []).append((samples, torch.where(silent, math.nan, factor)))
        return torch.where(silent, torch.ones_like(factor), factor).float()

    def check(self, remedy: str) -> None:
        """Raise a `SolverError` that names a sample whose loss is another, or was not seen."""
        missing = (~self._compared).nonzero()
        if len(missing):
            raise SolverError(f"record: sample {int(missing[0])} had no backward pass")
        for samples, departures, tolerated in self._departures:
            worst = int(departures.argmax())
            if not float(departures[worst]) <= tolerated:
                raise SolverError(
                    f"record: the derivative of the loss of sample {int(samples[worst])} is not that of cross-entropy: "
                    f"say its weights, or {remedy} and its loss"
                )
        for passes in self._factors.values():
            powers = torch.stack([factor for _, factor in passes]).double().log2()
            usual = powers.nanmedian()
            gaps = powers - usual
            off = torch.nan_to_num((gaps - gaps.round()).abs())
            worst = int(off.argmax())
            if float(off[worst]) > math.log2(1 + HALF):
                raise SolverError(
                    f"record: the loss of sample {int(passes[worst][0][0])} and others of its pass has another factor "
                    f"than that of other passes of as many samples: say its weights, or {remedy}"
                )


def tolerance(*values: Tensor) -> float:
    """Return the tolerance for the precision of some values."""
    return HALF if any(value.dtype.itemsize < 4 for value in values) else SINGLE
