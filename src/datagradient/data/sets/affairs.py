"""Extramarital affairs (Fair 1978), the 6,366 survey answers included in statsmodels."""

from datagradient.data.record import Dataset, class_labels


def load() -> Dataset:
    """Load the survey; the question is whether a woman reports any affair."""
    import statsmodels
    from statsmodels.datasets import fair

    table = fair.load_pandas().data
    affairs = table.pop("affairs")
    labels = class_labels((affairs > 0).where(affairs.notna()), (False, True), "fair.csv, column affairs")
    occupations = ["occupation", "occupation_husb"]  # codes of occupations, not amounts
    table, kinds = table.astype(dict.fromkeys(occupations, str)), dict.fromkeys(occupations, "category")
    source = {"statsmodels": statsmodels.__version__}
    return Dataset("affairs", "Affairs", "table", table, labels, ("none", "some"), None, source, kinds)
