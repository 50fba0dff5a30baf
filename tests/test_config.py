"""One line for every mistake: file, key, value, what is legal."""

import copy
import json
import subprocess
from inspect import signature
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import conftest
from conftest import REPOSITORY
from datagradient.errors import UserError
from datagradient.files import write_json
from datagradient.files.strict_yaml import read_yaml
from datagradient.influence.options import PROBLEM_OPTIONS, SOLVER_OPTIONS, SOLVERS
from datagradient.influence.scores import SOLVES
from datagradient.influence.solvers import cg, direct, explicit, lissa
from datagradient.models import declared, family, read_declaration
from datagradient.pipeline.config import _schema, model_settings, read_validated, validate
from datagradient.pipeline.layout import RESERVED, modules, solver_for
from datagradient.pipeline.provenance import config_hash

DEFAULTS = REPOSITORY / "config/defaults.yaml"


CONTENT = read_yaml(DEFAULTS)


@pytest.fixture(autouse=True)
def _defaults_are_parsed_once(monkeypatch):
    read = {DEFAULTS: lambda: copy.deepcopy(CONTENT)}
    monkeypatch.setattr(
        "datagradient.pipeline.config.read_yaml", lambda path: read.get(path, lambda: read_yaml(path))()
    )


def merged(tmp_path, text):
    """The defaults merged with a preset of the given text, and the files."""
    (tmp_path / "mine.yaml").write_text(text)
    return conftest.merged(tmp_path / "mine.yaml", content=CONTENT)


GOOD = """preset: mine
models: [logistic]
datasets: {digits: , adult: {max_development: 500, models: {logistic: {l2: 0.1}}}}
"""


def test_defaults_are_filled_in(tmp_path):
    config, files = merged(tmp_path, GOOD)
    before = copy.deepcopy(config)
    full = validate(config, files)
    assert config == before
    assert full["datasets"]["adult"] == {
        "max_development": 500, "max_test": None,
        "models": {"logistic": {"l2": 0.1, "tolerance": 1e-6, "max_iterations": 10000}},
    }  # fmt: skip
    assert full["datasets"]["digits"]["models"]["logistic"]["l2"] == 1e-4


PRESETS = sorted({path.name for path in (REPOSITORY / "config").glob("*.yaml")} - {"claims.yaml"})


@pytest.mark.parametrize("preset", PRESETS)
def test_every_committed_preset_is_valid(tmp_path, preset):
    if preset != "defaults.yaml":
        assert validate(*merged(tmp_path, (REPOSITORY / "config" / preset).read_text()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sedes: [1]", "mine.yaml: sedes: unknown; legal: preset, datasets"),
        ("split: {tset: 0.1}", "mine.yaml: split.tset: unknown; legal: influence, selection, test"),
        ("removal_fraction: 1.5", r"mine.yaml: removal_fraction: 1.5 is not a number in \(0, 1\)"),
        ("removal_fraction: 0", r"mine.yaml: removal_fraction: 0 is not a number in \(0, 1\)"),
        ("noise: [0.1, 1.0]", r"mine.yaml: noise.1: 1.0 is not a number in \[0, 1\)"),
        ("seeds: 5", "mine.yaml: seeds: 5 is not a list"),
        ("seeds: [1, 1]", r"mine.yaml: seeds: \[1, 1\] is not a list without repeats"),
        ("seeds: [0, one]", "mine.yaml: seeds.1: 'one' is not a whole number"),
        ("seeds: [0]", r"mine.yaml: seeds: \[0\] is not a list without repeats of at least two"),
        ("one_job: some", "mine.yaml: one_job: 'some' is not one of family, seed, step"),
        ("model_settings: {neural: {solver: {name: ekfac}}}", "neural.solver.parameters: for tables: last, and ekfac"),
        ("model_settings: {neural: {solver: {text: {parameters: last}}}}", "mine.yaml: model_settings.neural.solver"),
        ("model_settings: {neural: {solver: {name: lissa, text: {tolerance: 0}}}}",
         "text.tolerance: for texts: lissa needs a tolerance"),
        ("model_settings: {boosted: {solver: {preconditioner: ekfac}}}", "for tables: ekfac is for networks"),
        ("model_settings: {logistic: {solver: {name: record}}}", "for tables: record is for networks"),
        ("model_settings: {neural: {solver: {parameters: all}}}", "for images: all, and record keeps last or proj"),
        ("datasets: {digits: }\npolicies: [influence, crossfit]\n"
         "model_settings: {neural: {solver: {image: {parameters: projected}}}}",
         "for images: projected, and crossfit needs last or all"),
        ("iterations: three", "mine.yaml: iterations: 'three' is not a whole number of at least 1"),
        ("iterations: true", "mine.yaml: iterations: True is not a whole number"),
        ("datasets: {mnist: }", "mine.yaml: datasets.mnist: unknown; legal: adult, affairs, "),
        ("datasets: {adult: {max_test: 3}}", "mine.yaml: datasets.adult.max_test: 3 is not a whole number of at"),
        ("datasets: {adult: {models: {logistic: {C: 1}}}}", "mine.yaml: datasets.adult.models.logistic.C: unknown"),
        ("datasets: {adult: {models: {logistic: {l2: [1]}}}}", r"l2: \[1\] is not one value for each noise rate of"),
        ("datasets: {adult: {models: {logistic: {l2: -1}}}}", "logistic.l2: -1 is not a number above 0, or one for"),
        ("model_settings: {forest: {}}", "mine.yaml: model_settings.forest: unknown; legal: boosted, logistic"),
        ("datasets: {digits: }\nmodels: [forest]", "mine.yaml: models.0: 'forest' is not one of boosted, logistic"),
        ("model_settings: {logistic: {solver: {name: lu}}}", "solver.name: 'lu' is not one of cg, record, explicit"),
        ("model_settings: {logistic: {solver: {damping: -1}}}", "model_settings.logistic.solver.damping: -1 is not a"),
        ("model_settings: {neural: {settings: {network: vgg}}}", "network: 'vgg' is not one of small, resnet18"),
        ("model_settings: {neural: {settings: {averaging: 1}}}", r"averaging: 1 is not a number in \[0, 1\)"),
        ("model_settings: {neural: {settings: {averaging: -0.1}}}", r"averaging: -0.1 is not a number in \[0, 1\)"),
        ("policies: [influence, worst]", "mine.yaml: policies.1: 'worst' is not one of influence, random"),
        ("policies: [random]", "mine.yaml: policies: the others copy the numbers of influence; add it"),
        ("split: {test: 0.9}", "mine.yaml: split: the shares .* leave nothing to train on"),
        ("shards: 4", "mine.yaml: shards: 4 are for one_job: step, and one_job is seed"),
        ("shards: 0", "mine.yaml: shards: 0 is not a whole number of at least 1"),
        ("gpu: 2", "mine.yaml: gpu: 2 is not 0 or 1"),
        ("sensitivity: {fractions: [0.1]}", "mine.yaml: sensitivity: needs the models of fidelity"),
        ("fidelity: {halves: 3}", "mine.yaml: fidelity.single: missing"),
        ("noise: [0.0]\ntrusted: {labels: [0], checked: [10], seeds: {neural: 1}}",
         "mine.yaml: trusted: needs wrong labels"),
        ("trusted: {labels: [0], checked: [10], seeds: {forest: 1}}", "trusted.seeds.forest: unknown; legal"),
        ("trusted: {labels: [0], checked: [10], seeds: {}}",
         "mine.yaml: trusted.seeds: names no family of the preset, which has "),
        ("scalability: {repeats: 1, datasets: {imdb: {models: [logistic], sizes: [100]}}}",
         "mine.yaml: scalability.datasets: imdb with logistic is not among the preset's"),
        ("scalability: {repeats: 1, datasets: {digits: {models: [logistic], sizes: [10]}}}", "sizes.0: 10 is not a"),
        ("streaming: {dataset: digits, model: logistic, trained_on: 100, chunk: 300, sizes: [400]}",
         r"mine.yaml: streaming.sizes: \[400\] are not all multiples of the chunk, 300"),
        ("preset: Mine!", "mine.yaml: preset: 'Mine!' is not a word"),
    ],
)  # fmt: skip
def test_mistakes_name_file_key_value_and_what_is_legal(tmp_path, text, message):
    config, files = merged(tmp_path, GOOD if text.startswith("datasets") else GOOD + text)
    if text.startswith("datasets"):
        config, files = merged(tmp_path, "preset: mine\n" + text)
    elif text.startswith("preset"):
        config, files = merged(tmp_path, GOOD.replace("preset: mine", text))
    with pytest.raises(UserError, match=message) as caught:
        validate(config, files)
    assert "\n" not in str(caught.value)


def test_a_setting_may_differ_by_noise_rate(tmp_path):
    config, files = merged(tmp_path, "preset: mine\ndatasets: {adult: {models: {logistic: {l2: [0.1, 0.2]}}}}")
    full = validate(config, files)
    assert [model_settings(full, "adult", "logistic", noise)["l2"] for noise in ("0", "0.2")] == [0.1, 0.2]


def test_only_what_is_used_is_kept(tmp_path):
    lissa = "model_settings: {boosted: {solver: {name: lissa, batch_size: 32}}}\n"
    full = validate(*merged(tmp_path, f"preset: mine\nmodels: [boosted]\n{lissa}datasets: {{adult: }}"))
    assert list(full["model_settings"]) == list(full["datasets"]["adult"]["models"]) == ["boosted"]
    assert full["model_settings"]["boosted"]["solver"]["text"]["batch_size"] == 32
    full = validate(*merged(tmp_path, "preset: mine\nmodels: [boosted]\ndatasets: {adult: }"))
    assert "batch_size" not in full["model_settings"]["boosted"]["solver"]["text"]


def test_a_mistake_on_the_command_line_is_called_so(tmp_path):
    config, files = merged(tmp_path, GOOD)
    with pytest.raises(UserError, match=r"command line \(--config\): itertions: unknown"):
        validate({**config, "itertions": 3}, files)


def test_a_missing_key_is_named(tmp_path):
    config, files = merged(tmp_path, "datasets: {digits: }")
    with pytest.raises(UserError, match="preset: missing"):
        validate(config, files)


def test_settings_of_two_noise_rates_may_be_equal(tmp_path):
    text = "preset: mine\ndatasets: {adult: {models: {logistic: {l2: [0.1, 0.1]}}}}"
    assert model_settings(validate(*merged(tmp_path, text)), "adult", "logistic", "0.2")["l2"] == 0.1


NEURAL = "preset: mine\nmodels: [neural]\ndatasets: {digits: }\n"


def test_ekfac_is_legal_for_all_parameters(tmp_path):
    text = "model_settings: {neural: {solver: {name: ekfac, parameters: all}}}"
    solver = validate(*merged(tmp_path, NEURAL + text))["model_settings"]["neural"]["solver"]["image"]
    assert (solver["name"], solver["parameters"], "tolerance" in solver) == ("ekfac", "all", False)


def test_a_kind_of_data_may_have_its_own_solver(tmp_path):
    text = "model_settings: {neural: {solver: {damping: 0.5, table: {name: lissa, samples: 9}, text: }}}"
    solver = validate(*merged(tmp_path, NEURAL + text))["model_settings"]["neural"]["solver"]
    assert solver["image"] == solver["text"] == solver_for(solver, "text")
    assert (solver["image"]["damping"], solver["image"]["parameters"]) == (0.5, "last")
    table = solver["table"]
    assert (table["name"], table["parameters"], table["samples"]) == ("lissa", "last", 9)
    assert "preconditioner" not in table
    with pytest.raises(UserError, match=r"solver.text.damping: -1 is not a number of at least 0"):
        validate(*merged(tmp_path, NEURAL + "model_settings: {neural: {solver: {text: {damping: -1}}}}"))


def test_a_validated_configuration_is_read_as_it_was_written_and_checked(tmp_path):
    full = validate(*merged(tmp_path, GOOD))
    write_json(tmp_path / "config.json", full)
    assert read_validated(tmp_path / "config.json") == full
    full["datasets"]["adult"]["models"]["logistic"]["l2"] = "a"
    write_json(tmp_path / "config.json", full)
    with pytest.raises(UserError, match=r"config.json: datasets.adult.models.logistic.l2: 'a' is not a number above 0"):
        read_validated(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("removal_fraction: .nan", r"mine.yaml: removal_fraction: nan is not a number in \(0, 1\)$"),
        ("removal_fraction: .inf", "mine.yaml: removal_fraction: inf is not a number"),
        ("noise: [.nan, 0.2]", r"mine.yaml: noise.0: nan is not a number in \[0, 1\)"),
        ("model_settings: {logistic: {solver: {damping: .inf}}}", "logistic.solver.damping: inf is not a number of at"),
        ("model_settings: {logistic: {settings: {l2: .nan}}}", "settings.l2: nan is not a number above 0$"),
        ("model_settings: {boosted: {settings: {depth: 2.5}}}", "depth: 2.5 is not a whole number of at least 1"),
        ("model_settings: {boosted: {settings: {subsample: 5}}}", r"subsample: 5 is not a number in \(0, 1\]$"),
        ("model_settings: {boosted: {settings: {max_bins: 1}}}", "max_bins: 1 is not a whole number of at least 2"),
        ("model_settings: {logistic: {settings: {max_iterations: 0.5}}}", "max_iterations: 0.5 is not a whole number"),
        ("model_settings: {logistic: {settings: {C: 1.0}}}", "mine.yaml: model_settings.logistic.settings.C: unknown"),
        ("model_settings: {logistic: {settings: {l2: 1.0e+300}}}", r"1e\+300 is not .* between 1e-30 and 1e\+30$"),
        ("model_settings: {neural: {settings: {network: [small, small]}}}", r"network: \['small', 'small'\] is not"),
        ("model_settings: {neural: {solver: {samples: 0}}}", "samples: 0 is not a .* of at least 1, or null$"),
        ("model_settings: {neural: {solver: {curvature: null}}}", "curvature: None is not one of ggn, hessian$"),
        ("model_settings: {neural: null}", "model_settings.neural: None is not a mapping with the keys settings, solv"),
        ("iterations: 3.0", "mine.yaml: iterations: 3.0 is not a whole number"),
        ('iterations: "3"', "iterations: '3' is not a whole number .*; it was read as text: write 3$"),
        ("iterations: 100000000", "iterations: 100000000 is not a whole number of at least 1 and at most 100$"),
        ("iterations: 1e1", "iterations: '1e1' is not a whole number .*: write 10$"),
        ("removal_fraction: 1e-7", "'1e-7' is not a number in .*; it was read as text: write 1.0e-07$"),
        ("gpu: true", "mine.yaml: gpu: True is not 0 or 1$"),
        ("gpu: 1.0", "mine.yaml: gpu: 1.0 is not 0 or 1$"),
        ("one_job: no", "one_job: False is not one of .*: put quotes around a word$"),
        ("seeds: [0, 1.0]", "mine.yaml: seeds.1: 1.0 is not a whole number"),
        ("seeds: [0, true]", "mine.yaml: seeds.1: True is not a whole number"),
        ("seeds: [0, 4294967296]", "seeds.1: 4294967296 is not a whole number of at least 0 and at most 4294967295$"),
        ("seeds: [0, 010]", "mine.yaml: line 4: 010 is read as 8: write 8, or put quotes"),
        ("seeds: [0, 1:30]", "mine.yaml: line 4: 1:30 is read as 90: write 90"),
        ("seeds: [0, 1]\nseeds: [2, 3]", "mine.yaml: line 5: the key 'seeds' is also in line 4; keep one of them$"),
        ("split: {test: 0.1, test: 0.2}", "mine.yaml: line 4: the key 'test' is also in line 4"),
        ("noise: [0.2, 0.20000001]", "mine.yaml: noise.1: 0.20000001 is not a number in .*, of at most six digits"),
        ("noise: [0, 0.0]", r"mine.yaml: noise: \[0, 0.0\] is not a list without repeats"),
        ("noise: [0, 1.0e-7]", "mine.yaml: noise.1: 1e-07 is not a number in"),
        ("noise: [-0.0, 0.2]", "mine.yaml: noise.0: -0.0 is not a number in .*; write 0.0$"),
        ("policies: [influence, influence]", "mine.yaml: policies: .* is not a list without repeats"),
        ("policies: null", "mine.yaml: policies: None is not a list"),
        ("split: [0.1, 0.1, 0.2]", r"mine.yaml: split: \[0.1, 0.1, 0.2\] is not a mapping with the keys inf"),
        ("1: 2", "mine.yaml: 1: unknown; legal: preset"),
        ('"a\\nb": 2', r"mine.yaml: 'a\\nb': unknown; legal: preset"),
        (f"seeds: {list(range(2500))}\none_job: step\niterations: 20", "iterations: data sets, .* make 1200000"),
        ("scalability: {repeats: 1, datasets: {digits: {models: [logistic], sizes: [1000000000]}}}",
         "sizes.0: 1000000000 is not a whole number of at least 100 and at most 10000000$"),
        ("preset: benchmarks", "preset: 'benchmarks' is not a word .*, and not one of defaults, claims, benchmarks"),
        ("preset: claims", "preset: 'claims' is not a word"),
        ('preset: "mine\\n"', r"preset: 'mine\\n' is not a word"),
        ("preset: no", "preset: False is not a word of a-z"),
        ("datasets: {}", r"mine.yaml: datasets: \{\} is not a mapping with at least one of adult"),
        ("datasets: [digits]", r"datasets: \['digits'\] is not a mapping with at least one of adult"),
        ("datasets: {digits: {models: {logistic: {l2: [0.1, .nan]}}}}", r"l2: \[0.1, nan\] is not a number above 0"),
        ("datasets: {digits: {models: {logistic: {l2: []}}}}", r"l2: \[\] is not a number above 0, or one for each"),
        ("datasets: {digits: {models: {boosted: {rounds: [1, 2.5]}}}}", r"rounds: \[1, 2.5\] is not a whole number"),
    ],
)  # fmt: skip
def test_values_that_look_legal_are_refused(tmp_path, text, message):
    base = GOOD.replace("preset: mine\n", "") if text.startswith("preset") else GOOD
    base = "preset: mine\nmodels: [logistic]\n" if text.startswith("datasets") else base
    config, files = merged(tmp_path, base + text)
    with pytest.raises(UserError, match=message) as caught:
        validate(config, files)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "mine.yaml: is empty, and not a mapping of keys to values$"),
        (b"[1, 2]", r"mine.yaml: is \[1, 2\], and not a mapping"),
        (b"preset: caf\xe9", "mine.yaml: byte 11 is not UTF-8; save the file as UTF-8$"),
        (b"preset: a\n\tseeds: 3", "mine.yaml: line 2: found character"),
        (b"preset: a\n---\npreset: b", "mine.yaml: line 2: but found another document$"),
        (b"a: " + b"[" * 500, "mine.yaml: is not YAML that can be read"),
        (b"a: 1" + b"0" * 5000, "mine.yaml: is not YAML that can be read"),
        (b"a: !!python/object/apply:os.getcwd []", "mine.yaml: line 1: could not determine a constructor"),
        (b"a: \x00", "mine.yaml: is not YAML"),
        (None, r"mine.yaml: cannot be read \(No such file or directory\)$"),
    ],
)
def test_files_that_hold_no_settings_are_refused(tmp_path, content, message):
    config, files = merged(tmp_path, GOOD)
    files[-1].unlink() if content is None else files[-1].write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        validate(config, files)
    assert "\n" not in str(caught.value)


def test_anchors_and_merge_keys_are_no_repeats(tmp_path):
    text = "base: &shares {influence: 0.2, selection: 0.1}\n"
    path = tmp_path / "a.yaml"
    path.write_text(text + "split: {<<: *shares, influence: 0.3, test: 0.1}\nother: {<<: *shares, influence: 0.4}\n")
    assert read_yaml(path)["split"] == {"influence": 0.3, "selection": 0.1, "test": 0.1}


@pytest.mark.parametrize("model", modules("models"))
def test_what_families_declare_is_read_as_the_module_holds_it(model):
    content = family(model).FAMILY
    assert declared(model).solver == content["solver"]
    assert declared(model).defaults == {name: entry["default"] for name, entry in content["settings"].items()}
    assert declared(model).settings.keys() == content["settings"].keys()


DECLARATION = """FAMILY = {
    "inputs": "features", "random": False, "settings": {"l2": {"type": "number", "gt": 0, "default": 0.1}},
    "solver": {"name": "cg", "damping": 0.0, "tolerance": 0.01, "max_iterations": 10},
}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("FAMILY", "SETTINGS", "mine.py: declares no FAMILY; see logistic.py beside it$"),
        ('"random": False, ', "", "mine.py: FAMILY: random is missing; needed are inputs, random, settings, solver$"),
        ('"random"', '"randm"', "mine.py: FAMILY: 'randm' is unknown; legal: inputs, random, settings, solver, gpu"),
        ('"features"', '"vectors"', "mine.py: FAMILY: inputs: 'vectors' is not 'features' or 'raw'$"),
        ('"random": False', '"random": 0', "mine.py: FAMILY: random: 0 is not True or False$"),
        ('"random": False', '"random": False, "colour": "blue"', "colour: 'blue' is not a colour like '#0072B2', or"),
        ("False", "not True", "mine.py: FAMILY is read without running the file: write plain words"),
        ('"gt": 0, ', "", r"FAMILY: settings.l2: needs one lower limit, gt or ge, and has at most one upper limit"),
        ('"gt": 0', '"gte": 0', "FAMILY: settings.l2: 'gte' is unknown; legal: type, gt, ge, lt, le, null, default$"),
        ('"number"', '"float"', "FAMILY: settings.l2: type: 'float' is not 'whole' or 'number'$"),
        (', "default": 0.1', "", "FAMILY: settings.l2: default is missing; needed are type, default$"),
        ('{"type": "number", "gt": 0, "default": 0.1}', "0.1", "FAMILY: settings.l2: 0.1 is not a mapping with type"),
        ('"type": "number", "gt": 0', '"words": "a"', "FAMILY: settings.l2: words: 'a' is not a tuple of words$"),
        ('"name": "cg", ', "", "FAMILY: solver: {.*} is not a mapping with the name of a solver$"),
    ],
)
def test_a_wrong_declaration_of_a_family_is_refused_by_file_and_key(tmp_path, old, new, message):
    file = tmp_path / "mine.py"
    file.write_text(DECLARATION)
    assert read_declaration(file).defaults == {"l2": 0.1}
    file.write_text(DECLARATION.replace(old, new))
    with pytest.raises(UserError, match=message) as caught:
        read_declaration(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.1}", "-1}", r"logistic.py: model_settings.logistic.settings.l2: -1 is not a number above 0$"),
        ('"cg"', '"lu"', r"logistic.py: model_settings.logistic.solver.name: 'lu' is not one of cg"),
        ('"cg"', '"cg", "dampng": 1', r"logistic.py: model_settings.logistic.solver.dampng: unknown; legal: name"),
    ],
)
def test_a_wrong_default_of_a_family_names_its_file(tmp_path, monkeypatch, old, new, message):
    file = tmp_path / "logistic.py"
    file.write_text(DECLARATION.replace(old, new))
    monkeypatch.setattr("datagradient.pipeline.config.modules", lambda _: ["logistic"])
    monkeypatch.setattr("datagradient.pipeline.config.declared", lambda _: read_declaration(file))
    _schema.cache_clear()
    config, files = merged(tmp_path, "preset: mine\ndatasets: {logistic: }\nmodels: [logistic]")
    try:
        with pytest.raises(UserError, match=message):
            validate(config, files)
    finally:
        _schema.cache_clear()


def test_a_choice_that_a_family_does_not_have_is_refused(tmp_path):
    config, files = merged(tmp_path, GOOD + "model_settings: {logistic: {solver: {curvature: hessian}}}")
    with pytest.raises(UserError, match=r"solver.curvature: for tables: this family has no such choice$"):
        validate(config, files)


def test_the_options_of_solvers_have_one_list():
    assert SOLVES.keys() == SOLVERS.keys()
    assert all(set(options) <= SOLVER_OPTIONS.keys() for options in SOLVERS.values())
    for name, function in {"cg": cg, "explicit": explicit, "lissa": lissa, "ekfac": direct}.items():
        parameters = signature(function).parameters.values()
        assert {entry.name for entry in parameters if entry.kind == entry.KEYWORD_ONLY} <= set(SOLVERS[name])
    used = {option for options in SOLVERS.values() for option in options} | set(PROBLEM_OPTIONS)
    assert used == SOLVER_OPTIONS.keys()


def test_no_preset_can_take_the_folder_of_something_else():
    presets = {Path(name).stem for name in PRESETS} - {"defaults"}
    tracked = subprocess.run(["git", "ls-files", "results", "figures", "paper_tables"], cwd=REPOSITORY,
                             capture_output=True, text=True, check=False).stdout.split()  # fmt: skip
    folders = {Path(file).parts[1] for file in tracked if len(Path(file).parts) > 2}
    assert folders - presets <= set(RESERVED)
    assert not presets & set(RESERVED)


def test_settings_of_the_committed_presets_stay_as_they_were(tmp_path):
    """Other settings, or 1.0 where 1 was, make another hash; change these only with the settings themselves."""
    known = {"quick": "a899820dd196", "cpu": "502e4e7e4487", "seeds": "46609150e5f3", "paper": "7986efcbb291",
             "full": "0609bc43373a"}  # fmt: skip
    for preset, expected in known.items():
        text = (REPOSITORY / f"config/{preset}.yaml").read_text()
        full = validate(*merged(tmp_path, text))
        del full["one_job"]  # changes no result
        assert config_hash(full) == expected, preset


def leaves(node, path=()):
    """The paths of all scalars."""
    if isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from leaves(value, (*path, key))
    else:
        yield path


FULL = "\n".join(
    f"{key}: {value}"
    for key, value in {
        "preset": "mine", "datasets": "{digits: {max_test: 500, models: {logistic: {l2: [0.1, 0.2]}}}}",
        "scalability": "{repeats: 1, datasets: {digits: {models: [neural], sizes: [500]}}}",
        "streaming": "{dataset: digits, model: neural, trained_on: 100, chunk: 100, sizes: [400]}",
        "fidelity": "{halves: 3, single: 2, initialisations: 1}", "sensitivity": "{fractions: [0.1]}",
        "trusted": "{labels: [0, 20], checked: [10], seeds: {neural: 1}}",
    }.items()
)  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(0, 200), st.floats(), st.floats(0, 1), st.text(max_size=8),
    st.sampled_from(["cg", "lissa", "ekfac", "all", "last", "influence", "digits", "1e-3", "-0.0", "2020-01-01", 1e-9]),
    st.lists(st.integers(0, 3), max_size=3), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A configuration that sets everything, its files, and what they hold, so that these are parsed once."""
    config, files = merged(tmp_path_factory.mktemp("config"), FULL)
    return config, files, {file: read_yaml(file) for file in files}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_value_is_legal_or_refused_by_name(full, data):
    config, files, contents = full
    changed = copy.deepcopy(config)
    *path, last = data.draw(st.sampled_from(list(leaves(config))))
    node = changed
    for key in path:
        node = node[key]
    node[last] = data.draw(SCALARS)
    before = copy.deepcopy(changed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datagradient.pipeline.config.read_yaml", contents.__getitem__)
        try:
            filled = validate(changed, files)
        except UserError as error:
            assert "\n" not in str(error)
            # The key itself, or one that it does not go with.
            assert any(f"{key}" in str(error) for key in (path[0] if path else last, "split", "iterations"))
        else:
            for dataset in filled["datasets"].values():
                for model, values in dataset["models"].items():
                    assert values.keys() == declared(model).settings.keys()
            json.dumps(filled, allow_nan=False)
    assert repr(changed) == repr(before)


def test_what_a_preset_says_of_a_solver_for_all_kinds_of_data_is_not_overridden_by_a_familys_own_for_one(tmp_path):
    def solver(text):
        return validate(*merged(tmp_path, NEURAL + f"model_settings: {{neural: {{solver: {text}}}}}"))[
            "model_settings"
        ]["neural"]["solver"]

    own = solver("{samples: 7}")
    assert {own[kind]["samples"] for kind in own} == {7}
    assert (own["table"]["name"], own["image"]["name"]) == ("cg", "record")
    lissa = solver("{name: lissa, text: {damping: 3}}")
    assert lissa["table"] == lissa["image"] == {**lissa["text"], "damping": 0.1}
    assert solver("{damping: 0.1}")["text"]["damping"] == 0.1  # the default of images, and stated all the same
