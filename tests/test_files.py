import numpy as np
import pytest
from scipy.sparse import random as random_sparse

from datagradient.errors import UserError
from datagradient.files import read_arrays, read_json, replacing, write_arrays, write_json, write_rows


def test_arrays_come_back_dense_and_sparse(tmp_path):
    dense, sparse = np.arange(6.0).reshape(2, 3), random_sparse(5, 4, density=0.4, format="csr", rng=0)
    write_arrays(tmp_path / "a.npz", {"seed": 3}, dense=dense, sparse=sparse)
    arrays, meta = read_arrays(tmp_path / "a.npz")
    assert meta == {"seed": 3}
    np.testing.assert_array_equal(arrays["dense"], dense)
    np.testing.assert_array_equal(arrays["sparse"].toarray(), sparse.toarray())
    only, _ = read_arrays(tmp_path / "a.npz", "sparse")
    assert list(only) == ["sparse"]


def test_equal_content_gives_equal_bytes(tmp_path):
    for name in "ab":
        write_arrays(tmp_path / f"{name}.npz", {"x": 1, "y": 2}, values=np.arange(3))
        write_json(tmp_path / f"{name}.json", {"x": 1, "y": [2.5]})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_failed_write_leaves_the_old_file_and_no_scrap(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    with pytest.raises(RuntimeError), replacing(path) as stream:
        stream.write("half")
        raise RuntimeError
    assert read_json(path) == {"old": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("name", "job"), [("scores.npz", "influence"), ("model.npz", "train"), ("kept.npz", "prune or control")]
)
def test_a_damaged_result_names_the_job_to_run_again(tmp_path, name, job):
    path = tmp_path / name
    write_arrays(path, values=np.arange(100))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=f"{name}: cannot be read .*made by the job '{job}'.*--force {path}"):
        read_arrays(path)


def test_a_damaged_or_missing_json_names_the_job_to_run_again(tmp_path):
    (tmp_path / "metrics.json").write_text('{"metrics": {"accur')
    with pytest.raises(UserError, match=r"metrics.json: cannot be read .*job 'evaluate'"):
        read_json(tmp_path / "metrics.json")
    with pytest.raises(UserError, match=r"train.json: not found; it is made by the job 'train'"):
        read_json(tmp_path / "train.json")


def test_pickled_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "model.npz", weights=np.array([{"an": "object"}]), meta="{}")
    with pytest.raises(UserError, match=r"cannot be read \(no .npz file of plain arrays\)") as caught:
        read_arrays(tmp_path / "model.npz")
    assert "allow_pickle" not in str(caught.value)


def test_rows_refuse_unknown_columns(tmp_path):
    with pytest.raises(ValueError, match="wrong"):
        write_rows(tmp_path / "a.csv", ["right"], [{"wrong": 1}])
    assert not list(tmp_path.iterdir())
