"""What an audit must not touch, and what it says of files that are not what they seem."""

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from datagradient import audit
from datagradient.auditing import work
from datagradient.auditing.demo import run_demo
from datagradient.auditing.folder import BEGUN
from datagradient.auditing.task import drawn_rows
from datagradient.commands.audit import default_folder
from datagradient.commands.main import main
from datagradient.data.readers import ReadOptions, read
from datagradient.errors import UserError
from datagradient.files import replacing

QUICK = ["--model", "logistic", "--folds", "2", "--quiet"]


def made_up(n=120, classes=("no", "yes")):
    chance = np.random.default_rng(0)
    x = chance.normal(size=(n, 2))
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": np.array(list(classes))[np.arange(n) % len(classes)]})


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(work, "cores", lambda: 1)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def refused(capsys, *arguments):
    assert main(["audit", *map(str, arguments)]) == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("options", [(), ("--overwrite",)])
def test_data_that_have_the_name_of_an_audits_file_stay_what_they_are(here, capsys, options):
    made_up().to_parquet(here / "samples.parquet")
    before = (here / "samples.parquet").read_bytes()
    assert "lies in ." in refused(capsys, "samples.parquet", "--target", "y", "--out", ".", *options)
    made_up().to_csv("data.csv", index=False)
    said = refused(capsys, "data.csv", "--target", "y", "--out", ".", "--test", "samples.parquet", *options)
    assert "samples.parquet: lies in ." in said
    with pytest.raises(UserError, match=r"holds samples.parquet, and no plan.json of an audit"):
        (here / "other").mkdir()
        made_up().to_parquet(here / "other/samples.parquet")
        audit(made_up(), "y", model="logistic", folds=2, progress=False, folder=here / "other")
    assert (here / "samples.parquet").read_bytes() == before


def test_no_audit_is_written_into_the_data(here, capsys, monkeypatch):
    (here / "photos/cats").mkdir(parents=True)
    assert "is inside photos, which is never changed" in refused(capsys, "photos", "--out", "photos/audit")
    assert "is photos, which is never changed" in refused(capsys, "photos", "--out", "photos")
    assert default_folder("photos") == "photos-audit"
    assert default_folder("photos/..") == str(here.parent / f"{here.name}-audit")
    monkeypatch.chdir(here / "photos")
    assert default_folder(".") == str(here / "photos-audit")


def test_a_demo_replaces_no_audit_of_a_users_data(here):
    made_up().to_csv("data.csv", index=False)
    assert main(["audit", "data.csv", "--target", "y", "--out", "mine", *QUICK]) == 0
    before = {path: path.read_bytes() for path in (here / "mine").rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="an audit that is no demo"):
        run_demo(here / "mine", lambda _: None)
    (here / "mine/summary.json").unlink()  # as if it had been interrupted
    with pytest.raises(UserError, match="changed since this audit was begun; give another --out"):
        run_demo(here / "mine", lambda _: None)
    left = {path: path.read_bytes() for path in (here / "mine").rglob("*") if path.is_file()}
    assert left == {path: content for path, content in before.items() if path.name != "summary.json"}
    assert (here / "mine" / BEGUN).exists()


def test_files_that_only_look_like_scraps_stay(here):
    (here / ".new.csv.backup.tmp").write_text("a user's own")
    (here / ".new.csv.v1.tmp").mkdir()
    (here / ".new.csv.999999999.tmp").write_text("of a job that was killed")
    with replacing(here / "new.csv") as stream:
        stream.write("new")
    assert sorted(path.name for path in here.iterdir()) == [".new.csv.backup.tmp", ".new.csv.v1.tmp", "new.csv"]


def test_more_folds_than_rows_of_a_class_are_one_line(here, capsys):
    made_up(60, "abcde").to_csv("data.csv", index=False)
    said = refused(capsys, "data.csv", "--target", "y", "--model", "logistic", "--folds", "20")
    assert said.endswith("--folds is 20, and no class has more than 12 different rows: give 12 or fewer")
    assert [path.name for path in here.iterdir()] == ["data.csv"]


def test_as_few_rows_as_can_be_asked_for_are_enough_to_judge(here, capsys):
    made_up(200, "abcd").to_csv("data.csv", index=False)
    assert main(["audit", "data.csv", "--target", "y", "--max-rows", "50", *QUICK]) == 0
    assert "Too few" not in capsys.readouterr().out
    labels = np.repeat([0, 1, 2], [55, 30, 15])
    assert not len(drawn_rows(labels[:0], 0, 0))
    assert [int((labels[drawn_rows(labels, 50, 0)] == label).sum()) for label in range(3)] == [28, 15, 10]


def test_rows_that_repeat_are_told_from_rows_that_are_few():
    table = pd.DataFrame({"a": np.arange(400) % 2, "b": np.arange(400) // 2 % 2, "y": np.arange(400) // 4 % 2})
    said = "\n".join(audit(table, "y", model="logistic", folds=2, progress=False).summary["not_checked"])
    assert "200 rows, 4 of them different and without a checked label (10 are needed), of class 0, too few" in said


def test_a_classifier_of_ones_own_may_see_what_our_features_do_not(here):
    texts = ["".join(np.random.default_rng(k).choice(list("天地玄黄宇宙洪荒日月"), 6)) for k in range(120)]
    labels = np.array(["天" in text for text in texts]).astype(int)
    model = make_pipeline(TfidfVectorizer(analyzer="char"), LogisticRegression())
    audit((texts, labels), model=model, folds=2, progress=False).save("out")
    assert (here / "out/report.html").stat().st_size > 10_000


def test_warnings_of_libraries_do_not_come_between(recwarn):
    table = made_up(121)
    table.loc[120, "y"] = "rare"
    audit(table, "y", model="logistic", folds=2, progress=False)
    assert [str(warning.message) for warning in recwarn] == []


def told(path, **options):
    return "\n".join(read(path, ReadOptions(target="y", **options)).said)


def test_points_that_may_stand_for_thousands_are_said(here):
    prices = ["900", "940", "1.020", "2.300"] * 30
    pd.DataFrame({"price": prices, "y": ["a", "b"] * 60}).to_csv("data.csv", sep=";", index=False)
    assert "column 'price' holds numbers such as 1.020, read as 1.02; where" in told("data.csv")
    assert "thousands" not in told("data.csv", decimal=",")
    pd.DataFrame({"price": ["1.5", "1.020"] * 60, "y": ["a", "b"] * 60}).to_csv("data.csv", sep=";", index=False)
    assert "thousands" not in told("data.csv")


def test_a_date_too_far_away_is_named(here):
    dates = pd.Series(np.full(120, np.datetime64("2020-01-01", "ms")))
    dates[9] = pd.NaT
    for far in (np.datetime64(2**62, "ms"), np.datetime64(-(10**17), "s")):
        column = pd.Series(dates.to_numpy().astype(far.dtype))
        column[7] = far
        data = pd.DataFrame({"when": column, "y": ["a", "b"] * 60})
        with pytest.raises(UserError, match=r"column .when., row 7 holds a date that is too far away"):
            audit(data, "y", progress=False)


def test_headers_without_a_name_do_not_shift_the_others(here):
    (here / "data.csv").write_text(",a,a,y\n" + "0,1,2,x\n" * 60)
    with pytest.raises(UserError, match="columns 2 and 3 are both named 'a'"):
        told("data.csv")


def test_separators_at_the_ends_of_lines_are_told_from_an_index(here):
    (here / "data.csv").write_text("a,b,y\n" + "1,2,x,\n" * 60)
    with pytest.raises(UserError, match="every line but the header ends in a separator"):
        told("data.csv")


def test_lists_of_images_are_told_how_to_become_an_array():
    with pytest.raises(UserError, match=r"numpy\.stack"):
        audit(([np.zeros((8, 8))] * 60, [0, 1] * 30), progress=False)
    with pytest.raises(UserError, match="2 to 3 values"):
        audit(([np.zeros(2), np.zeros(3)] * 30, [0, 1] * 30), progress=False)


def test_a_damaged_image_is_named_in_samples(here):
    from PIL import Image

    for k in range(120):
        folder = here / "pets" / "ab"[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(k).integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / f"{k}.png")
    (here / "pets/a/bad.png").write_bytes(b"no image")
    assert main(["audit", "pets", "--out", "out", *QUICK]) == 0
    samples = pd.read_parquet(here / "out/samples.parquet")
    bad = samples[samples["reason"].str.startswith("set aside")]
    assert [name.replace("\\", "/") for name in bad["name"]] == ["a/bad.png"]
