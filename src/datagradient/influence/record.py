"""What was kept of samples while a network was trained, so that their scores need no pass."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from datagradient.influence.glm import ROWS
from datagradient.influence.projections import Projections, projections_from
from datagradient.influence.solvers import AgedRecord, SolverError

MEMORY = 2**30  # bytes; a larger record has half of the precision, and one that is still larger lies on disk
AFTERWARDS = "score the network afterwards with influence_scores"
AGED = 0.95  # least rank correlation of scores from a record with those by a pass, of some samples


@dataclass(frozen=True)
class Checked:
    """Some samples, numbers (m,), with their values in the network as trained (m, width), and their group (m,).

    Groups are samples that training saw first, in the middle and last.
    """

    samples: np.ndarray
    values: Tensor
    groups: np.ndarray


@dataclass(frozen=True)
class Record:
    """Numbers of n samples. It stands for them where a `LastLayerProblem` or a `ProjectedProblem` takes samples.

    Attributes:
        layer: name of the network's last layer.
        values: (n, width) in the order of the samples: what that layer takes, or, with projections, the projected
            gradients.
        checked: some samples in the network as trained; None where all values are of the trained network.
        projections: by name of the layer; None for what the last layer takes.
    """

    layer: str
    values: Tensor
    checked: Checked | None = None
    projections: Projections | None = None

    def __len__(self) -> int:
        """Return n."""
        return len(self.values)

    def __getitem__(self, rows: Any) -> "Record":
        """Return the record of the samples of a slice or of an array of positions."""
        values = self.values[rows if isinstance(rows, slice) else torch.from_numpy(rows)]
        return Record(self.layer, values, projections=self.projections)

    def chunks(self) -> Iterator[tuple[int, Tensor]]:
        """Yield the number of a first sample, and the values from it on, in single precision at least."""
        for start in range(0, len(self), ROWS):
            yield start, precise(self.values[start : start + ROWS])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return it as plain arrays, see `record_from`."""
        nothing = np.empty(0, dtype=np.int64)
        checked = self.checked or Checked(nothing, self.values[:0], nothing)
        arrays = {"layer": np.array(self.layer), "values": precise(self.values).cpu().numpy(),
                  "checked_samples": checked.samples, "checked_values": precise(checked.values).cpu().numpy(),
                  "checked_groups": checked.groups}  # fmt: skip
        for name, projection in (self.projections or {}).items():
            arrays |= {f"{key}/{name}": value for key, value in projection.arrays().items()}
        return arrays

    def agreement(self, now: np.ndarray, found: np.ndarray) -> float:
        """Return the rank correlation of the checked samples' scores by the network as trained and by the record.

        It is that of the group where it is least.

        Raises:
            AgedRecord: it is below `AGED`.
        """
        least, which, assumed = 1.0, 0, self.checked
        for group in np.unique(assumed.groups) if assumed else ():
            pair = [values[assumed.groups == group] for values in (now, found)]
            if len(pair[0]) < 3 or np.ptp(pair[0]) == np.ptp(pair[1]) == 0:
                continue
            # Scores have no ties to speak of; SciPy's function takes as long as all scores of a small network.
            correlation = float(np.corrcoef([values.argsort().argsort() for values in pair])[0, 1])
            if not correlation >= least:
                least, which = correlation, int(group)
        if not least >= AGED:
            words = ("first", "in the middle of the epoch", "last")[which]
            raise AgedRecord(
                f"record: by it and by a pass the samples that training saw {words} rank differently, with a "
                f"correlation of {least:.3f}: the network changed too much in the epoch, or dropout or statistics of "
                "batches make a pass in training another one; let the learning rate fall to nothing, or score it by a "
                "pass",
                least,
            )
        return least


def record_from(arrays: Mapping[str, np.ndarray], network: nn.Module) -> Record:
    """Return the record of a network that `Record.arrays` gave."""
    values, now = (torch.from_numpy(arrays[name]) for name in ("values", "checked_values"))
    projections = projections_from(arrays, network) if any(name.startswith("left/") for name in arrays) else None
    checked = Checked(arrays["checked_samples"], now, arrays["checked_groups"])
    return Record(str(arrays["layer"]), values, checked if len(now) else None, projections)


def precise(values: Tensor) -> Tensor:
    """Return values in single precision at least."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def storage(n: int, width: int, like: Tensor, memory: int) -> Tensor:
    """Return room for n rows, on the device of a tensor like them, or in a file if they take more than some bytes.

    Raises:
        SolverError: there is no room on disk.
    """
    dtype = like.dtype
    if n * width * dtype.itemsize > memory:
        dtype = torch.bfloat16
    size = n * width * dtype.itemsize
    if size <= memory:
        return torch.empty((n, width), dtype=dtype, device=like.device)
    folder = tempfile.gettempdir()
    if shutil.disk_usage(folder).free < size:
        raise SolverError(f"{size / 2**30:.1f} GiB are needed in {folder}, which has less free; set TMPDIR, or "
                          f"{AFTERWARDS}")  # fmt: skip
    # A file without a name: it is gone when the record is, or when the process ends, however it ends.
    with tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(size)
        return torch.from_numpy(np.memmap(file, np.int16, "r+", shape=(n, width))).view(dtype)
