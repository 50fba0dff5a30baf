"""Large Movie Review Dataset (Maas et al. 2011): 50,000 labelled film reviews, positive or negative."""

from datagradient.data.fetch import hugging_face
from datagradient.data.parquet import read_parquet
from datagradient.data.record import Dataset

REPOSITORY, REVISION = "stanfordnlp/imdb", "e6281661ce1c48d982bc483cf8a173c1bbeb5d31"
# The second checksum of each file is that of the same rows in another Parquet encoding.
TRAIN = hugging_face(REPOSITORY, REVISION, "plain_text/train-00000-of-00001.parquet", {
    "sha256:db47d16b5c297cc0dd625e519c81319c24c9149e70e8496de5475f6fa928342c": "IMDB",
    "sha256:f7cffea9e02f1ee74a862af9af991dc8570c2a99366bc36663688a7240304521": "IMDB",
})  # fmt: skip
TEST = hugging_face(REPOSITORY, REVISION, "plain_text/test-00000-of-00001.parquet", {
    "sha256:b52e26e2f872d282ffac460bf9770b25ac6f102cda0e6ca7158df98c94e8b3da": "IMDB",
    "sha256:d8f23fd9183fc2260d247b55763b38223782d40d2b7ddd5f9d99c233dd83e78d": "IMDB",
})  # fmt: skip


def load() -> Dataset:
    """Load both official labelled parts; the test part is the official one."""
    table = read_parquet(TRAIN, TEST)
    texts = list(table.columns["text"])
    return Dataset("imdb", table.title, "text", texts, table.labels, table.class_names, table.is_test, table.source)
