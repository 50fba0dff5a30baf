"""Rating labels by models that have not seen them."""

import time

import numpy as np

from datagradient.files import write_arrays, write_json
from datagradient.models import declared
from datagradient.pipeline.config import model_settings
from datagradient.pipeline.layout import Cell
from datagradient.pipeline.progress import progress
from datagradient.pipeline.provenance import stamp
from datagradient.pipeline.training import load_training_set
from datagradient.refine.quality import rated


def cross_validate(config: dict, cell: Cell) -> np.ndarray:
    """Rate every training label (n,) by confident learning, from models that have not seen the sample.

    Writes quality.npz: quality, low where a label is likely wrong; and cross_validate.json: the seconds.
    """
    settings = model_settings(config, cell.dataset, cell.model, cell.noise)
    samples = load_training_set(declared(cell.model).inputs, cell.data, cell.labels, None)
    with progress(f"cross-validate {cell.folder}"):
        start = time.perf_counter()
        quality = rated(cell.model, samples, settings)
        seconds = time.perf_counter() - start
    facts = stamp(**samples.facts, model=cell.model, settings=settings)
    write_arrays(cell.file("quality.npz"), facts, quality=quality)
    write_json(cell.file("cross_validate.json"), {"seconds": seconds, "provenance": facts})
    return quality
