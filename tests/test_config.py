"""One line for every mistake: file, key, value, what is legal."""

import copy

import pytest
import yaml

from conftest import REPOSITORY
from datagradient.config import model_settings, validate
from datagradient.errors import UserError
from datagradient.layout import solver_for

DEFAULTS = REPOSITORY / "config/defaults.yaml"


def merged(tmp_path, text):
    """What Snakemake makes of defaults.yaml and a preset file: later keys win, mappings are merged."""
    preset = tmp_path / "mine.yaml"
    preset.write_text(text)
    config = yaml.safe_load(DEFAULTS.read_text())

    def update(base, new):
        for key, value in new.items():
            if isinstance(value, dict) and isinstance(base.get(key), dict):
                update(base[key], value)
            else:
                base[key] = value

    update(config, yaml.safe_load(text))
    return config, [DEFAULTS, preset]


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
        ("one_job: some", "mine.yaml: one_job: 'some' is not one of all, policies, seeds, none"),
        ("model_settings: {neural: {solver: {name: ekfac}}}", "neural.solver.parameters: for images: last, and ekfac"),
        ("model_settings: {neural: {solver: {text: {parameters: last}}}}", "mine.yaml: model_settings.neural.solver"),
        ("model_settings: {neural: {solver: {name: lissa}}}", "text.tolerance: for texts: lissa needs a tolerance"),
        ("model_settings: {boosted: {solver: {preconditioner: ekfac}}}", "for tables: ekfac is for networks"),
        ("iterations: three", "mine.yaml: iterations: 'three' is not a whole number of at least 1"),
        ("iterations: true", "mine.yaml: iterations: True is not a whole number"),
        ("datasets: {mnist: }", "mine.yaml: datasets.mnist: unknown; legal: adult, affairs, cifar10"),
        ("datasets: {adult: {max_test: 3}}", "mine.yaml: datasets.adult.max_test: 3 is not a whole number of at"),
        ("datasets: {adult: {models: {logistic: {C: 1}}}}", "mine.yaml: datasets.adult.models.logistic.C: unknown"),
        ("datasets: {adult: {models: {logistic: {l2: [1]}}}}", r"l2: \[1\] is not one value for each noise rate of"),
        ("datasets: {adult: {models: {logistic: {l2: -1}}}}", "logistic.l2: -1 is not a number above 0, or one for"),
        ("model_settings: {forest: {}}", "mine.yaml: model_settings.forest: unknown; legal: boosted, logistic"),
        ("datasets: {digits: }\nmodels: [forest]", "mine.yaml: models.0: 'forest' is not one of boosted, logistic"),
        ("model_settings: {logistic: {solver: {name: lu}}}", "logistic.solver.name: 'lu' is not one of cg, explicit"),
        ("model_settings: {logistic: {solver: {damping: -1}}}", "model_settings.logistic.solver.damping: -1 is not a"),
        ("model_settings: {neural: {settings: {network: vgg}}}", "network: 'vgg' is not one of small, resnet18"),
        ("policies: [influence, worst]", "mine.yaml: policies.1: 'worst' is not one of influence, random"),
        ("policies: [random]", "mine.yaml: policies: the others copy the numbers of influence; add it"),
        ("split: {test: 0.9}", "mine.yaml: split: the shares .* leave nothing to train on"),
        ("shards: 4", "mine.yaml: shards: 4 are for one_job: none, and one_job is policies"),
        ("shards: 0", "mine.yaml: shards: 0 is not a whole number of at least 1"),
        ("gpu: 2", "mine.yaml: gpu: 2 is not 0 or 1"),
        ("sensitivity: {fractions: [0.1]}", "mine.yaml: sensitivity: needs the models of fidelity"),
        ("fidelity: {halves: 3}", "mine.yaml: fidelity.single: missing"),
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
    text = "model_settings: {neural: {solver: {damping: 0.5, table: {name: lissa}, text: }}}"
    solver = validate(*merged(tmp_path, NEURAL + text))["model_settings"]["neural"]["solver"]
    assert solver["image"] == solver["text"] == solver_for(solver, "text")
    assert (solver["image"]["damping"], solver["image"]["parameters"]) == (0.5, "last")
    table = solver["table"]
    assert (table["name"], table["parameters"], table["samples"]) == ("lissa", "all", 1000)
    assert "preconditioner" not in table
    with pytest.raises(UserError, match=r"solver.text.damping: -1 is not a number of at least 0"):
        validate(*merged(tmp_path, NEURAL + "model_settings: {neural: {solver: {text: {damping: -1}}}}"))


def test_jobs_whose_commands_the_shell_would_refuse_are_refused_by_name(tmp_path):
    text = f"one_job: all\nseeds: {list(range(20))}\n"
    with pytest.raises(UserError, match=r"one_job: all makes jobs of 480 models, .* one of policies, seeds, none$"):
        validate(*merged(tmp_path, GOOD + text))
    assert validate(*merged(tmp_path, GOOD + text.replace("all", "policies")))
