"""No private name of another library outside dlcourse/internals.py; inside, each is still there and does what is meant.

``pytest -m study tests/test_internals.py`` asks the same of the oldest and newest versions that pyproject.toml allows.
"""

import ast
import functools
import importlib
import inspect
import io
import json
import os
import pickle
import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires, version
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import optuna
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.loggers import WandbLogger
from omegaconf import OmegaConf
from torch import nn

from dlcourse import Refused, internals
from dlcourse.runs.callback import Callback
from tests.private_names import OURS, foreign_private_names, is_private

ROOT = Path(__file__).parents[1]
LIBRARIES = ("lightning", "hydra-core", "omegaconf", "wandb", "optuna")


# Nowhere else


def test_private_names_stand_in_internals_only():
    paths = [ROOT / "train.py", *(ROOT / "dlcourse").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")]
    sources = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in paths}
    found = foreign_private_names(sources)
    assert {line for line in found if not line.startswith("dlcourse/internals.py:")} == set()
    assert found  # it does look


def test_no_configuration_names_a_private_class():
    named = re.compile(r"_target_: (\S+)")
    targets = [each for path in (ROOT / "conf").rglob("*.yaml") for each in named.findall(path.read_text("utf-8"))]
    assert targets and not [target for target in targets if any(map(is_private, target.split(".")))]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("trainer._checkpoint_connector.dump_checkpoint()", ["_checkpoint_connector"]),
        ("self.trainer.fit_loop._combined_loader = None", ["_combined_loader"]),
        ("loop._should_accumulate()", ["_should_accumulate"]),
        ("stop, _ = trial.stopping._evaluate_stopping_criteria(x)", ["_evaluate_stopping_criteria"]),
        ("node = cfg._get_node(key)", ["_get_node"]),
        ("Trial(study, trial._trial_id)", ["_trial_id"]),
        ("from hydra._internal.utils import get_args_parser", ["hydra._internal.utils.get_args_parser"]),
        ("from omegaconf._utils import get_omega_conf_dumper", ["omegaconf._utils.get_omega_conf_dumper"]),
        ("from numpy._core.multiarray import scalar", ["numpy._core.multiarray.scalar"]),
        ("from torch.nn.modules.conv import _ConvNd", ["torch.nn.modules.conv._ConvNd"]),
        ("import torch._decomp", ["torch._decomp"]),
        ("import torch._ops as ops", ["torch._ops"]),
        ("isinstance(p, nn.modules.batchnorm._NormBase)", ["_NormBase"]),
        ("torch.ops.aten._unsafe_view.default", ["_unsafe_view"]),
        ("getattr(loop, '_data_fetcher', None)", ["_data_fetcher"]),
        ("hasattr(model, '_current_fx_name')", ["_current_fx_name"]),
        ("class A(Base):\n  def f(self, name):\n    if name == '_current_fx_name': pass", ["_current_fx_name"]),
        ("mock.patch('torch._decomp.get_decompositions')", ["torch._decomp.get_decompositions"]),
        ("class A(WandbLogger):\n  def f(self): del self._wandb_init['x']", ["_wandb_init"]),
        ("class A(WandbLogger):\n  def f(self): return super()._experiment", ["_experiment"]),
        ("class A(Module):\n  def f(self): self._ddp_ignored = []", ["_ddp_ignored"]),
        ("class A(CmaEsSampler):\n  def _restore_optimizer(self, trials): pass", ["_restore_optimizer"]),
        ("class A(Sampler):\n  def f(self): return self._attr_key_optimizer", ["_attr_key_optimizer"]),
        ("class A(Base):\n  _hook = None", ["_hook"]),
        ("class A(hydra._internal.Sweeper): pass", ["_internal"]),
        ("make(_private=1)", ["_private"]),
        ("x.__secret", ["__secret"]),
    ],
)  # fmt: skip
def test_a_private_name_is_found(source, names):
    assert [line.partition(": ")[2] for line in foreign_private_names({"a.py": source})] == names


@pytest.mark.parametrize(
    "source",
    [
        "class A(Base):\n  def _f(self): pass\n  def g(self): self._f()",
        "class A(Base):\n  def __init__(self): self._x = 1\n  def f(self, other): return self._x + other._x",
        "class A:\n  _table = {}\n  def f(self): return self._table\nclass B(A):\n  _table = {**A._table}",
        "class A:\n  def _f(self): pass\n  def g(self): self._f()\nclass B(A):\n  def h(self): getattr(self, '_f')",
        "from dlcourse.config.groups import _root_keys\nimport dlcourse.x\ndlcourse.x._y()",
        "from . import _own\n_own._f()",
        "def _f(): pass\n_f()",
        "limits._replace(listed='may')\nos._exit(1)",
        "node['_target_']\ninstantiate(node, _convert_='all')\ntype(x).__name__",
        "_, x = pair\nprint(f'{x}_{x}')",
    ],
)
def test_a_name_of_ours_is_not(source):
    assert foreign_private_names({"a.py": source}) == []


ABC = {"_abc_impl"}  # in every abstract class


def test_no_class_of_ours_takes_a_private_name_of_its_base():
    """One that overrides what it does not know of: Lightning's, torch's and Hydra's classes are large."""
    taken = []
    for module in pkgutil.walk_packages([str(ROOT / "dlcourse")], "dlcourse."):
        classes = vars(importlib.import_module(module.name)).values()
        for each in [c for c in classes if inspect.isclass(c) and c.__module__ == module.name != internals.__name__]:
            own = set(vars(each)) | set(re.findall(r"self\.(\w+)(?:: [^=]+)? = ", inspect.getsource(each)))
            for base in [b for b in each.__mro__ if b.__module__.split(".")[0] not in (*OURS, "builtins", "typing")]:
                theirs = set(vars(base)) | set(re.findall(r"self\.(\w+)", source_of(base)))
                taken += [f"{each.__qualname__}.{name}" for name in sorted(own & theirs - ABC) if is_private(name)]
    assert taken == []


@functools.cache
def source_of(cls):
    try:
        return inspect.getsource(cls)
    except (OSError, TypeError):  # in C
        return ""


def test_internals_imports_no_library():
    heavy = ["torch", "lightning", "hydra", "omegaconf", "optuna", "wandb", "numpy", "yaml"]
    code = f"import sys, dlcourse.internals; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "[]\n"


def test_each_has_a_test():
    tree = ast.parse(Path(__file__).read_text("utf-8"))
    used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    defined = {
        n: value for n, value in vars(internals).items() if getattr(value, "__module__", "") == internals.__name__
    }
    assert defined and used >= {f"internals.{name}" for name in (*defined, "CURRENT_HOOK")}
    assert all(value.__doc__ for value in defined.values())


# Lightning


def fit(model=None, callbacks=(), **given):
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = pl.Trainer(**{**quiet, "max_epochs": 1, "accelerator": "cpu", "callbacks": list(callbacks), **given})
    trainer.fit(model or BoringModel())
    return trainer


class Each(pl.Callback):
    """Calls ``ask(trainer)`` after each training batch."""

    def __init__(self, ask):
        self.ask, self.answers = ask, []

    def on_train_batch_end(self, trainer, *_):
        self.answers.append(self.ask(trainer))


def test_current_hook():
    noted = []

    class Noting(BoringModel):
        def __setattr__(self, name, value):
            noted.append((name, value))
            super().__setattr__(name, value)

        def training_step(self, batch, batch_idx):
            assert getattr(self, internals.CURRENT_HOOK) == "training_step"
            noted.clear()
            return super().training_step(batch, batch_idx)

        def on_before_zero_grad(self, optimizer):
            assert getattr(self, internals.CURRENT_HOOK) == "on_before_zero_grad"

    fit(Noting(), limit_train_batches=2, limit_val_batches=0)
    assert (internals.CURRENT_HOOK, "on_train_batch_end") in noted


def test_a_hook_that_is_none_is_not_called():
    absent = [name for name, value in vars(Callback).items() if value is None and name.startswith("on_")]
    assert absent and all(callable(getattr(pl.Callback, name)) for name in absent)
    assert fit(callbacks=[Callback()], limit_train_batches=2).global_step == 2


def test_dump_checkpoint(tmp_path):
    def same(trainer):
        trainer.save_checkpoint(tmp_path / "saved.ckpt", weights_only=True)
        light = torch.load(tmp_path / "saved.ckpt", weights_only=False)
        trainer.save_checkpoint(tmp_path / "saved.ckpt")
        whole = torch.load(tmp_path / "saved.ckpt", weights_only=False)
        for saved, dumped in (
            (light, internals.dump_checkpoint(trainer, weights_only=True)),
            (whole, internals.dump_checkpoint(trainer)),
        ):
            assert saved.keys() == dumped.keys() and saved["global_step"] == dumped["global_step"]
            assert all(torch.equal(saved["state_dict"][k], v) for k, v in dumped["state_dict"].items())
        assert "optimizer_states" in whole and "optimizer_states" not in light

    each = Each(same)
    fit(callbacks=[each], limit_train_batches=2)
    assert len(each.answers) == 2


@pytest.mark.parametrize("forget", [False, True])
def test_forget_train_loader(forget):
    class Counted(BoringModel):
        loaders = 0

        def train_dataloader(self):
            self.loaders += 1
            return super().train_dataloader()

        def configure_optimizers(self):
            assert self.trainer.estimated_stepping_batches == 3 and self.loaders == 1
            if forget:
                internals.forget_train_loader(self.trainer)
            return super().configure_optimizers()

    model = Counted()
    assert fit(model, limit_train_batches=3).global_step == 3
    assert model.loaders == 1 + forget


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"accumulate_grad_batches": 2}, [0, 1, 0, 1, 0]),  # the fifth ends the epoch
        ({"val_check_interval": 2}, [1, 0, 1, 0, 0]),
        ({"max_steps": 3}, [1, 1, 0]),
        ({"limit_val_batches": 0}, [1, 1, 1, 1, 0]),
    ],
)
def test_batch_stands_alone(given, expected):
    each = Each(internals.batch_stands_alone)
    fit(callbacks=[each], limit_train_batches=5, **{"limit_val_batches": 1, **given})
    assert each.answers == list(map(bool, expected))


def test_stops_early():
    stopping = EarlyStopping("val/loss", patience=2, mode="min", min_delta=0.1)
    assert [internals.stops_early(stopping, value) for value in (1.0, 0.8, 0.75, 0.5, 0.6, 0.5)] == [False] * 5 + [True]
    assert float(stopping.best_score) == 0.5
    assert internals.stops_early(EarlyStopping("val/loss"), float("nan"))


# W&B


def test_wandb_arguments_and_started(tmp_path, monkeypatch):
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    logger = WandbLogger(project="p", save_dir=tmp_path, mode="online")
    arguments = internals.wandb_arguments(logger)
    assert (arguments["project"], arguments["mode"], arguments["anonymous"]) == ("p", "online", None)
    assert not internals.wandb_started(logger)
    del arguments["anonymous"]
    arguments["mode"] = "disabled"  # or it would ask for a key
    assert logger.experiment.disabled and internals.wandb_started(logger)
    logger.experiment.finish()


# Hydra and OmegaConf


def test_command_line_parser():
    flags = internals.command_line_parser().parse_args(["--multirun", "--cfg", "job", "a=1", "b=2"])
    assert (flags.multirun, flags.cfg, flags.info, flags.overrides) == (True, "job", None, ["a=1", "b=2"])


def test_text_representer():
    class Dumper(yaml.CSafeDumper):
        pass

    Dumper.add_representer(str, internals.text_representer())
    texts = ["1e-3", "1", "yes", "null", "plain", "two words", "a: b", "", "0x1f", "1_000", "ünïcode"]
    text = yaml.dump(texts, Dumper=Dumper, allow_unicode=True)
    assert text == OmegaConf.to_yaml(OmegaConf.create(texts)) and text.startswith("- '1e-3'\n")
    assert OmegaConf.to_container(OmegaConf.create(text)) == texts


# Optuna


def test_open_trial(tmp_path):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    optuna.create_study(storage=storage, study_name="other").ask()  # so that a trial's id is not its number
    study = optuna.create_study(storage=storage, study_name="mine")
    number = study.ask().number
    opened = internals.open_trial(optuna.load_study(storage=storage, study_name="mine"), number)
    opened.report(0.5, 3)
    assert study.trials[number].intermediate_values == {3: 0.5}
    study.tell(number, 0.5)
    assert internals.open_trial(study, number) is None


def test_cmaes_sampler():
    def proposed(sampler):
        study = optuna.create_study(sampler=sampler)
        study.optimize(lambda t: sum((t.suggest_float(name, -5, 5) - 1) ** 2 for name in "ab"), n_trials=20)
        return [trial.params for trial in study.trials]

    read = []

    def load(pickled):
        read.append(pickled)
        return pickle.loads(pickled)  # our own

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options = {"seed": 1, "n_startup_trials": 1, "warn_independent_sampling": False}
    assert proposed(internals.cmaes_sampler(load)(**options)) == proposed(optuna.samplers.CmaEsSampler(**options))
    assert read and type(pickle.loads(read[-1])).__name__ == "CMA"

    def unread(pickled):
        raise pickle.UnpicklingError("os.system is refused")

    with pytest.raises(Refused, match=r"trial \d+ of the study holds no state of CMA-ES: os.system is refused"):
        proposed(internals.cmaes_sampler(unread)(**options))


class Named(pickle.Unpickler):
    """Reads with a table of names, and keeps which it was asked for."""

    def __init__(self, content, table):
        super().__init__(io.BytesIO(content))
        self.table, self.asked = table, set()

    def find_class(self, module, name):
        self.asked.add(f"{module}.{name}")
        assert self.table[f"{module}.{name}"] is super().find_class(module, name)
        return self.table[f"{module}.{name}"]


def test_saved_files_and_features(tmp_path):
    datasets = pytest.importorskip("datasets")
    held = datasets.Dataset.from_dict({"x": [*range(4)]}).cast_column("x", datasets.ClassLabel(num_classes=4))
    held.save_to_disk(tmp_path, num_shards=2)
    state, info = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("state", "dataset_info"))
    found = internals.saved_files(state)
    assert found == sorted(file.name for file in tmp_path.glob("*.arrow")) and len(found) == 2
    assert internals.feature_type(info["features"]["x"]) == "ClassLabel" and internals.feature_type(None) == ""


def test_array_pickles():
    reader = Named(pickle.dumps([np.arange(3.0), np.zeros((2, 2), "uint8")], protocol=4), internals.array_pickles())
    floats, bytes_ = reader.load()
    assert floats.tolist() == [0, 1, 2] and bytes_.shape == (2, 2)
    assert "numpy._core.multiarray._reconstruct" in reader.asked  # as this NumPy names it; files of before: numpy.core
    assert {name.replace("._core.", ".core.") for name in reader.asked} <= set(internals.array_pickles())


def test_cmaes_pickles():
    from cmaes import CMA

    optimizer = CMA(np.zeros(2), 1.0, seed=0)
    optimizer.tell([(optimizer.ask(), float(k)) for k in range(optimizer.population_size)])
    reader = Named(pickle.dumps((optimizer, np.float64(2))), {**internals.array_pickles(), **internals.cmaes_pickles()})
    again, number = reader.load()
    assert again.generation == optimizer.generation == 1 and number == 2
    assert reader.asked >= set(internals.cmaes_pickles())


# torch


def test_spare_broadcast():
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel

    module = nn.BatchNorm1d(2)
    module.register_buffer("mean", torch.zeros(1))
    internals.spare_broadcast(module, ["mean"])
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        sent = DistributedDataParallel(module).modules_buffers
    finally:
        distributed.destroy_process_group()
    assert sorted(map(id, sent)) == sorted(id(b) for name, b in module.named_buffers() if name != "mean")


def operations(function, *given, table=None):
    from torch.fx.experimental.proxy_tensor import make_fx

    return {node.target for node in make_fx(function, table)(*given).graph.nodes}


def test_softmax_decompositions():
    x, y, aten = torch.randn(4, 3), torch.tensor([0, 2, 1, 1]), torch.ops.aten
    whole = {aten._log_softmax.default, aten._log_softmax_backward_data.default}
    gradient = torch.func.grad(lambda x: nn.functional.cross_entropy(x, y))
    table = internals.softmax_decompositions()
    assert operations(gradient, x) >= whole and not operations(gradient, x, table=table) & whole
    found = torch.fx.experimental.proxy_tensor.make_fx(gradient, table)(x)(x)
    assert torch.allclose(found, gradient(x), atol=1e-7)


def test_unsafe_view():
    assert internals.unsafe_view() in operations(torch.matmul, torch.randn(2, 3, 4), torch.randn(4, 5))
    x = torch.arange(6)
    assert torch.equal(internals.unsafe_view()(x, (2, 3)), x.view(2, 3))


# Of other versions


def bounds():
    """The allowed versions of each library whose private names are used; OmegaConf's are Hydra's to say."""
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    stated = [Requirement(line) for line in [*project["dependencies"], *(requires("hydra-core") or [])]]
    return {each.name: each.specifier for each in stated if each.name in LIBRARIES}


@pytest.mark.study
@pytest.mark.parametrize("end", ["oldest", "newest"])
def test_of_the_allowed_versions(end, tmp_path):
    from packaging.version import Version

    pip = [sys.executable, "-m", "pip"]
    chosen = {}
    for name, allowed in bounds().items():
        listed = subprocess.run([*pip, "index", "versions", name], capture_output=True, text=True, check=True).stdout
        known = [Version(each) for each in re.search("Available versions: (.*)", listed)[1].split(", ")]
        chosen[name] = str((min if end == "oldest" else max)(allowed.filter(known)))
    wanted = [f"{name}=={number}" for name, number in chosen.items()]
    subprocess.run([*pip, "install", "-q", "--no-deps", "--target", str(tmp_path / end), *wanted], check=True)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / end), str(ROOT)])}
    code = f"from importlib.metadata import version; print([version(name) for name in {list(chosen)}])"
    found = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert ast.literal_eval(found) == list(chosen.values())
    print(end, {name: (number, version(name)) for name, number in chosen.items()})  # here, and what is installed
    asked = [sys.executable, "-m", "pytest", "-n", "0", "-q", str(Path(__file__))]
    done = subprocess.run(asked, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    print(done.stdout.splitlines()[-1])
