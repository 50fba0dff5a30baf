"""CIFAR-10 (Krizhevsky 2009): 60,000 colour images of 32 × 32 pixels in ten classes.

Its human labels are those of CIFAR-10N (Wei et al., ICLR 2022), licence CC BY-NC 4.0: no commercial use.
"""

import numpy as np

from datagradient.data.fetch import SourceFile, fetch, hugging_face
from datagradient.data.human_labels import align, read_columns
from datagradient.data.parquet import read_image_names, read_parquet
from datagradient.data.record import Dataset

REPOSITORY, REVISION = "uoft-cs/cifar10", "0b2714987fa478483af9968de7c934580d0bb9a2"
COPY = "CIFAR-10 (JPEG copy)"  # pixels were compressed with JPEG, order shuffled; results say so
TRAIN = hugging_face(REPOSITORY, REVISION, "plain_text/train-00000-of-00001.parquet", {
    "sha256:8428b53a88a11ac374111006708df51469e315a22ac6d66470afd9c78d2ae883": "CIFAR-10",
    "sha256:aa06102255b92ca59611a60e0c3f2bd06b070d80525af032ffb69ccb5d73bab9": COPY,
})  # fmt: skip
TEST = hugging_face(REPOSITORY, REVISION, "plain_text/test-00000-of-00001.parquet", {
    "sha256:841389e6f2d64f28bf17310e430aebac20ec3ba611a3c5e231dc93c645ce84de": "CIFAR-10",
    "sha256:5fcb77705cb1111364a7bbde065d3509a8aad5daae69fa7fb15fb0d7da9bc4c0": COPY,
})  # fmt: skip
HUMAN_LABELS = ("aggre_label", "random_label1", "random_label2", "random_label3", "worse_label")
HUMAN_FILE = SourceFile(
    "UCSC-REAL/cifar-10-100n/data/CIFAR-10_human.pt",
    "https://raw.githubusercontent.com/UCSC-REAL/cifar-10-100n/main/data/CIFAR-10_human.pt",
    {"sha256:873e69c39cb9b5e97fb6bae2d60bb59b38a5cbc31d2b868f7903dcb2b9dd2310": "CIFAR-10N"},
)


def load() -> Dataset:
    """Load both official parts; the test part is the official one."""
    table = read_parquet(TRAIN, TEST)
    images = np.stack([np.asarray(image.convert("RGB")) for image in table.columns["img"]])
    return Dataset(
        "cifar10", table.title, "image", images, table.labels, table.class_names, table.is_test, table.source
    )


def human_labels() -> dict[str, np.ndarray]:
    """Return the labels (n,) that people gave to the rows of `load`, by column; −1 for the rows of the test part."""
    images = read_image_names(TRAIN, TEST)
    columns = read_columns(fetch(HUMAN_FILE).path, HUMAN_LABELS, len(images.labels))
    is_shuffled = images.file.copy == COPY
    aligned = align(columns, images.labels, images.class_names, images.names, is_shuffled, str(images.file.path))
    unlabelled = np.full(images.n_test, -1)
    return {name: np.concatenate([labels, unlabelled]) for name, labels in aligned.items()}
