"""Every private name of other libraries that dlcourse uses, one function each, and why it is needed.

No other file in dlcourse/ or scripts/ uses one (tests/test_internals.py checks), so a new version of a library needs
changes only here. Imports are inside the functions, since this file is imported before torch and Lightning.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dlcourse.errors import Refused

if TYPE_CHECKING:
    import argparse

    import lightning.pytorch as pl
    import optuna
    import yaml
    from lightning.pytorch.callbacks import EarlyStopping
    from lightning.pytorch.loggers import WandbLogger
    from torch import nn

# Lightning. Not a private name, but not documented either: Lightning skips a hook that is None (runs/callback.py).

#: The attribute of a module in which Lightning notes the running hook, some forty times a step. A model that stores
#: this attribute directly avoids the look-up in ``nn.Module.__setattr__``.
CURRENT_HOOK = "_current_fx_name"


def dump_checkpoint(trainer: "pl.Trainer", weights_only: bool = False) -> dict[str, Any]:
    """What ``trainer.save_checkpoint`` would write now, as a dictionary.

    The public call writes a file at once; a state that may turn out to be the best, or the last, is held in memory.
    """
    return trainer._checkpoint_connector.dump_checkpoint(weights_only)


def forget_train_loader(trainer: "pl.Trainer") -> None:
    """Have the training loader set up (again) when the training begins.

    ``estimated_stepping_batches`` sets it up to count the steps, and Lightning restores the place of a checkpoint only
    in one that is set up later. The public ``reload_dataloaders_every_n_epochs`` would set it up every epoch.
    """
    trainer.fit_loop._combined_loader = None


def batch_stands_alone(trainer: "pl.Trainer") -> bool:
    """Whether a training batch ended with an optimizer's step, and neither validation nor the epoch's end follows it.

    Only there is a checkpoint complete: it cannot hold accumulated gradients, and on resuming Lightning would skip what
    follows. It decides it by step limits, accumulation, ``val_check_interval`` and clocks, and publishes none of it.
    """
    loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
    follows = loop._is_training_done or loop._should_check_val_fx(fetcher)  # type: ignore[arg-type]
    return not loop._should_accumulate() and not follows


def stops_early(stopping: "EarlyStopping", value: float) -> bool:
    """Give early stopping the next monitored value, and whether training ends there.

    The public hooks read the value from a Trainer, which trials that train together have not.
    """
    import torch

    return stopping._evaluate_stopping_criteria(torch.tensor(value))[0]


def wandb_arguments(logger: "WandbLogger") -> dict[str, Any]:
    """The arguments of the ``wandb.init`` to come, to be changed in place.

    Lightning's constructor adds ``anonymous``, which wandb no longer takes, and a server that fails shows only at the
    first use, when the mode has long been passed.
    """
    return logger._wandb_init


def wandb_started(logger: "WandbLogger") -> bool:
    """Whether there is a W&B run; the public ``logger.experiment`` would start one."""
    return logger._experiment is not None


# Hydra and OmegaConf


def command_line_parser() -> "argparse.ArgumentParser":
    """The parser of Hydra's own flags; ``hydra.main`` exposes neither its parser nor the parsed arguments."""
    from hydra._internal.utils import get_args_parser

    return get_args_parser()


def text_representer() -> "Callable[[Any, str], yaml.ScalarNode]":
    """How OmegaConf quotes text in YAML, for PyYAML in C; ``OmegaConf.to_yaml`` has it in Python only."""
    from omegaconf._utils import get_omega_conf_dumper

    return get_omega_conf_dumper().str_representer


# Optuna


def open_trial(study: "optuna.Study", number: int) -> "optuna.Trial | None":
    """The trial of that number, to be reported to; None if the study has closed it.

    A Trial is opened by its id, of which the study publishes only the number; ``study.ask`` begins a new one.
    """
    import optuna

    trial = study.get_trials(deepcopy=False)[number]
    return None if trial.state.is_finished() else optuna.trial.Trial(study, trial._trial_id)


def cmaes_sampler(load: Callable[[bytes], Any]) -> Any:
    """Optuna's CmaEsSampler with its pickled optimizer read by ``load``; what ``load`` does not read is refused.

    Optuna calls ``pickle.loads``, which can run code named in a study's file; it has no public hook
    for reading otherwise.
    """
    from optuna.samplers import CmaEsSampler

    class Loading(CmaEsSampler):
        def _restore_optimizer(self, completed_trials: list[Any]) -> Any:
            for trial in reversed(completed_trials):
                parts = {k: v for k, v in trial.system_attrs.items() if k.startswith(self._attr_key_optimizer)}
                if parts:
                    try:
                        return load(bytes.fromhex(self._concat_optimizer_attrs(parts)))
                    except Exception as error:
                        raise Refused(f"trial {trial.number} of the study holds no state of CMA-ES: {error}") from None
            return None

    return Loading


# datasets


def saved_files(state: Mapping[str, Any]) -> list[str]:
    """The names of the files that ``save_to_disk`` wrote, in order; only its ``state.json`` has a list of them."""
    return [each["filename"] for each in state["_data_files"]]


def feature_type(written: Any) -> str:
    """What ``datasets`` wrote that a column holds, as ``Image``, ``ClassLabel`` or ``Value``; "" for nothing."""
    return str(written.get("_type", "")) if isinstance(written, dict) else ""


# Private names in pickles


def array_pickles() -> dict[str, Any]:
    """What a pickle of NumPy arrays names: the module has moved, and files have both names."""
    import numpy as np

    rebuild = np.empty(0).__reduce__()[0]
    modules = ("numpy.core.multiarray", "numpy._core.multiarray")
    return {"numpy.ndarray": np.ndarray, "numpy.dtype": np.dtype, **{f"{m}._reconstruct": rebuild for m in modules}}


def cmaes_pickles() -> dict[str, Any]:
    """What the pickle of CMA-ES's state names beside arrays: NumPy's numbers, and the optimizer itself."""
    import numpy as np
    from cmaes import CMA

    return {"numpy._core.multiarray.scalar": np.float64().__reduce__()[0], "cmaes._cma.CMA": CMA}


# torch


def spare_broadcast(module: "nn.Module", names: Sequence[str]) -> None:
    """Have DistributedDataParallel leave these parameters and buffers alone, which it would send at every step.

    The public ``broadcast_buffers=False`` would leave batch normalisation's alone too.
    """
    module._ddp_params_and_buffers_to_ignore = list(names)  # type: ignore[assignment]


def softmax_decompositions() -> Mapping[Any, Callable[..., Any]]:
    """log softmax and its gradient as the operations they consist of, for ``make_fx``.

    The public ``torch.export.default_decompositions`` leaves the first whole, and decomposes much else.
    """
    import torch
    from torch._decomp import get_decompositions

    return get_decompositions([torch.ops.aten._log_softmax, torch.ops.aten._log_softmax_backward_data])


def unsafe_view() -> Any:
    """The reshaping that torch records where nobody else holds the tensor; it has no public name."""
    import torch

    return torch.ops.aten._unsafe_view.default
