"""Data sets that Hugging Face's `datasets` saves: names of classes, images, parts, and files that lie."""

import io
import json
import pickle

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from datagradient.data.readers import ReadOptions, read, read_like
from datagradient.errors import UserError

N = 40
TARGET = ReadOptions(target="label")


@pytest.fixture(scope="module")
def datasets():
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    return datasets


def encoded(value):
    stream = io.BytesIO()
    Image.new("RGB", (9, 8), (value, 0, 0)).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": None}


def stored(folder, columns, features=None, **state):
    """The files that `save_to_disk` writes, written without it."""
    folder.mkdir()
    table = pa.table(columns)
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as out,
    ):
        out.write_table(table)
    content = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], **state}
    (folder / "state.json").write_text(json.dumps(content))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features or {}}))
    return folder


LABELS = {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}
TEXTS = {"text": [f"a film of the year {row} that I saw" for row in range(N)], "label": [row % 2 for row in range(N)]}


def test_what_datasets_saves_is_read_with_the_names_of_classes(datasets, tmp_path):
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    saved = datasets.Dataset.from_dict(TEXTS, features=features)
    saved.save_to_disk(str(tmp_path / "texts"), num_shards=2)
    source = read(tmp_path / "texts", TARGET)
    assert source.dataset.modality == "text" and source.dataset.samples == TEXTS["text"]
    assert source.dataset.class_names == ("neg", "pos") and source.classes == (0, 1)
    assert source.dataset.labels.tolist() == TEXTS["label"]
    assert "the file names the classes of column 'label': 'neg', 'pos'" in source.said
    assert source.facts["format"] == "hugging face" and len(source.facts["sha256"]) == 64
    chosen = saved.shuffle(seed=0).select(range(30))
    chosen.save_to_disk(str(tmp_path / "chosen"))
    assert read_like(tmp_path / "chosen", source, TARGET).dataset.samples == chosen["text"][:]
    datasets.DatasetDict({"train": saved, "test": saved}).save_to_disk(str(tmp_path / "parts"))
    with pytest.raises(UserError, match=r"holds the parts 'test', 'train': give one of them, e.g. .*/parts/test"):
        read(tmp_path / "parts", TARGET)
    assert len(read(tmp_path / "parts" / "train", TARGET).rows) == N


def test_images_of_a_saved_data_set(tmp_path):
    cells = [encoded(row) for row in range(N)]
    cells[3], cells[5] = None, {"bytes": b"no image", "path": None}
    columns = {"img": cells, "label": [row % 2 for row in range(N)], "size": [3] * N}
    folder = stored(tmp_path / "set", columns, {"img": {"_type": "Image"}, **LABELS})
    source = read(folder, TARGET)
    assert source.dataset.modality == "image" and source.dataset.samples.shape == (N - 2, 8, 9, 3)
    assert source.dataset.samples[3, 0, 0].tolist() == [4, 0, 0]
    assert [item.row for item in source.set_aside] == [3, 5] and source.facts["rows"] == N
    assert "columns beside the images were left out: 'size'" in source.said
    assert read_like(folder, source, TARGET).dataset.samples.shape == (N - 2, 8, 9, 3)
    words = stored(tmp_path / "words", {"img": ["a", "b"] * 20, "label": columns["label"]}, LABELS)
    with pytest.raises(UserError, match="column 'img' holds no images, as that of the first file does"):
        read_like(words, source, TARGET)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "data-00000-of-00001.arrow").write_bytes(b"x" * 100), "cannot be read"),
        (lambda folder: (folder / "data-00000-of-00001.arrow").write_bytes(b""), "is empty"),
        (lambda folder: (folder / "data-00000-of-00001.arrow").write_bytes(pickle.dumps(print)), "cannot be read"),
        (lambda folder: (folder / "data-00000-of-00001.arrow").unlink(), "data-00000-of-00001.arrow: not found"),
        (lambda folder: (folder / "dataset_info.json").unlink(), "dataset_info.json: not found"),
        (lambda folder: (folder / "state.json").write_text("{"), "state.json: is no JSON"),
        (lambda folder: (folder / "state.json").write_text("[]"), "state.json: holds no object"),
        (lambda folder: (folder / "state.json").write_text("{}"), "state.json: names no data files"),
        (lambda folder: (folder / "state.json").write_text('{"_data_files": []}'), "state.json: names no data files"),
        (lambda folder: (folder / "state.json").write_text('{"_data_files": [{"filename": "../secret.arrow"}]}'),
         "names a data file outside the folder, '../secret.arrow'"),
        (lambda folder: (folder / "state.json").write_text(
            '{"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_indices_data_files": [{"filename": "i"}]}'),
         "holds a selection of rows beside the data"),
    ],
)  # fmt: skip
def test_a_damaged_data_set_is_refused(tmp_path, spoil, message):
    folder = stored(tmp_path / "set", TEXTS, LABELS)
    spoil(folder)
    with pytest.raises(UserError, match=message) as refusal:
        read(folder, TARGET)
    assert "\n" not in str(refusal.value)


def test_a_cut_arrow_file_is_refused(tmp_path):
    folder = stored(tmp_path / "set", {**TEXTS, "n": np.arange(N)}, LABELS)
    file = folder / "data-00000-of-00001.arrow"
    for size in (1, 8, 200, file.stat().st_size // 2):
        file.write_bytes(file.read_bytes()[:size] if size > 8 else b"\xff" * size)
        with pytest.raises(UserError, match="cannot be read"):
            read(folder, TARGET)


def test_labels_of_a_saved_data_set_without_names_are_numbers(tmp_path):
    source = read(stored(tmp_path / "set", TEXTS), TARGET)
    assert source.dataset.class_names == ("0", "1")
