"""Cross-fitting a training part, as files."""

from datagradient.files import read_arrays, read_json, read_meta, write_arrays, write_json
from datagradient.models import declared
from datagradient.pipeline import layout
from datagradient.pipeline.config import model_settings
from datagradient.pipeline.jobs.models import held_out
from datagradient.pipeline.layout import Cell
from datagradient.pipeline.progress import progress
from datagradient.pipeline.provenance import check_shared, stamp
from datagradient.pipeline.training import load_training_set
from datagradient.refine import crossfit
from datagradient.refine.crossfit import CrossFit
from datagradient.refine.loop import validation_of

ARRAYS = ("probabilities", "influence", "validation", "validation_labels")


def cross_fit(config: dict, cell: Cell) -> None:
    """Train a family's models on all folds but one, and judge every training sample by them.

    Writes crossfit.npz: of the training samples the probabilities by a model that has not seen them, and the influence
    with each label; of the validation samples probabilities and labels; and crossfit.json: the seconds.
    """
    settings = model_settings(config, cell.dataset, cell.model, cell.noise)
    samples = load_training_set(declared(cell.model).inputs, cell.data, cell.labels, None)
    solver = layout.solver_for(config["model_settings"][cell.model]["solver"], read_meta(cell.data)["modality"])
    with progress(f"cross-fit {cell.folder}"):
        found = crossfit.cross_fit(cell.model, samples, validation_of(held_out(cell)), settings, solver)
    facts, out = stamp(**samples.facts, model=cell.model, settings=settings), cell.file("crossfit.npz")
    write_arrays(out, facts, **{name: getattr(found, name) for name in ARRAYS})
    write_json(out.with_suffix(".json"), {"seconds": found.seconds, "provenance": facts})


def read_crossfits(config: dict, cell: Cell) -> list[CrossFit]:
    """Read what cross-fitted models say of a training part: of the cell's family, then of the cheaper ones."""
    baseline = cell.at(policy=layout.BASELINE, iteration=0)
    files = [baseline.at(model=model).file("crossfit.npz") for model in layout.crossfit_families(config, cell.model)]
    facts = {file: read_meta(file) for file in files}
    check_shared({cell.labels: read_meta(cell.labels), **facts}, "model", "settings")
    return [
        CrossFit(**read_arrays(file, *ARRAYS)[0], seconds=read_json(file.with_suffix(".json"), "seconds")["seconds"])
        for file in files
    ]
