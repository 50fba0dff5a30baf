"""The prepared form of a data set for one seed: features and labels of all parts in one file."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from datagradient.data import sets
from datagradient.data.changes import RECORD, reading, states
from datagradient.data.features import extract, raw_inputs
from datagradient.data.human_labels import check_columns
from datagradient.data.record import Dataset, fingerprint, sample_keys
from datagradient.data.splits import OWNED, PARTS, SplitPlan, split
from datagradient.files import write_arrays, write_json
from datagradient.pipeline.progress import progress
from datagradient.pipeline.provenance import stamp


def write_prepared(
    dataset: Dataset, keys: np.ndarray, seed: int, plan: SplitPlan, path: Path,
    human: Mapping[str, np.ndarray] | None = None,
) -> None:  # fmt: skip
    """Split, extract features, and write ``features.npz`` to `path` and ``data.json`` next to it.

    data.json holds the sizes of the parts, how many samples of one part also occur in another, and how columns were
    read if that is a guess.

    Args:
        dataset: the raw samples.
        keys: one hash per sample, from `sample_keys`; equal samples have equal hashes.
        seed: the seed of the split.
        plan: the shares of the parts.
        path: the file to write.
        human: labels (n,) that people gave to the samples, by column.
    """
    parts = split(dataset, seed, plan)
    said: dict[str, str] = {}
    features = extract(dataset, parts, said)
    facts = stamp(
        seed=seed, dataset=dataset.name, title=dataset.title, modality=dataset.modality,
        class_names=list(dataset.class_names), f1_kind=dataset.f1_kind, source=dataset.source,
        samples=fingerprint(dataset, keys), **({"human_labels": list(human)} if human else {}),
    )  # fmt: skip
    arrays = {f"features_{name}": matrix for name, matrix in features.items()}
    arrays |= {f"raw_{name}": samples for name, samples in raw_inputs(dataset, parts).items()}
    arrays |= {f"labels_{name}": dataset.labels[rows] for name, rows in parts.items()}
    arrays |= {f"rows_{name}": rows for name, rows in parts.items()}
    arrays |= {f"human_{column}_{name}": labels[parts[name]].astype(np.int64)
               for column, labels in (human or {}).items() for name in OWNED}  # fmt: skip
    write_arrays(path, facts, **arrays)
    pairs = [(later, earlier) for i, earlier in enumerate(PARTS) for later in PARTS[i + 1 :]]
    repeats = {f"{later}_rows_in_{earlier}": int(np.isin(keys[parts[later]], keys[parts[earlier]]).sum())
               for later, earlier in pairs}  # fmt: skip
    content = {"sizes": {name: len(rows) for name, rows in parts.items()}, "n_features": features["train"].shape[1],
               "repeats": repeats, "columns": said, "provenance": facts}  # fmt: skip
    write_json(path.with_name("data.json"), content)


def prepare_seeds(dataset: str, plan: SplitPlan, out: dict[int, Path], columns: Sequence[str] = ()) -> None:
    """Read a data set once, split it by each seed, and write its features to the paths in `out` (``features.npz``).

    Next to each, data.json (sizes, and how columns were read) and read.json (the files that the data set was read from)
    are written.

    Args:
        dataset: the name of the data set.
        plan: the shares of the parts.
        out: the file of each seed.
        columns: the columns of human labels that the files hold, too.
    """
    human: dict[str, np.ndarray] = {}
    with progress(f"load {dataset}"), reading() as paths:
        samples = sets.load(dataset)
        if columns:
            found, source = sets.human_labels(dataset)
            check_columns(found, columns, samples)
            human = {column: found[column] for column in columns}
            samples = replace(samples, source={**samples.source, **source})
        sources = states([*paths, *sets.declared_files(dataset)])
        keys = sample_keys(samples)
    for seed, path in out.items():
        with progress(f"prepare {dataset}, seed {seed}"):
            write_prepared(samples, keys, seed, plan, path, human)
            write_json(path.with_name(RECORD), sources)
