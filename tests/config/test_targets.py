"""What `_target_` may name: default-deny, judged before anything named is imported, and again after."""

import json
import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from dlcourse.config.gate import (
    check_classes,
    check_targets,
)
from dlcourse.config.store import stored
from tests.composing import checked, composed, loaded
from tests.refusing import refusal

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
        (["data=moons", "+data.task=classification"], "data has no argument task"),
        (["+model.metrics=3"], "model has no argument metrics"),
        (["+model.task=3"], "model has no argument task"),
        (["+metrics.x._target_=torch.nn.ReLU"], "torchmetrics.Metric"),
        (["+callbacks.x._target_=torch.nn.ReLU"], "lightning.pytorch.Callback"),
        (["+logger.x._target_=torch.nn.ReLU"], "lightning.pytorch.loggers.Logger"),
    ],
)
def test_an_argument_that_a_constructor_does_not_have_is_refused(words, said):
    assert said in refusal(lambda: check_classes(checked(words).tree, []))
