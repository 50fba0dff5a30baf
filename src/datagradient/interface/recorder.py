"""Scores as a by-product of training: `Recorder`."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from datagradient.errors import UserError
from datagradient.influence.options import RECORD
from datagradient.influence.record import MEMORY
from datagradient.influence.recording import Recording
from datagradient.influence.solvers import AgedRecord
from datagradient.interface import networks
from datagradient.interface.adapters import Stated
from datagradient.interface.scores import LOCK, InfluenceResult, score_network


class Recorder:
    """Keeps what influence scores need while a network is trained, so that they need no pass over its samples.

    What the last linear layer takes of each training sample is kept in one epoch, the last one, and S is solved for its
    parameters, as `influence_scores` does by default; or projected gradients by all layers are kept. Weights, optimiser
    and random numbers are bit for bit those of training without it. The loss must be the cross-entropy of the network's
    logits (binary for one logit); its derivative is checked. What is kept is as old as the pass in which it was seen:
    the scores are close to those by a pass where the learning rate falls to nothing, as most schedules let it; `scores`
    compares both on some samples. Random augmentation counts as it was: what is kept is of the changed inputs.

    In a loop over a `DataLoader`, with the last epoch's batches taken from `epoch`::

        recorder = Recorder(network)
        for number in range(epochs):
            for inputs, labels in recorder.epoch(loader) if number == epochs - 1 else loader:
                ...
        result = recorder.scores((validation_inputs, validation_labels))

    In a loop that draws samples by itself, `batch` says which ones the next pass is of::

        with Recorder(network, n=len(inputs)) as recorder:
            for rows in torch.randperm(len(inputs)).split(64):
                recorder.batch(rows, labels[rows])
                ...

    Args:
        model: the network; it ends in an `nn.Linear` with a bias.
        n: number of training samples; None: as many as `epoch` finds in the loader.
        parameters: ``"last"`` for those of the last layer, or ``"projected"`` for those of all linear and convolutional
            layers and embeddings, by gradients that are projected to at most 256 numbers a layer (LoGra: Choe et al.
            2024, arXiv 2405.13954); their second moment takes the place of the Hessian.
        memory: bytes that what is kept may take in memory: n × 4 × the width of what the last layer takes, or the
            numbers of all layers. If that is not enough, it is kept in half precision, and if that is not either, in a
            nameless file in the folder for temporary files.

    Raises:
        ValueError: the model is no torch module, or n is not a number of samples.
    """

    def __init__(
        self, model: nn.Module, n: int | None = None, *, parameters: str = "last", memory: int = MEMORY
    ):  # fmt: skip
        if not isinstance(model, nn.Module):
            raise UserError(f"Recorder: the model is a {type(model).__name__}; pass a torch module")
        if n is not None and (isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1):
            raise UserError(f"Recorder: n is {n!r}; pass the number of training samples")
        if parameters not in (legal := ("last", "projected")):
            raise UserError(f"Recorder: parameters is {parameters!r}; legal: {', '.join(legal)}")
        self._model, self._n, self._parameters, self._memory = model, n, parameters, memory
        self._recording: Recording | None = None
        self._labels: Tensor | None = None
        self._weights: Tensor | None = None

    def __enter__(self) -> "Recorder":
        """Begin to keep; what was kept before is dropped."""
        if self._n is None:
            raise UserError("Recorder: say how many training samples there are, Recorder(model, n=…), or take the "
                            "batches from epoch(loader)")  # fmt: skip
        self._close()
        self._begin(int(self._n)).__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """End the epoch."""
        if self._recording is not None:
            self._recording.__exit__(kind, *rest)

    def batch(self, positions: ArrayLike | Tensor, labels: ArrayLike | Tensor, weights: Any = None) -> None:
        """Say which samples the next pass of the network is of.

        A pass over fewer samples (gradient accumulation) takes the first ones, and the passes after it the others. A
        pass without gradients that is not announced, e.g. over validation samples, is not kept.

        Args:
            positions: (m,) of the samples in the training set, from 0.
            labels: (m,) as the loss takes them.
            weights: (m,) factors of their losses; None for 1.
        """
        if self._recording is None:
            raise UserError("Recorder: batch is for within the context, with Recorder(model, n=…) as recorder: …")
        self._named(self._recording, positions, labels, weights)

    def epoch(self, loader: Iterable[Any]) -> Iterator[Any]:
        """Yield a loader's batches, and keep what scores need of them.

        Args:
            loader: a `DataLoader`, which may shuffle, of a data set that is indexed by number; or a list of batches.
                Samples are counted as in the loader's data set, otherwise as they come. A batch is as for
                `influence_scores`. A ``collate_fn`` must keep the order of the samples.

        Raises:
            ValueError: the loader does not say which samples a batch is of.
        """
        rows: list[Any] = []
        batches: Iterable[Any]
        if isinstance(loader, DataLoader):
            batches, n = _numbered(loader, rows), len(loader.dataset)  # type: ignore[arg-type]
        elif isinstance(loader, list | tuple):
            batches, n = loader, sum(_size(batch) for batch in loader)
        else:
            raise UserError(f"Recorder: a {type(loader).__name__} does not say which samples a batch is of; pass a "
                            "DataLoader or a list of batches, or say it with batch")  # fmt: skip
        self._close()
        recording, start = self._begin(n), 0  # its own: another epoch may begin before this one is closed
        with recording:
            for number, batch in enumerate(batches):
                labels = networks.split_batch(batch, f"training batch {number}")[1]
                positions = rows.pop(0) if isinstance(loader, DataLoader) else range(start, start + len(labels))
                start += len(labels)
                self._named(recording, positions, labels, None)
                yield batch

    def _begin(self, n: int) -> Recording:
        self._recording = Recording(self._model, n, self._parameters, memory=self._memory)
        self._labels, self._weights = None, None
        return self._recording

    def _close(self) -> None:
        """Take the hooks of an epoch away that was left open."""
        if self._recording is not None:
            self._recording.__exit__(None)

    def _named(self, recording: Recording, positions: Any, labels: Any, weights: Any) -> None:
        recording.batch(positions, labels, weights)
        if recording is not self._recording or recording.refusal is not None:
            return
        rows = torch.as_tensor(positions).detach().cpu().long().reshape(-1)
        values = torch.as_tensor(labels).detach().cpu().reshape(len(rows))
        self._labels = torch.zeros(recording.n, dtype=values.dtype) if self._labels is None else self._labels
        self._labels[rows] = values.to(self._labels.dtype)
        if weights is not None:
            ones = torch.ones(recording.n, dtype=torch.float64)
            self._weights = ones if self._weights is None else self._weights
            self._weights[rows] = torch.as_tensor(weights).detach().cpu().double().reshape(len(rows))

    def scores(
        self, validation: Any, *, train: Any = None, solver: Mapping[str, Any] | None = None, seed: int = 0
    ) -> InfluenceResult:
        """Return how much each training sample hurts the network's mean loss on validation samples.

        Args:
            validation: samples as for `influence_scores`.
            train: the training samples as for `influence_scores`, for a pass over them if what was kept is too old;
                None: that is an error.
            solver: options as for `influence_scores`, such as the damping.
            seed: of the draw of the samples that curvature is averaged over.

        Returns:
            Scores in the order of the training set. In ``record`` stands the ``agreement``: the rank correlation of
            scores by what was kept and by a pass, for samples that were seen first, in the middle or last, whichever is
            least; and with projected gradients ``left_out``, the names of the parameters that they do not cover.

        Raises:
            ValueError: a sample was not seen, or twice; the loss is another; the network changed too much in the epoch,
                and there is no ``train``; or the samples cannot be represented.
        """
        if self._recording is None:
            raise UserError("Recorder: no epoch was recorded; take the last epoch's batches from epoch(loader)")
        options = dict(solver or {})
        if options.setdefault("parameters", self._parameters) != self._parameters:
            raise UserError(f"solver: parameters is {options['parameters']!r}, and {self._parameters} were recorded")
        self._close()
        with LOCK, networks.scoring():
            kept = self._recording.record()
        assert self._labels is not None
        stated = Stated(sample_weight=None if self._weights is None else self._weights.numpy())
        try:
            return score_network(self._model, (kept, self._labels), validation, stated, options, RECORD, seed)
        except AgedRecord as error:
            if train is None:
                raise UserError(f"{error}: scores(validation, train=…)") from error
            options = {key: value for key, value in options.items() if key != "name"}
            return score_network(self._model, train, validation, stated, options, "cg", seed)


def _size(batch: Any) -> int:
    return len(networks.split_batch(batch, "training batch")[1])


class _Noting:
    """A loader's batch sampler, which notes the positions of every batch."""

    def __init__(self, sampler: Any, rows: list[Any]):
        self.sampler, self.rows = sampler, rows

    def __iter__(self) -> Iterator[Any]:
        for positions in self.sampler:
            self.rows.append(positions)
            yield positions

    def __len__(self) -> int:
        return len(self.sampler)


def _numbered(loader: "DataLoader[Any]", rows: list[Any]) -> "DataLoader[Any]":
    """Return a loader of the same batches, drawn from the same random numbers, which notes their positions."""
    if type(loader) is not DataLoader or isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        raise UserError(f"Recorder: a {type(loader).__name__} of such samples does not say which ones a batch is of; "
                        "say it with batch")  # fmt: skip
    if not getattr(loader, "in_order", True) or loader.persistent_workers:
        what = "keeps its workers" if loader.persistent_workers else "gives batches out of order"
        raise UserError(f"Recorder: the loader {what}, which cannot be followed; say which samples each pass is of, "
                        "with batch, or set persistent_workers=False and in_order=True")  # fmt: skip
    return DataLoader(
        loader.dataset, batch_sampler=_Noting(loader.batch_sampler, rows), num_workers=loader.num_workers,
        collate_fn=loader.collate_fn, pin_memory=loader.pin_memory, timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn, multiprocessing_context=loader.multiprocessing_context,
        generator=loader.generator, prefetch_factor=loader.prefetch_factor,
    )  # fmt: skip
