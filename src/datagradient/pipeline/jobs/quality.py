"""Rating labels by models that have not seen them."""

import time

from datagradient.files import write_arrays, write_json
from datagradient.models import declared, family
from datagradient.pipeline.config import model_settings
from datagradient.pipeline.layout import Cell
from datagradient.pipeline.progress import progress
from datagradient.pipeline.provenance import stamp
from datagradient.pipeline.training import load_training_set
from datagradient.refine.quality import label_quality, out_of_fold


def cross_validate(config: dict, cell: Cell) -> None:
    """Rate every training label by confident learning, from models that have not seen the sample.

    Writes quality.npz: quality, low where a label is likely wrong; and cross_validate.json: the seconds.
    """
    module, settings = family(cell.model), model_settings(config, cell.dataset, cell.model, cell.noise)
    samples = load_training_set(declared(cell.model).inputs, cell.data, cell.labels, None)
    with progress(f"cross-validate {cell.folder}"):
        start = time.perf_counter()
        probabilities = out_of_fold(module, samples, settings)
        seconds = time.perf_counter() - start
    facts = stamp(**samples.facts, model=cell.model, settings=settings)
    write_arrays(cell.file("quality.npz"), facts, quality=label_quality(samples.labels, probabilities))
    write_json(cell.file("cross_validate.json"), {"seconds": seconds, "provenance": facts})
