"""Whether a loss that a training minimises is the cross-entropy of its labels, by its derivative in every pass."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from datagradient.errors import one_line
from datagradient.influence.losses import residuals
from datagradient.influence.solvers import SolverError

SINGLE, HALF = 1e-2, 0.1  # tolerance, by precision
NOTHING = 1e-6  # size of a sample's derivative below which rounding is all that is left of it
# Numbers, or passes, that are compared at once: many small passes take as long as one large.
TOGETHER, PASSES = 2**15, 256


@dataclass(frozen=True)
class Seen:
    """A pass: numbers of its m samples, the gradient by the logits, logits, labels, and factors of the losses or None.

    Logits and gradient are (m, classes) or (m, 1), the others (m,).
    """

    samples: Tensor
    gradient: Tensor
    logits: Tensor
    labels: Tensor
    weights: Tensor | None

    def kept(self) -> "Seen":
        """Return it with a copy of what the network computed, which may be written into when the pass has ended."""
        return replace(self, gradient=self.gradient.detach().clone(), logits=self.logits.detach().clone())

    def kind(self) -> tuple:
        """Return what passes that are compared at once have in common."""
        tensors = (self.gradient, self.logits, self.labels, *([] if self.weights is None else [self.weights]))
        return self.gradient.shape, *((part.dtype, part.device) for part in tensors)


class Derivative:
    """Compares derivatives by the logits with those of cross-entropy, up to one factor a pass.

    The factor is that of the reduction (sum, mean, accumulated gradients) and of mixed precision. It must be the same
    in all passes of as many samples, up to powers of two, by which mixed precision changes it.

    Args:
        n: number of samples.
    """

    def __init__(self, n: int):
        self._compared = torch.zeros(n, dtype=torch.bool)
        self._waiting: list[Seen] = []  # passes of one kind
        self._departures: list[tuple[Tensor, Tensor, float]] = []  # by sample, and what is tolerated
        self._factors: dict[int, list[tuple[Tensor, Tensor]]] = {}  # by the size of the pass: first samples and factors

    def see(self, seen: Seen) -> None:
        """Compare a pass, perhaps later, together with others.

        Raises:
            SolverError: the labels of a pass that waited are no class numbers.
        """
        if self._waiting and self._waiting[0].kind() != seen.kind():
            self._compare_waiting()
        self._waiting.append(seen.kept())
        if len(self._waiting) * seen.gradient.numel() >= TOGETHER or len(self._waiting) >= PASSES:
            self._compare_waiting()

    def factor(self, seen: Seen) -> Tensor:
        """Compare a pass; return its factor in single precision: its gradients ÷ those of the sum of its losses."""
        found = self._compare([seen])[0]
        return torch.where(torch.isnan(found), torch.ones_like(found), found).float()

    def _compare_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            if waiting:
                self._compare(waiting)
        except Exception as error:  # by labels that are no class numbers, above all
            raise SolverError(f"labels of sample {int(waiting[0].samples[0])} and further: "
                              f"{type(error).__name__}: {one_line(error)}") from error  # fmt: skip

    def _compare(self, passes: list[Seen]) -> Tensor:
        """Return the factors of passes of one kind, NaN where there is nothing to compare."""
        samples = torch.cat([seen.samples for seen in passes])
        weights = None if passes[0].weights is None else torch.cat([seen.weights for seen in passes])
        logits, labels = (torch.cat([getattr(seen, name) for seen in passes]) for name in ("logits", "labels"))
        expected = residuals(logits, labels, weights)
        m = len(passes[0].samples)
        found = torch.cat([seen.gradient.detach() for seen in passes]).reshape(expected.shape).to(expected.dtype)
        found, expected = found.reshape(len(passes), m, -1), expected.reshape(len(passes), m, -1)
        size = (expected * expected).sum(dim=(1, 2))
        factors = (found * expected).sum(dim=(1, 2)) / size.clamp(min=1e-30)
        usual = (size / m).sqrt()
        distances = (found - factors[:, None, None] * expected).norm(dim=2)
        departures = distances / (factors.abs() * usual).clamp(min=1e-30)[:, None]
        departures = torch.where((factors > 0)[:, None], departures, math.inf)
        # Where all samples are fitted there is nothing to compare, nor where a scaled loss overflows: such a step is
        # left out by the caller.
        silent = (usual < NOTHING) | ~torch.isfinite(found).all(dim=(1, 2))
        departures = torch.where(silent[:, None], torch.zeros_like(departures), departures)
        factors = torch.where(silent, math.nan, factors)
        self._compared[samples] = True
        self._departures.append((samples, departures.reshape(-1), tolerance(passes[0].gradient, logits)))
        self._factors.setdefault(m, []).append((samples[::m], factors))
        return factors

    def check(self, remedy: str) -> None:
        """Raise a `SolverError` that names a sample whose loss is another, or was not seen."""
        try:
            self._compare_waiting()
        except SolverError as error:
            raise SolverError(f"record: {error}") from error
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
            powers = torch.cat([factors for _, factors in passes]).double().log2()
            usual = powers.nanmedian()
            gaps = powers - usual
            off = torch.nan_to_num((gaps - gaps.round()).abs())
            worst = int(off.argmax())
            if float(off[worst]) > math.log2(1 + HALF):
                first = torch.cat([samples for samples, _ in passes])[worst]
                raise SolverError(
                    f"record: the loss of sample {int(first)} and others of its pass has another factor "
                    f"than that of other passes of as many samples: say its weights, or {remedy}"
                )


def tolerance(*values: Tensor) -> float:
    """Return the tolerance for the precision of some values."""
    return HALF if any(value.dtype.itemsize < 4 for value in values) else SINGLE
