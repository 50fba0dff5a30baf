"""The README says what the results say."""

import re
import shutil

import pytest

from conftest import REPOSITORY
from datagradient.errors import UserError
from datagradient.files import read_rows
from datagradient.report.readme import BLOCKS, update_readme

RESULTS = REPOSITORY / "results/cpu"


def test_the_readmes_tables_are_generated_from_the_committed_results(tmp_path):
    copy = tmp_path / "README.md"
    shutil.copy(REPOSITORY / "README.md", copy)
    update_readme(copy, RESULTS.parent)
    assert copy.read_text() == (REPOSITORY / "README.md").read_text(), "run: make readme"


@pytest.mark.parametrize("kind", ["csv", "md", "tex"])
def test_the_verdict_is_that_of_the_cpu_preset(kind):
    name = f"verdict.{kind}"
    assert (REPOSITORY / "paper_tables" / name).read_bytes() == (REPOSITORY / "paper_tables/cpu" / name).read_bytes()


def test_a_readme_without_markers_is_refused(tmp_path):
    (tmp_path / "README.md").write_text("# nothing\n")
    with pytest.raises(UserError, match="has no <!-- verdict"):
        update_readme(tmp_path / "README.md", RESULTS.parent)


def test_changed_results_change_the_readme(tmp_path):
    for name in ("claims.json", "pooled.csv", "safety.csv"):
        shutil.copy(RESULTS / name, tmp_path / name)
    text = (tmp_path / "claims.json").read_text()
    (tmp_path / "claims.json").write_text(re.sub(r'"verdict": "[^"]*"', '"verdict": "made up"', text))
    assert BLOCKS["verdict"][1](tmp_path).count("**made up**") == 8


@pytest.mark.parametrize("preset", ["cpu", "seeds"])
def test_every_committed_table_comes_from_one_run(preset):
    tables = (REPOSITORY / f"paper_tables/{preset}").glob("*.md")
    commits = {
        line for path in tables for line in path.read_text().splitlines() if line.startswith(f"preset {preset}, ")
    }
    assert len(commits) == 1
    assert len(read_rows(RESULTS / "metrics.csv")) > 1000
