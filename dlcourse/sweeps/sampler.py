"""CMA-ES as Optuna has it, but for what a study's file may bring in."""

import io
from typing import Any

from cmaes import CMA
from numpy._core.multiarray import scalar  # what a pickle names NumPy's numbers by
from optuna.samplers import CmaEsSampler

from dlcourse.data.download import Arrays
from dlcourse.errors import Refused


class Optimizers(Arrays):
    """Unpickles the state of CMA-ES, which is numbers, arrays and the optimizer itself; nothing else is imported."""

    _allowed = {**Arrays._allowed, "cmaes._cma.CMA": CMA, "numpy._core.multiarray.scalar": scalar}


class CmaEs(CmaEsSampler):
    """Covariance matrix adaptation (Hansen and Ostermeier 2001); a study from somebody else runs nothing.

    Optuna keeps the optimizer's state in the study's file as a pickle, which can name anything.
    """

    def __init__(self, seed: int | None = None, n_startup_trials: int = 1):
        super().__init__(seed=seed, n_startup_trials=n_startup_trials)

    def _restore_optimizer(self, completed_trials: list[Any]) -> Any:
        for trial in reversed(completed_trials):
            parts = {k: v for k, v in trial.system_attrs.items() if k.startswith(self._attr_key_optimizer)}
            if parts:
                try:
                    return Optimizers(io.BytesIO(bytes.fromhex(self._concat_optimizer_attrs(parts)))).load()
                except Exception as error:
                    raise Refused(f"trial {trial.number} of the study holds no state of CMA-ES: {error}") from None
        return None
