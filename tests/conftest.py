import copy
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import settings

from datagradient.files import write_json
from datagradient.files.strict_yaml import read_yaml
from datagradient.pipeline.config import validate
from datagradient.pipeline.layout import modules

REPOSITORY = Path(__file__).parents[1]
# The same examples on every machine, and no clock: a slow machine fails no test.
settings.register_profile("tests", deadline=None, derandomize=True, database=None)
settings.load_profile("tests")


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 380, "height": 800}
LONGEST = (
    "test_pipeline",
    "test_jobs",
    "test_wheel",
    "test_models",
    "test_golden",
    "test_audit_command",
    "test_conditions",
)


def pytest_collection_modifyitems(items):
    """The files that take longest first, so that no worker waits for the other in the end."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


# Data sets that packages carry, and those that are read from local copies or fetched.
SETS = REPOSITORY / "src/datagradient/data/sets"
FETCHED = [name for name in modules("data/sets") if "datagradient.data.fetch" in (SETS / f"{name}.py").read_text()]
OFFLINE = [name for name in modules("data/sets") if name not in FETCHED]


@pytest.fixture
def random():
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def real_data():
    """The folder of local copies of the real data sets; without one the test is skipped."""
    if not os.environ.get("DATAGRADIENT_DATA"):
        pytest.skip("DATAGRADIENT_DATA is not set: no local copy of the real data sets")
    return os.environ["DATAGRADIENT_DATA"]


def blobs(random, n, d, n_classes, spread=1.5):
    """Gaussian classes that overlap, so that a logistic fit is well posed: features (n, d), labels (n,)."""
    centres = random.normal(size=(n_classes, d))
    labels = np.arange(n) % n_classes
    return centres[labels] + spread * random.normal(size=(n, d)), labels


def merged(preset, defaults=REPOSITORY / "config/defaults.yaml", content=None):
    """What Snakemake makes of defaults.yaml and a preset file: later keys win, mappings are merged; and the files."""
    config = copy.deepcopy(read_yaml(defaults) if content is None else content)

    def update(base, new):
        for key, value in new.items():
            if isinstance(value, dict) and isinstance(base.get(key), dict):
                update(base[key], value)
            else:
                base[key] = value

    update(config, yaml.safe_load(preset.read_text()))
    return config, [defaults, preset]


def write_preset(folder, text):
    """A preset's validated configuration in `folder`, as the workflow writes it for its jobs; its path."""
    (folder / "preset.yaml").write_text(text)
    write_json(folder / "config.json", validate(*merged(folder / "preset.yaml")))
    return folder / "config.json"


def environment():
    outside = {"DATAGRADIENT_RUN", "MLFLOW_TRACKING_URI"}
    inside = {name: value for name, value in os.environ.items() if name not in outside}
    return {**inside, "PYTHONPATH": str(REPOSITORY / "src")}


def code_blocks(file):
    """The Python examples of a page, in order."""
    return re.findall(r"```python\n(.*?)```", (REPOSITORY / file).read_text(encoding="utf-8"), re.DOTALL)


def run_script(script, folder):
    """What a script prints that runs at top level, as a reader's would; warnings of users' mistakes are errors."""
    (folder / "script.py").write_text(script)
    command = [sys.executable, "-W", "error::UserWarning", "script.py"]
    given = {**environment(), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, check=False, text=True, capture_output=True, env=given)
    assert done.returncode == 0, done.stderr
    return done.stdout


AWKWARD = 'it\'s a "trial" $(touch X) {a}'  # nothing in a folder's name may reach a shell, or count as a wildcard


def copy_repository(copy, without=()):
    """Copy the repository's files, but for some of its folders."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    files = subprocess.run(listed, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, files):
        if (REPOSITORY / name).is_file() and name.split("/")[0] not in without:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, copy / name)


@pytest.fixture(scope="session")
def clone(tmp_path_factory):
    """A copy of the repository's files, in a folder with an awkward name."""
    copy = tmp_path_factory.mktemp("clones") / AWKWARD
    copy_repository(copy, without=("results", "figures", "paper_tables"))
    yield copy
    assert not list(copy.parent.rglob("X"))


def snakemake(clone, folder, *arguments, config, log=subprocess.PIPE, quiet=("--quiet", "progress")):
    folder.mkdir(exist_ok=True)
    (folder / "micro.yaml").write_text(config)
    command = [
        sys.executable, "-m", "snakemake", *arguments, "--directory", str(folder), "--cores", "2",
        "--max-jobs-per-timespan", "100/1s",  # of few jobs, for which nobody should wait in the end
        *quiet, "--configfile", str(folder / "micro.yaml"),
    ]  # fmt: skip
    return subprocess.Popen(
        command, cwd=clone, env=environment(), start_new_session=True, text=True, stdout=log, stderr=subprocess.STDOUT
    )


def finish(process):
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"no browser is installed: none of {', '.join(BROWSERS)}")
    with sync_api.sync_playwright() as playwright:
        # As root, as in containers, Chromium starts without its sandbox alone.
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        started = playwright.chromium.launch(executable_path=executable, args=options)
        yield started
        started.close()


@pytest.fixture
def opened(browser, files):
    """Open one of `files`, a folder, without a network; it must ask for nothing, and the console must stay empty."""
    contexts, wrong = [], []

    def open_page(name, viewport=WIDE, **options):
        context = browser.new_context(viewport=viewport, offline=True, **options)
        context.set_default_timeout(120_000)  # milliseconds, for a busy machine
        contexts.append(context)
        page = context.new_page()
        address = (files / f"{name}.html").as_uri()
        page.on("request", lambda request: wrong.append(request.url) if request.url != address
                and not request.url.startswith("data:") else None)  # fmt: skip
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


def inaccessible(page):
    """The serious breaches of axe's rules, each with the elements."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    return [(rule["id"], [node["html"][:200] for node in rule["nodes"][:3]])
            for rule in axe.run(page).response["violations"] if rule["impact"] in ("serious", "critical")]  # fmt: skip
