"""From words to a configuration: who chooses what, what names stand for, and what a run directory keeps."""

import os
import re

import pytest
from omegaconf import OmegaConf

from dlcourse.config import groups as config
from dlcourse.config.compose import compose
from dlcourse.config.groups import CONF, groups
from dlcourse.config.overrides import Overrides, values_of
from dlcourse.config.resolve import resolve
from dlcourse.config.store import stored
from dlcourse.config.suggestions import nearest
from dlcourse.errors import CONFIG, Refused
from dlcourse.runs.files import write_yaml
from tests.composing import checked, checked_multirun, unchecked


def completed(*words):
    return unchecked(list(words))


# Who chooses what


def test_the_defaults():
    composed = compose(Overrides())
    expected = {"data": "digits", "model": "mlp", "loss": "cross_entropy", "activation": "relu", "logger": "wandb"}
    assert expected.items() <= composed.choices.items()
    assert composed.cfg.seed == 0 and (composed.cfg.monitor, composed.cfg.mode) == ("val/loss", "min")
    assert not composed.multirun and "hydra" not in composed.cfg


@pytest.mark.parametrize(
    ("words", "choices", "batch"),
    [
        ("", "loss=cross_entropy optimizer=adam", 32),
        ("model=perceptron", "loss=perceptron optimizer=perceptron_rule init=zeros", 1),
        ("model=sigmoid_neuron", "loss=bce optimizer=adam", 32),
        ("model=lenet5", "activation=tanh", 32),
        ("data=sine", "loss=mse", 32),
        ("data=moons", "loss=bce", 32),
        ("data=mnist", "loss=cross_entropy scheduler=one_cycle", 64),
        ("data=and model=perceptron", "loss=perceptron", 1),  # the model comes after the data
        ("model=perceptron data=and", "loss=perceptron", 1),  # whatever the order of the words
        ("experiment=17_lenet5", "data=mnist model=lenet5 activation=tanh scheduler=one_cycle", 128),
        ("optimizer=gd", "optimizer=gd", "full"),
        ("optimizer=lbfgs", "optimizer=lbfgs", "full"),
        ("data=mnist optimizer=gd", "loss=cross_entropy", "full"),
        # a word on the command line beats all
        ("model=perceptron loss=hinge", "loss=hinge optimizer=perceptron_rule", 1),
        ("optimizer=sgd model=perceptron", "loss=perceptron optimizer=sgd", 32),
        ("data=sine loss=huber", "loss=huber", 32),
        ("model=lenet5 activation=relu", "activation=relu", 32),
        ("data=mnist scheduler=constant", "scheduler=constant", 64),
        ("experiment=17_lenet5 data=digits", "data=digits model=lenet5 loss=cross_entropy", 128),
        ("model=perceptron data.batch_size=7", "optimizer=perceptron_rule", 7),
    ],
)
def test_data_and_model_choose_and_the_command_line_wins(words, choices, batch):
    composed = compose(Overrides.parse(words.split()))
    assert dict(word.split("=") for word in choices.split()).items() <= composed.choices.items()
    assert composed.cfg.data.batch_size == batch


def test_keys_on_the_command_line_win():
    cfg = completed("model=perceptron", "data=sine", "optimizer.lr=0.5", "trainer.max_epochs=7", "monitor=val/loss").cfg
    assert (cfg.optimizer.lr, cfg.trainer.max_epochs, cfg.monitor) == (0.5, 7, "val/loss")
    assert cfg.model.optimizer.lr == 0.5, "the model's optimizer is the optimizer"


def test_the_groups_are_the_folders_of_conf():
    assert {name.split("/")[0] for name in groups()} == {path.name for path in CONF.iterdir() if path.is_dir()}
    assert {"mlp", "cnn", "perceptron"} <= set(groups()["model"])


def test_composing_leaves_hydra_as_it_was():
    from hydra.core.global_hydra import GlobalHydra

    compose(Overrides.parse(["model=cnn"]))
    assert not GlobalHydra.instance().is_initialized()


# What is refused, and how


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("optimizr=adam", "did you mean optimizer?"),
        ("model=ccn", "no model=ccn; did you mean cnn?\nThere are: alexnet, autoencoder, cnn, detector, "),
        ("optimizer.learning_rate=1", "optimizer has no key learning_rate"),
        ("optimizer.learning_rate=1", "optimizer.lr"),
        ("optimizr.lr=1", "did you mean optimizer.lr?"),
        ("epochs=5", "did you mean trainer.max_epochs?"),
        ("hiden=[3]", "did you mean model.hidden?"),
        ("model.hiden=[3]", "did you mean model.hidden?"),
        ("trainer.max_epoch=3", "did you mean trainer.max_epochs?"),
        ("sead=3", "did you mean seed?"),
        ("+foo=1", "+foo: no such key"),
        ("+optimizr.lr=1", "did you mean optimizer?"),
        ("++foo=1", "foo"),
        ("model", "expected key=value"),
        ("activation=[relu,tanh]", "'model.activation=[relu,tanh]'"),
        ("model=[cnn]", "model takes one choice"),
        ("model=null", "no model=None"),
        ("seed=[1,", "seed=[1,"),
        ("model=perceptron model.hidden=[3]", "model has no key hidden"),
    ],
)
def test_a_typo_is_told_with_the_nearest_name_in_three_lines(words, said):
    with pytest.raises(Refused) as refusal:
        compose(Overrides.parse(words.split()))
    assert said in str(refusal.value)
    assert refusal.value.code == CONFIG and len(str(refusal.value).splitlines()) <= 3


@pytest.mark.parametrize("words", [["foo=1"], ["foo=1,2"], ["header=1,2"], ["runtime=x"]], ids=str)
@pytest.mark.parametrize("check", [checked, checked_multirun])
def test_no_name_of_hydras_own_is_suggested(check, words):
    with pytest.raises(Refused) as refusal:
        check(words)
    assert "hydra." not in str(refusal.value)


@pytest.mark.parametrize(("check", "word"), [(checked, "mode=cnn"), (checked_multirun, "mode=cnn,mlp")])
def test_mode_with_a_models_name_is_told_of_model(check, word):
    with pytest.raises(Refused, match="^mode=cnn: expected min or max.*; did you mean model=cnn[?]$") as refusal:
        check([word])
    assert refusal.value.code == CONFIG


@pytest.mark.parametrize("key", ["described=[1]", "classes=[a,b]", "shape=[1]", "outputs=2"])
def test_what_is_read_from_a_persons_file_cannot_be_set(tmp_path, key):
    (tmp_path / "own.csv").write_text("size,weight,kind\n1,2,a\n3,4,b\n5,6,a\n")
    words = ["data=csv", f"data.path={tmp_path / 'own.csv'}", "data.target=kind"]
    with pytest.raises(
        Refused, match=f"^data.{key.split('=')[0]}=.*data=csv reads this from .*leave it out$"
    ) as refusal:
        checked([*words, f"data.{key}"])
    assert refusal.value.code == CONFIG
    composed = checked([*words, "data.task=binary"])
    assert composed.choices["loss"] == "bce" and composed.overrides.texts == [*words, "data.task=binary"]


def test_nearest():
    assert nearest("optimizr", ["optimizer", "model"]) == "; did you mean optimizer?"
    assert nearest("zzz", ["optimizer", "model"]) == ""


def test_values_of_a_sweep():
    one, many, span = Overrides.parse(["model=mlp", "activation=relu,tanh", "seed=range(3)"]).parsed
    assert values_of(one) == ["mlp"]
    assert values_of(many) == ["relu", "tanh"]
    assert values_of(span) == ["0", "1", "2"]
    with pytest.raises(Refused, match="did you mean tanh"):
        Overrides.parse(["activation=relu,tanhh"])


def test_a_word_that_is_no_utf_8():
    with pytest.raises(Refused, match=r"caf\\udce9\.csv.*: not UTF-8"):
        Overrides.parse(["data.path='/caf\udce9.csv'"])


def test_without_conf_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(config, "CONF", tmp_path / "conf")
    with pytest.raises(Refused, match=re.escape(str(tmp_path / "conf"))) as refusal:
        Overrides.parse([])
    assert "pip install -e ." in str(refusal.value)


# What names stand for


def test_a_list_of_activations_is_replaced_by_their_files():
    cfg = completed("model.hidden=[8,8]", "model.activation=[relu,leaky_relu]").cfg
    files = [OmegaConf.load(CONF / "activation" / f"{name}.yaml") for name in ("relu", "leaky_relu")]
    assert list(cfg.model.activation) == files
    assert resolve(cfg)["model"]["activation"][0]["_target_"] == "torch.nn.ReLU"


def test_one_name_is_replaced_too_and_the_default_stays_the_group():
    assert completed("model.activation=tanh").cfg.model.activation._target_ == "torch.nn.Tanh"
    cfg = completed("activation=gelu").cfg
    assert cfg.model.activation._target_ == "torch.nn.GELU"
    assert OmegaConf.to_container(cfg, resolve=False)["model"]["activation"] == "${activation}"


def test_augmentation_is_a_name():
    assert completed("data.augment=shift").cfg.data.augment._target_ == "dlcourse.data.augment.Shift"
    assert completed().cfg.data.augment is None


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("model.activation=[relu,tanhh]", "did you mean tanh"),
        ("model.activation=rellu", "did you mean relu"),
        ("data.augment=shft", "did you mean shift"),
    ],
)
def test_an_unknown_name_is_refused(word, said):
    with pytest.raises(Refused, match=said):
        completed(word)


def test_a_path_is_kept_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert completed("data=csv", "data.path=my.csv").cfg.data.path == str(tmp_path / "my.csv")
    assert completed("data=csv", "data.path='~/my.csv'").cfg.data.path == os.path.expanduser("~/my.csv")


# What a run directory keeps

WORDS = [
    [],
    ["model=perceptron", "data=and"],
    ["data=mnist", "model=cnn", "scheduler=one_cycle", "callbacks=early_stopping", "logger=csv"],
    ["model.hidden=[8,8]", "model.activation=[relu,tanh]", "data.augment=shift", "optimizer=gd", "tags=[a,b]"],
    ["data=sine", "run_dir=somewhere", "allow=[mine]", "logger=tensorboard"],
]


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_a_stored_configuration_comes_back_the_same(words, tmp_path):
    composed = completed(*words)
    write_yaml(tmp_path / "config.yaml", stored(composed))
    kept = OmegaConf.load(tmp_path / "config.yaml")
    assert kept.run_dir is None and kept.allow == [] and dict(kept.choice) == composed.choices
    kept.run_dir, kept.allow = composed.cfg.run_dir, composed.cfg.allow
    del kept["choice"]
    assert resolve(kept) == resolve(composed.cfg)


def test_stored_keeps_whole_groups_and_paths_as_references():
    composed = completed("data=mnist", "model.dropout=0.5", "callbacks=early_stopping")
    raw = stored(composed)
    for name in ("loss", "optimizer", "scheduler", "init", "activation", "monitor"):
        assert raw["model"][name] == f"${{{name}}}"
    assert raw["data"]["seed"] == "${seed}" and raw["data"]["data_dir"] == "${paths.data_dir}"
    assert raw["callbacks"]["early_stopping"]["monitor"] == "${monitor}"
    assert raw["logger"]["wandb"]["run_dir"] == "${run_dir}"
    # the rest stands by itself
    assert raw["data"]["batch_size"] == 64 and raw["model"]["shape"] == [1, 28, 28]
    assert raw["task"]["target_form"] == "class_numbers" and raw["logger"]["wandb"]["project"] == "dlcourse"


def test_a_value_set_in_a_stored_configuration_reaches_whoever_refers_to_it():
    composed = completed()
    kept = OmegaConf.create(stored(composed))
    kept.optimizer.lr, kept.seed = 0.125, 9
    tree = resolve(kept)
    assert tree["model"]["optimizer"]["lr"] == 0.125 and tree["data"]["seed"] == 9


def test_a_run_directory_can_move(monkeypatch):
    monkeypatch.setenv("DLCOURSE_DATA_DIR", "/here")
    composed = completed("data=mnist")
    kept = OmegaConf.create(stored(composed))
    monkeypatch.setenv("DLCOURSE_DATA_DIR", "/there")
    assert resolve(kept)["data"]["data_dir"] == "/there"


def test_nothing_stored_holds_a_secret(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_API_KEY", "hunter2hunter2")
    monkeypatch.setenv("DLCOURSE_DATA_DIR", "/data")
    composed = completed("tags=['${oc.env:HOME}']")
    write_yaml(tmp_path / "config.yaml", stored(composed))
    text = (tmp_path / "config.yaml").read_text("utf-8")
    assert os.environ["HOME"] in text, "an environment variable that is no secret is resolved"
    assert "hunter2" not in text
    for word in ("tags=['${oc.env:WANDB_API_KEY}']", "paths.data_dir='${paths.runs_dir}/${oc.env:WANDB_API_KEY}'"):
        composed = compose(Overrides.parse([word]))
        for refuses in (composed.resolved, lambda: unchecked([word]), lambda: resolve(composed.cfg)):  # noqa: B023
            with pytest.raises(Refused, match="secret") as refusal:
                refuses()
        assert "hunter2" not in str(refusal.value)
