"""Extramarital affairs (Fair 1978), the 6,366 survey answers that statsmodels carries."""

import numpy as np

from datagradient.data.record import Dataset


def load() -> Dataset:
    """Load the survey; the question is whether a woman reports any affair."""
    import statsmodels
    from statsmodels.datasets import fair

    table = fair.load_pandas().data
    labels = (table.pop("affairs") > 0).to_numpy(dtype=np.int64)
    occupations = ["occupation", "occupation_husb"]  # codes of occupations, not amounts
    table = table.astype(dict.fromkeys(occupations, str))
    source = {"statsmodels": statsmodels.__version__}
    return Dataset("affairs", "Affairs", "table", table, labels, ("none", "some"), None, source)
