"""UCI Adult (Becker and Kohavi 1996): 48,842 census records; does a person earn more than 50,000 dollars?"""

import numpy as np

from datagradient.data.fetch import SourceFile, fetch
from datagradient.data.record import Dataset, class_labels

ADDRESS = "https://archive.ics.uci.edu/ml/machine-learning-databases/adult/"
TRAIN = SourceFile("uci/adult/adult.data", ADDRESS + "adult.data", {"md5:5d7c39d7b8804f071cdd1f2a7c460872": "Adult"})
TEST = SourceFile("uci/adult/adult.test", ADDRESS + "adult.test", {"md5:35238206dfdf7f1fe215bbb874adecdc": "Adult"})
CLASSES = ("<=50K", ">50K")
NUMBERS = ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week")
COLUMNS = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship",
    "race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income",
)  # fmt: skip


def load() -> Dataset:
    """Load both official parts with all 14 columns; in the columns of words, ``?`` stays a separate value."""
    import pandas as pd

    files = [fetch(TRAIN), fetch(TEST)]
    options = {"names": COLUMNS, "skipinitialspace": True}
    # The first line of adult.test is not a record, and its labels end in a full stop.
    parts = [pd.read_csv(files[0].path, **options), pd.read_csv(files[1].path, skiprows=1, **options)]
    table = pd.concat(parts, ignore_index=True)
    income = table.pop("income").str.rstrip(".")
    table = table.astype(dict.fromkeys(NUMBERS, "float64"))
    is_test = np.repeat([False, True], [len(part) for part in parts])
    source = {original.path: file.checksum for original, file in zip((TRAIN, TEST), files, strict=True)}
    labels = class_labels(income, CLASSES, f"{files[0].path} and {files[1].path.name}, column income")
    return Dataset("adult", "Adult", "table", table, labels, CLASSES, is_test, source)
