"""CMA-ES as Optuna has it, but for what a study's file may bring in."""

import io

from dlcourse.data.download import Arrays
from dlcourse.internals import cmaes_pickles, cmaes_sampler


class Optimizers(Arrays):
    """Unpickles the state of CMA-ES, which is numbers, arrays and the optimizer itself; nothing else is imported."""

    _allowed = {**Arrays._allowed, **cmaes_pickles()}


class CmaEs(cmaes_sampler(lambda pickled: Optimizers(io.BytesIO(pickled)).load())):  # type: ignore[misc]
    """Covariance matrix adaptation (Hansen and Ostermeier 2001); a study from somebody else runs nothing.

    Optuna keeps the optimizer's state in the study's file as a pickle, which can name anything.
    """

    def __init__(self, seed: int | None = None, n_startup_trials: int = 1):
        super().__init__(seed=seed, n_startup_trials=n_startup_trials)
