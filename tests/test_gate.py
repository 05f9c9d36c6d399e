"""What may run: targets, words of hydra.*, secrets, ranges, losses and monitors, before anything named is imported."""

import json
import subprocess
import sys
from functools import cache

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from dlcourse.config.compose import Composed, compose
from dlcourse.config.gate import (
    check_classes,
    check_overrides,
    check_targets,
    shipped,
    targets,
)
from dlcourse.config.groups import CONF, groups
from dlcourse.config.overrides import Overrides
from dlcourse.config.ranges import LIMITS
from dlcourse.config.rules import check_rules
from dlcourse.config.store import stored
from dlcourse.errors import CONFIG, Refused
from tests.composing import checked, checked_multirun, loaded, resumed, unchecked

DANGEROUS = [
    "os.system",
    "subprocess.Popen",
    "builtins.eval",
    "builtins.exec",
    "eval",
    "functools.partial",
    "importlib.import_module",
    "runpy.run_path",
    "pathlib.Path.unlink",
    "shutil.rmtree",
    "pickle.load",
    "asyncio.create_subprocess_shell",
    "joblib.load",
    "numpy.load",
    "sympy.sympify",
    "setuptools._distutils.spawn.spawn",
    "distutils.spawn.spawn",
    "hydra.utils.get_method",
    "hydra.utils.instantiate",
    "hydra._internal.utils.run_and_report",
    "omegaconf.OmegaConf.load",
    "antigravity.geohash",  # any import with a side effect
    "torch.load",
    "torch.hub.load",
    "torch.utils.cpp_extension.load",
    "torch.jit.load",
    "torch.compile",
    "torch.ops.load_library",
    # through an allowed package
    "torch.optim.optimizer.torch.load",
    "torch.nn.modules.module.torch.load",
    "torch.nn.functional.relu",
    "torch.optim.lr_scheduler.types.FunctionType",
    "torchmetrics.os.system",
    "lightning.pytorch.loggers.csv_logs.os.makedirs",
    "lightning.pytorch.Trainer.fit",
    "lightning.pytorch.utilities.parsing.pickle.load",
    "lightning.pytorch.core.saving.yaml.unsafe_load",
    # names that are none
    "torch.nn..ReLU",
    "torch.nn.",
    ".os.system",
    "torch.nn.Re LU",
    "torch.nn.__dict__",
    "torch.nn._reduction",
    "dlcourse.__loader__.load_module",
    "dlcourse",
    "dlcourseevil.models.mlp.MLP",
    "torch.nnevil.ReLU",
    "",
]
PLACES = [
    "model._target_=T",
    "++activation._target_=T",
    "model.activation=[relu,{_target_:T}]",
    "loss._target_=T",
    "optimizer._target_=T",
    "scheduler._target_=T",
    "init._target_=T",
    "trainer._target_=T",
    "data._target_=T",
    "data.augment={_target_:T,pixels:2}",
    "callbacks.progress._target_=T",
    "logger.wandb._target_=T",
    "+callbacks.x._target_=T",
    "+callbacks.x={_target_:T}",
    "+logger.x._target_=T",
    "+data.facts._target_=T",
    "+data.facts={_target_:T,command:id}",
    "+trainer.plugins=[{_target_:T}]",
    "+trainer.profiler._target_=T",
    "+model.loss={a:[[{b:{_target_:T}}]]}",
    "tags=[{_target_:T}]",
    "paths.data_dir={_target_:T}",
    "tags=[T] model._target_=${tags.0}",
]


def refusal(function, *args) -> str:
    with pytest.raises(Refused) as caught:
        function(*args)
    assert caught.value.code == CONFIG
    message = str(caught.value)
    assert 1 <= len(message.splitlines()) <= 3
    return message


@cache
def composed(words: str) -> Composed:
    return unchecked(words.split())


# Targets


@pytest.mark.parametrize("target", DANGEROUS)
def test_a_dangerous_target_is_refused(target):
    assert target in refusal(check_targets, {"model": {"layers": [{"_target_": target}]}}, [])


@pytest.mark.parametrize("place", PLACES)
def test_it_is_refused_wherever_it_stands(place):
    for target in ("os.system", "lightning.pytorch.loggers.csv_logs.os.makedirs"):
        assert target in refusal(checked, place.replace("T", target).split())


MAKER = "oc.create:{_target_:shutil.copyfile,src:a,dst:b}"


@pytest.mark.parametrize(
    "word",
    [
        f'compile="\\${{{MAKER}}}"',
        f'+callbacks.x={{_target_:lightning.pytorch.callbacks.ModelSummary,max_depth:"\\${{{MAKER}}}"}}',
        "tags=['\\${model.loss}']",
        f"hydra.launcher.workers='${{{MAKER}}}'",
        f"hydra.sweeper.sampler='${{{MAKER}}}'",
        f"compile='${{{MAKER}}}'",
        """compile='${oc.decode:"{_target_:shutil.copyfile}"}'""",
    ],
)
def test_no_text_becomes_a_node_after_it_was_judged(word):
    assert "${" in word
    refusal(checked, [word])


def test_nor_in_somebody_elses_run_directory(tmp_path):

    made = composed("logger=none")
    cfg = OmegaConf.create(stored(made))
    cfg.model.compile = "\\${oc.create:{_target_:shutil.copyfile,src:a,dst:b}}"
    OmegaConf.save(cfg, tmp_path / "config.yaml")
    assert "escaped interpolation" in refusal(loaded, str(tmp_path))


@pytest.mark.parametrize(
    "target",
    [
        "dlcourse.runs.loggers.MetricsFile",
        "dlcourse.runs.directory.RunDirectory",
        "dlcourse.config.gate.import_module",
        "dlcourse.runs.directory.subprocess.Popen",
    ],
)
def test_what_writes_where_it_is_told_to_is_no_target(target):
    assert target in refusal(checked, [f"+logger.x._target_={target}"])


@pytest.mark.parametrize("value", ["3", "null", "[os.system]", "{a:os.system}", "true"])
def test_a_target_is_a_name(value):
    refusal(checked, [f"model._target_={value}"])


def test_a_target_put_together_from_parts_is_judged_as_a_whole():
    assert "os.system" in refusal(checked, ["tags=[os,system]", "model._target_='${tags.0}.${tags.1}'"])


def test_facts_come_from_the_shipped_readers_only(tmp_path, monkeypatch):
    """A reader is called before torch is imported, so it cannot be judged by what it is, only by its name."""
    (tmp_path / "sideeffect.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    for target in (
        "dlcourse.config.gate.import_module",
        "dlcourse.runs.directory.subprocess",
        "dlcourse.config.groups.groups",
    ):
        refusal(checked, [f"+data.facts={{_target_:{target},name:sideeffect}}"])
    assert not (tmp_path / "ran").exists()


def test_nothing_that_is_named_is_imported_before_it_is_refused():
    """In a process of its own: all of them, everywhere; no new module, and no torch."""
    program = f"""
import json, sys
from dlcourse.errors import Refused
from dlcourse.config.gate import check_targets
from tests.composing import checked
def refused(function, *args):
    try:
        function(*args)
    except Refused:
        return True
assert refused(checked, ["model._target_=os.system"])
before = set(sys.modules)
joblib, torch = "joblib.load", "torch.optim.optimizer.torch.load"
admitted = [t for t in {DANGEROUS!r} if not refused(check_targets, {{"_target_": t}}, [])]
admitted += [p for p in {PLACES!r} if not refused(checked, p.replace("T", joblib).split())]
admitted += [p for p in {PLACES[:8]!r} if not refused(checked, p.replace("T", torch).split())]
print(json.dumps([admitted, sorted(set(sys.modules) - before), [m for m in ("torch", "lightning", "joblib", "sympy",
    "numpy", "setuptools", "antigravity", "wandb", "sklearn") if m in sys.modules]]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[], [], []]


@pytest.mark.parametrize(
    "words",
    [
        "activation._target_=torch.nn.Mish",
        "model.activation=[{_target_:torch.nn.Mish,_partial_:true}]",
        "optimizer=adadelta optimizer._target_=torch.optim.NAdam ~optimizer.rho",
        "+callbacks.x._target_=lightning.pytorch.callbacks.LearningRateMonitor",
        "+callbacks.x={_target_:lightning.pytorch.callbacks.Timer,duration:'00:00:01:00'}",
        "+logger.x={_target_:lightning.pytorch.loggers.CSVLogger,save_dir:x}",
        "scheduler._target_=torch.optim.lr_scheduler.LinearLR ~scheduler.factor",
        "model._target_=dlcourse.models.cnn.CNN",
        "callbacks=early_stopping +callbacks.early_stopping.strict=false",
        "+trainer.benchmark=true",
    ],
)
def test_what_is_allowed_is_admitted(words):
    check_classes(checked(words.split()).tree, [])


@pytest.mark.parametrize(
    "choice", [f"{g}={c}" for g, cs in groups().items() for c in cs if g not in ("sweep", "augment")]
)
def test_every_shipped_choice_passes(choice):
    tree = compose(Overrides.parse([choice])).resolved().tree
    check_targets(tree, [])
    assert {node["_target_"] for _, node in targets(tree)} <= shipped()


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("torch.nn.functional", "is not a class of torch.nn"),  # a module
        ("torch.nn.factory_kwargs", "is not a class of torch.nn"),  # a function
        ("torch.optim.lr_scheduler.partial", "is not a class of torch.optim.lr_scheduler"),  # a re-export
        ("torch.optim.lr_scheduler.Counter", "is not a class of torch.optim.lr_scheduler"),
        ("torch.nn.ReLLU", "there is no such class"),
        ("dlcourse.measures.landscape.write_json", "is not a class of dlcourse"),
        ("dlcourse.measures.gradcheck.gradient_check", "is not a class of dlcourse"),
        ("dlcourse.callbacks.boundary.Path", "is not a class of dlcourse"),
        ("dlcourse.callbacks.boundary.os.system", "there is no such class"),
        ("dlcourse.nothing.MLP", "there is no such class"),
    ],
)
def test_after_import_a_target_must_be_a_class_of_its_package(target, said):
    tree = {"model": {"_target_": target}}
    check_targets(tree, [])  # its name alone does not tell
    assert said in refusal(check_classes, tree, [])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["+model.foo=1"], "model has no argument foo"),
        (["+model.widths=[3]"], "hidden"),
        (["++optimizer.lrr=1"], "did you mean lr?"),
        (["+data.batchsize=3"], "did you mean batch_size?"),
        (["+trainer.max_epoch=3"], "did you mean max_epochs?"),
        (["activation._target_=torch.nn.Mish", "+activation.foo=1"], "activation has no argument foo"),
        (["+callbacks.x={_target_:lightning.pytorch.callbacks.Timer,durration:1}"], "did you mean duration?"),
    ],
)
def test_an_argument_that_a_constructor_does_not_have_is_refused(words, said):
    assert said in refusal(lambda: check_classes(checked(words).tree, []))


# allow=


def test_a_person_allows_a_package(monkeypatch, tmp_path):
    (tmp_path / "mynets.py").write_text("import os\nfrom pathlib import Path\nclass Net: pass\ndef make(): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    refusal(checked, ["++model._target_=mynets.Net"])
    for allow in ("allow=[mynets]", "allow=mynets", "allow=[other,mynets]", "+allow=[mynets]", "++allow=[mynets]"):
        assert "mynets" in Overrides.parse([allow]).packages
    assert checked(["allow=[mynets]", "++model._target_=mynets.Net"]).cfg.model._target_ == "mynets.Net"
    monkeypatch.setenv("DLCOURSE_ALLOW", "other, mynets")
    checked(["++model._target_=mynets.Net"])
    check_classes({"_target_": "mynets.Net"}, ["mynets"])
    for name in ("make", "Path", "os", "os.system", "os.path.join"):  # the same rule inside it
        refusal(check_classes, {"_target_": f"mynets.{name}"}, ["mynets"])
    refusal(check_targets, {"_target_": "mynetsevil.Net"}, ["mynets"])
    refusal(check_targets, {"_target_": "mynets._private.Net"}, ["mynets"])


def test_nothing_but_the_person_allows(tmp_path):
    """Neither a configuration nor a run directory; a run directory passes the same gate as words."""

    made = composed("logger=none")
    cfg = OmegaConf.create(stored(made))
    OmegaConf.save(cfg, tmp_path / "config.yaml")
    assert loaded(tmp_path).choices["model"] == "mlp"
    cfg.allow = ["evil"]
    cfg.model._target_ = "evil.Net"
    OmegaConf.save(cfg, tmp_path / "config.yaml")
    assert "evil.Net" in refusal(loaded, tmp_path)
    loaded(tmp_path, "evil")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model._target_", "os.system"),
        ("callbacks.x", {"_target_": "shutil.rmtree", "path": "/nowhere"}),
        ("logger.x", {"_target_": "joblib.load"}),
        ("optimizer.lr", "${oc.env:WANDB_API_KEY}"),
        ("optimizer.lr", float("nan")),
        ("loss.target_forms", ["values"]),
    ],
)
def test_a_run_directory_of_somebody_else_passes_the_same_gate(tmp_path, monkeypatch, key, value):

    monkeypatch.setattr(sys, "argv", ["evaluate.py"])
    monkeypatch.setenv("WANDB_API_KEY", "hunter2")
    made = composed("logger=none")
    cfg = OmegaConf.create(stored(made))
    OmegaConf.update(cfg, key, value, force_add=True)
    OmegaConf.save(cfg, tmp_path / "config.yaml")
    assert "hunter2" not in refusal(loaded, tmp_path)


def test_what_a_resume_changes_passes_the_gate(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    made = composed("logger=none")
    OmegaConf.save(stored(made), tmp_path / "config.yaml")
    (tmp_path / "overrides.yaml").write_text("[]")
    changed = "resume_changed=[optimizer.lr,model.norm]"
    found = resumed([f"resume={tmp_path}", changed, "optimizer.lr=0.5"])
    assert found[0].cfg.model.optimizer.lr == 0.5 and found[1] == tmp_path
    evil = "model.norm={_target_:subprocess.Popen,args:id}"
    for words in ([changed, evil], [changed, "optimizer.lr=-1"], ["optimizer.lr=0.5"], ["model=cnn"], ["nothing=1"]):
        refusal(resumed, [f"resume={tmp_path}", *words])


def test_a_longer_resume_builds_nothing_that_is_not_judged(tmp_path, monkeypatch):
    """A longer run asks the scheduler of a run directory whether it may be: after it is seen to be a class."""
    (tmp_path / "sideeffects.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    made = composed("logger=none")
    cfg = OmegaConf.create(stored(made))
    cfg.scheduler = {"_target_": "dlcourse.config.gate.import_module", "name": "sideeffects"}
    OmegaConf.save(cfg, tmp_path / "config.yaml")
    (tmp_path / "overrides.yaml").write_text("[]")
    refusal(resumed, [f"resume={tmp_path}", "trainer.max_epochs=99"])
    assert not (tmp_path / "ran").exists()


# hydra.*


@pytest.mark.parametrize(
    "word",
    [
        "hydra.callbacks={}",
        "+hydra.callbacks.x._target_=os.system",
        "++hydra.callbacks={x:{_target_:os.system}}",
        "hydra/callbacks=x",
        "+callbacks@hydra.callbacks=default",
        "+model@hydra.callbacks.x=mlp",
        "hydra/job_logging=default",
        "hydra/hydra_logging=default",
        "hydra.job_logging.version=1",
        "+hydra.job_logging.handlers.x.class=antigravity.X",
        "+hydra.job_logging={handlers:{x:{'()':os.system}}}",
        "+hydra.hydra_logging={handlers:{x:{class:antigravity.X}}}",
        "hydra.job.env_set={A:b}",
        "+hydra.job.env_set.LD_PRELOAD=x.so",
        "hydra.job.env_copy=[A]",
        "hydra.job.chdir=true",
        "hydra.searchpath=[file:///tmp]",
        "hydra=null",
        "~hydra",
        "~hydra.callbacks",
        "hydra.help.template=x",
        "hydra.runtime.cwd=/",
        "hydra.overrides.task=[]",
        "+hydra.x=1",
        "hydra.launcher._target_=os.system",
        "hydra.sweeper._target_=os.system",
        "+hydra.sweeper.x._target_=os.system",
        "+hydra.sweeper.x={_target_:os.system,command:id}",
        "+hydra.sweeper.x=[{_target_:os.system}]",
        "+hydra.launcher.x={_target_:os.system}",
        "+hydra.launcher.setup=[reboot]",
        "+hydra.launcher.a.runtime_env={}",
        "hydra.sweep={dir:x}",
        "hydra.run={dir:x}",
    ],
)
def test_words_of_hydra_that_could_run_or_write_something_are_refused(word):
    refusal(checked, [word])
    refusal(checked_multirun, [word, "seed=1,2"])


@pytest.mark.parametrize(
    "word",
    [
        "hydra.run.dir=x",
        "hydra.sweep.dir=x",
        "hydra.sweep.subdir=x",
        "hydra.job.name=x",
        "hydra.output_subdir=null",
        "hydra.mode=RUN",
        "hydra.verbose=false",
        "hydra/launcher=vectorized",
        "hydra/sweeper=trials",
        "hydra.sweeper.sampler=null",
    ],
)
def test_words_of_hydra_that_people_and_lightning_need(word):
    assert "hydra" not in checked([word]).cfg


def test_shell_fragments_of_launchers_need_a_word_of_their_own():
    refusal(check_overrides, Overrides.parse(["hydra.launcher.setup=[reboot]"]))
    check_overrides(Overrides.parse(["hydra.launcher.setup=[reboot]", "allow=[launcher]"]))


# Secrets


@pytest.mark.parametrize(
    "name", ["WANDB_API_KEY", "HF_TOKEN", "my_token", "AWS_SECRET_ACCESS_KEY", "DbPasswd", "PASSWORD"]
)
def test_a_secret_never_reaches_a_configuration(monkeypatch, name):
    monkeypatch.setenv(name, "hunter2")
    reference = f"${{oc.env:{name}}}"
    for word in (
        f"+data.x='{reference}'",
        f"run_dir='a/{reference}'",
        f"model.hidden='{reference}'",
        f"tags=['{reference}']",
    ):
        message = refusal(checked, [word])
        assert name in message and "hunter2" not in message


@pytest.mark.parametrize(
    "words",
    [
        ["tags=[WANDB_API,KEY]", "model.dropout='${oc.env:${tags.0}_${tags.1}}'"],
        ["data.name='${oc.env:NOTHING,${oc.env:WANDB_API_KEY}}'"],
        ["data.name='${oc.env:WANDB_API_KEY,fallback}'"],
        ["data.name='${oc.decode:${oc.env:WANDB_API_KEY}}'"],
        ["model.activation='${oc.env:WANDB_API_KEY}'"],
        ["data.augment='${oc.env:WANDB_API_KEY}'"],
        ["data=csv", "data.path='${oc.env:WANDB_API_KEY}'"],
        ["monitor='${oc.env:WANDB_API_KEY}'"],
    ],
    ids=str,
)
def test_nor_by_a_detour(monkeypatch, words):
    monkeypatch.setenv("WANDB_API_KEY", "hunter2")
    assert "hunter2" not in refusal(checked, words)


def test_what_is_no_secret_may_be_read(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert checked(["tags=['${oc.env:SLURM_JOB_ID}']"]).tree["tags"] == ["17"]
    assert "SLURM_NOTHING" in refusal(checked, ["tags=['${oc.env:SLURM_NOTHING}']"])
    assert checked(["tags=['${oc.env:SLURM_NOTHING,none}']"]).tree["tags"] == ["none"]


def test_the_password_of_an_address_is_not_written_down():
    message = refusal(checked, ["sweep.storage=postgresql://ada:hunter2@host/db"])
    assert "sweep.storage" in message and "hunter2" not in message
    assert checked(["sweep.storage=postgresql://ada@host/db"]).cfg.sweep.storage == "postgresql://ada@host/db"


def test_a_package_of_ours_that_is_no_part_of_a_model_must_be_allowed():
    words = ["+callbacks.clock._target_=scripts.benchmarks.clock.Clock"]
    assert "may not run" in refusal(checked, words)
    checked([*words, "allow=[scripts.benchmarks]"])


@pytest.mark.parametrize("value", ["0", "-1", "null", "abc", "[1]", "nan"])
def test_what_no_input_is_divided_by(value):
    assert "data.standardise" in refusal(checked, [f"data.standardise={value}"])
    assert checked(["data.standardise=256"]).cfg.data.standardise == 256


@pytest.mark.parametrize(
    "word",
    [
        'hydra.launcher.comment="a\ntouch canary #"',
        'hydra.launcher.partition="a\ntouch canary #"',
        'hydra.job.name="a\ntouch canary"',
        'hydra.sweep.dir="a\ntouch canary"',
        "hydra.launcher.address=ray://elsewhere:10001",
    ],
)
def test_no_line_of_a_jobs_script(word):
    with pytest.raises(Refused, match="one line|may not be set"):
        check_overrides(Overrides.parse(["hydra/launcher=submitit_slurm", word]))


# Numbers

NO_NUMBER = [True, False, "abc", "", float("nan"), float("inf"), -float("inf"), {"a": 1}]
RATE = ([1e-9, 1, 1e30], [0, -1, None, [0.1], []])
SHARES = ([0, 0.5, 0.999], [1, 1.5, -0.1, None, [0.5]])
WHOLE = ([1, 3, 1000], [0, -1, 1.5, None])
SEED = ([0, 1, 2**32 - 1], [-1, 0.5, 2**32, None, [1]])
WIDTHS = ([[8], [8, 16], [1]], [[0], [8, -1], [8, 1.5], [True], ["abc"], [[8]], [None], None])
BATCHES = ([0.1, 1.0, 2, 100], [0, -1, None, [1]])
TABLE = {  # key: the words it needs, good values, bad values
    "seed": ("", *SEED),
    "data.batch_size": ("", [1, 64, "full"], [0, -1, 1.5, "all", None, [8]]),
    "data.num_workers": ("", [0, 2], [-1, 65, 0.5, None]),
    "data.split_seed": ("", [*SEED[0], None], [bad for bad in SEED[1] if bad is not None]),
    "data.val_fraction": ("", [0.1, 0.9], [0, 1, -0.1, 2, None]),
    "model.hidden": ("", *WIDTHS),
    "model.code": ("model=autoencoder", *WHOLE),
    "model.channels": ("model=cnn", *WIDTHS),
    "model.kernel": ("model=cnn", *WHOLE),
    "model.stride": ("model=cnn", *WHOLE),
    "model.padding": ("model=cnn", [0, 2, None], [-1, 0.5, [1]]),
    "model.pool": ("model=cnn", *WHOLE),
    "model.dropout": ("", *SHARES),
    "optimizer.lr": ("", *RATE),
    "optimizer.adamw_lr": ("optimizer=muon", *RATE),
    "optimizer.momentum": ("optimizer=momentum", *SHARES),
    "optimizer.weight_decay": ("", [0, 0.1], [-0.1, None, [0.1]]),
    "optimizer.eps": ("", *RATE),
    "optimizer.betas": (
        "",
        [[0.9, 0.999], [0, 0.5]],
        [[0.9, 1], [-0.1, 0.9], [None, 0.9], ["abc", 0.9], None, 0.9, [0.9], [0.9, 0.9, 0.9]],
    ),
    "optimizer.rho": ("optimizer=adadelta", *SHARES),
    "optimizer.alpha": ("optimizer=rmsprop", *SHARES),
    "loss.label_smoothing": ("", *SHARES),
    "loss.delta": ("data=sine loss=huber", *RATE),
    "loss.class_weights": ("", [None, [1, 2.5], [0, 1]], [[-1], [True], ["abc"], [float("nan")]]),
    "sweep.workers": ("", *WHOLE),
    "sweep.n_trials": ("", *WHOLE),
    "trainer.max_epochs": ("", [1, 30, -1, None], [0, -2, 1.5, [1]]),
    "trainer.max_steps": ("", [1, -1], [0, -2, 1.5, None]),
    "trainer.num_nodes": ("", *WHOLE),
    "trainer.accumulate_grad_batches": ("", *WHOLE),
    "trainer.gradient_clip_val": ("", [0.5, None], [0, -1, [1]]),
    "trainer.limit_train_batches": ("", *BATCHES),
    "trainer.limit_val_batches": ("", *BATCHES),
    "trainer.limit_test_batches": ("", *BATCHES),
    "trainer.val_check_interval": ("", [0.5, 1.0, 10], [0, -1, [1]]),
    "trainer.check_val_every_n_epoch": ("", *WHOLE[:1], [0, -1, 1.5]),
    "trainer.log_every_n_steps": ("", *WHOLE[:1], [0, -1, 1.5]),
}
ANY = ([-1, 0, 0.5, 3], [None, [1]])
FROM_ZERO = ([0, 0.5, 1e9], [-0.1, None, [1]])
NATURAL = ([0, 1, 7], [-1, 0.5, None, [1]])
UNIT = ([0, 0.5, 1], [-0.1, 1.1, None, [0.5]])
TABLE |= {
    "data.n_samples": ("data=moons", [2, 1000], [1, 0, -1, 2.5, None]),
    "data.noise": ("data=moons", *FROM_ZERO),
    "data.std": ("data=blobs", *RATE),
    "data.turns": ("data=spirals", *RATE),
    "data.size": ("data=image_folder data.y=classes", *WHOLE),
    "data.features": ("data=iris", *WHOLE),
    "data.augment.pixels": ("data.augment=shift", *NATURAL),
    "data.augment.padding": ("data.augment=flip_crop", *NATURAL),
    "data.augment.degrees": ("data.augment=affine", [0, 10, 180], [-1, 181, None]),
    "data.augment.translate": ("data.augment=affine", *UNIT),
    "data.augment.scale": ("data.augment=affine", *SHARES),
    "activation.negative_slope": ("activation=leaky_relu", *ANY),
    "activation.alpha": ("activation=elu", *ANY),
    "activation.init": ("activation=prelu", *ANY),
    "activation.num_parameters": ("activation=prelu", *WHOLE),
    "init.std": ("init=gaussian", *RATE),
    "init.gain": ("init=xavier", *RATE),
    "init.a": ("init=he", *ANY),
    "data.factor": ("data=circles", [0, 0.5], [1, -0.1, None]),
    "optimizer.dampening": ("optimizer=sgd", *UNIT),
    "optimizer.lr_decay": ("optimizer=adagrad", *FROM_ZERO),
    "optimizer.initial_accumulator_value": ("optimizer=adagrad", *FROM_ZERO),
    "optimizer.ns_steps": ("optimizer=muon", *WHOLE),
    "optimizer.max_iter": ("optimizer=lbfgs", *WHOLE),
    "optimizer.history_size": ("optimizer=lbfgs", *WHOLE),
    "optimizer.tolerance_grad": ("optimizer=lbfgs", *FROM_ZERO),
    "optimizer.tolerance_change": ("optimizer=lbfgs", *FROM_ZERO),
    "scheduler.step_size": ("scheduler=step", *WHOLE),
    "scheduler.gamma": ("scheduler=step", *RATE),
    "scheduler.factor": ("scheduler=plateau", [0.1, 1], [0, 1.5, None]),
    "scheduler.total_iters": ("scheduler=constant", *NATURAL),
    "scheduler.patience": ("scheduler=plateau", *NATURAL),
    "scheduler.cooldown": ("scheduler=plateau", *NATURAL),
    "scheduler.threshold": ("scheduler=plateau", *FROM_ZERO),
    "scheduler.min_lr": ("scheduler=plateau", *FROM_ZERO),
    "scheduler.warmup": ("scheduler=one_cycle", *UNIT),
    "scheduler.start": ("scheduler=one_cycle", *UNIT),
    "scheduler.final": ("scheduler=one_cycle", *UNIT),
    "callbacks.progress.seconds": ("", *FROM_ZERO),
    "callbacks.diagnostics.rows": ("callbacks=diagnostics", *WHOLE),
    "callbacks.boundary.grid": ("callbacks=pictures", [2, 60], [1, 1001, 2.5, None]),
    "callbacks.landscape.points": ("callbacks=pictures", [3, 25], [2, 1001, 3.5, None]),
    "callbacks.landscape.reach": ("callbacks=pictures", *RATE),
    "callbacks.landscape.rows": ("callbacks=pictures", *WHOLE),
    "callbacks.summary.max_depth": ("", [-1, 0, 2], [-2, 0.5, None]),
    "callbacks.early_stopping.patience": ("callbacks=early_stopping", *WHOLE),
    "callbacks.early_stopping.min_delta": ("callbacks=early_stopping", *FROM_ZERO),
}
#: Numbers of conf/ that are facts of the data, a place in a shape, or said in words elsewhere.
NO_CHOICE = {
    *("data.white", "task.outputs", "task.class_count"),
    "data.outputs",
    "data.b",
    "activation.dim",
    "data.channels",
    "optimizer_batch",
    "trainer.devices",
}
NO_CHOICE |= {"trainer.num_sanity_val_steps", "data.standardise"}
NEEDS = {**{key: words for key, (words, *_) in TABLE.items()}, "checkpoint.every": ""}


def admitted(key: str, values: list) -> list:
    """Those of the values that the gate takes for the key; a refusal names it."""
    words, cfg = composed(NEEDS[key]), composed(NEEDS[key]).cfg.copy()
    taken = []
    for value in values:
        OmegaConf.update(cfg, key, value, merge=False)
        try:
            check_rules(cfg, words.choices)
            taken.append(value)
        except Refused as refused:
            assert str(refused).startswith(key) and refused.code == CONFIG
    return taken


def test_the_table_of_ranges_is_whole():
    assert set(TABLE) == set(LIMITS)
    for key, (words, *_) in TABLE.items():
        assert OmegaConf.select(composed(words).cfg, key, default=TABLE) is not TABLE, f"{key} is no key"


def test_every_number_of_conf_has_its_range():
    """Found on the disk: a new YAML whose number has no row fails here."""

    def numbers(tree, path):
        if isinstance(tree, dict):
            for key, value in tree.items():
                yield from numbers(value, f"{path}.{key}" if path else key)
        elif isinstance(tree, int | float) and not isinstance(tree, bool):
            yield path

    found = set()
    for path in [*CONF.rglob("*/*.yaml"), CONF / "gate.yaml", CONF / "nielsen.yaml"]:
        group, text = path.parent.relative_to(CONF).as_posix(), path.read_text()
        if "@package hydra." in text or group.startswith("hydra/"):  # theirs: they refuse what they cannot use
            continue
        tree = OmegaConf.to_container(OmegaConf.load(path), resolve=False) or {}
        home = {"augment": "data.augment"}.get(group, group)
        found |= set(numbers(tree, "" if "@package _global_" in text else home))
    assert found - NO_CHOICE - set(LIMITS) == set()


@pytest.mark.parametrize("key", TABLE)
def test_good_numbers_are_admitted_and_bad_ones_refused_by_name(key):
    _, good, bad = TABLE[key]
    assert admitted(key, good) == good
    assert admitted(key, [*bad, *NO_NUMBER]) == []


@pytest.mark.parametrize("value", ["-1", "0", "nan", "inf", "true", "abc", "-inf", "null", "1_0a", "[0.1]"])
def test_a_learning_rate_on_the_command_line(value):
    assert "optimizer.lr" in refusal(checked, [f"optimizer.lr={value}"])


def test_learning_rates_that_may_diverge_are_admitted():
    assert checked(["optimizer.lr=1e30"]).cfg.optimizer.lr == 1e30
    assert checked(["optimizer.lr=1e-3"]).cfg.optimizer.lr == 1e-3


def test_when_checkpoints_are_written():
    good = ["30s", "10m", "1.5h", "500steps", None]
    assert admitted("checkpoint.every", good) == good
    bad = ["3", 3, "30", "s", "-3s", "3 s", "1.5steps", "0steps", "0s", "", "1d", True]
    assert admitted("checkpoint.every", bad) == []


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("checkpoint=3", "checkpoint"),
        ("checkpoint=null", "checkpoint"),
        ("trainer.max_epochs=", "trainer.max_epochs"),
        ("data.y=foo", "whose y holds foo"),
        ("loss.target_forms=null", "loss.target_forms"),
        ("loss.target_forms=3", "loss.target_forms"),
        ("+data.facts=3", "data.facts"),
        ("+data.facts={}", "data.facts"),
        ("~data", "data"),
        ("~model", "model"),
        ("model.activation=${nothing}", "nothing"),
        ("model.activation=3", "model.activation"),
        ("model.activation=[relu,3]", "model.activation"),
        ("++foo=1", "foo"),
        ("=1", "=1"),
    ],
)
def test_values_of_a_wrong_kind_are_refused(word, said):
    assert said in refusal(checked, [word])


def test_a_full_batch_optimizer_and_a_number_by_hand():
    assert "optimizer=gd" in refusal(checked, ["optimizer=gd", "data.batch_size=32"])
    assert "optimizer=lbfgs" in refusal(checked, ["optimizer=lbfgs", "data.batch_size=32"])
    assert checked(["optimizer=adam", "data.batch_size=full"]).cfg.data.batch_size == "full"


# Loss and task

SERVES = {
    "mse": {"binary", "classes", "values"},
    "mae": {"binary", "classes", "values"},
    "huber": {"binary", "classes", "values"},
    "perceptron": {"binary", "classes"},
    "hinge": {"binary", "classes"},
    "bce": {"binary", "classes"},
    "cross_entropy": {"classes"},
}
OF_TASK = {
    "binary": ("moons", "bce", "binary"),
    "classes": ("digits", "cross_entropy", "classification"),
    "values": ("sine", "mse", "regression"),
}


def test_every_loss_is_here():
    assert set(SERVES) == set(groups()["loss"])


@pytest.mark.parametrize("loss", SERVES)
@pytest.mark.parametrize("task", OF_TASK)
def test_every_loss_with_every_task(loss, task):
    data, fitting, of = OF_TASK[task]
    if task in SERVES[loss]:
        assert checked([f"data={data}", f"loss={loss}"]).choices["loss"] == loss
    else:
        message = refusal(checked, [f"data={data}", f"loss={loss}"])
        assert all(part in message for part in (f"loss={loss}", f"data={data} ({of})", f"try loss={fitting}"))


def test_what_a_model_chooses_is_judged_too():
    message = refusal(checked, ["data=sine", "model=perceptron"])
    assert "loss=perceptron cannot fit data=sine (regression); try loss=mse, or huber, mae" in message


# Monitors


@pytest.mark.parametrize(
    "words",
    [
        "monitor=test/loss",
        "monitor=test/acc mode=max",
        "monitor=loss",
        "monitor=val/r2 mode=max",
        "monitor=val/mae",
        "data=sine monitor=val/acc mode=max",
        "monitor=val/loss mode=max",
        "monitor=val/acc",
        "monitor=val/acc mode=min",
        "data=sine monitor=val/r2",
        "data=sine monitor=val/mae mode=max",
        "mode=lowest",
        "monitor=val/foo",
        "monitor=val/",
        "monitor=val/loss/x",
        "callbacks=early_stopping callbacks.early_stopping.mode=max",
        "callbacks=early_stopping callbacks.early_stopping.monitor=test/loss",
        "callbacks=early_stopping callbacks.early_stopping.monitor=val/foo",
        "callbacks=early_stopping callbacks.early_stopping.monitor=val/acc",
        "scheduler=plateau scheduler.mode=max",
    ],
)
def test_a_monitor_or_mode_that_cannot_be_meant_is_refused(words):
    refusal(checked, words.split())


@pytest.mark.parametrize(
    "words",
    [
        "monitor=val/acc mode=max",
        "monitor=train/loss",
        "data=sine monitor=val/r2 mode=max",
        "data=sine monitor=val/mae",
        "callbacks=early_stopping monitor=val/acc mode=max",
        "callbacks=early_stopping callbacks.early_stopping.monitor=val/acc callbacks.early_stopping.mode=max",
        "model=perceptron data=and",
        "scheduler=plateau monitor=val/acc mode=max",
    ],
)
def test_monitors_that_may_be_meant(words):
    checked(words.split())


# Multirun


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("model=mlp,ccn", "did you mean cnn?"),
        ("optimizr=adam,sgd", "did you mean optimizer?"),
        ("optimizer.learning_rate=1,2", "optimizer.lr"),
        ("+foo=1,2", "foo"),
        ("model._target_=dlcourse.models.mlp.MLP,os.system", "os.system"),
        ("seed=1,2 run_dir=x", "sweep_dir"),
        ("tags=[a],[{_target_:os.system}]", "os.system"),
    ],
)
def test_a_multirun_is_judged_before_its_first_trial(words, said):
    assert said in refusal(checked_multirun, words.split())


def test_a_multirun_that_is_in_order():
    checked_multirun(["model=mlp,cnn", "seed=range(3)", "optimizer.lr=0.1,0.2"])


# Anything at all

KEYS = sorted(
    {*TABLE, *groups(), "monitor", "mode", "tags", "allow", "checkpoint", "checkpoint.every", "paths.data_dir"}
)
KEYS += [
    "model.activation",
    "data.augment",
    "data.path",
    "data.facts",
    "data.y",
    "loss.target_forms",
    "task.takes",
    "model._target_",
    "a.b",
]
VALUES = [
    "",
    "null",
    "true",
    "-1",
    "0",
    "nan",
    "1e400",
    "abc",
    "[]",
    "{}",
    "[1,a]",
    "{a:1}",
    "a,b",
    "range(3)",
    "'x y'",
]
VALUES += [
    "${seed}",
    "'${nothing}'",
    "'${oc.env:HOME}'",
    "???",
    "{_target_:os.system}",
    "[relu,tanh]",
    "none",
    "os.system",
]
CHOICES = [f"{group}={choice}" for group, choices in groups().items() for choice in choices]
WORD = st.one_of(
    st.sampled_from(CHOICES),
    st.builds(
        "{}{}={}".format, st.sampled_from(["", "", "", "+", "++"]), st.sampled_from(KEYS), st.sampled_from(VALUES)
    ),
    st.builds("~{}".format, st.sampled_from(KEYS)),
    st.builds("{}={}".format, st.sampled_from(KEYS), st.text(max_size=8)),
    st.text(max_size=12),
)


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(WORD, max_size=3))
@example(["+allow=a,b"])
@example(["~checkpoint"])
@example(["~activation"])
@example(["++data.augment='${nothing}'"])
@example(["paths=null"])
@example(["data=csv", "data.path=3"])
@example(["data=csv", "data.path=[1]"])
def test_words_end_in_a_configuration_or_in_a_refusal(words):
    try:
        assert isinstance(checked(words), Composed)
    except Refused as refused:
        assert refused.code == CONFIG and 1 <= len(str(refused).splitlines()) <= 3
