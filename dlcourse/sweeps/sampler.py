"""Optuna's CMA-ES, with a safe reader for the state that a study's file contains."""

import io

from dlcourse.download import Arrays
from dlcourse.internals import cmaes_pickles, cmaes_sampler


class Optimizers(Arrays):
    """Unpickles the state of CMA-ES: numbers, arrays and the optimizer itself; any other class is refused."""

    _allowed = {**Arrays._allowed, **cmaes_pickles()}


class CmaEs(cmaes_sampler(lambda pickled: Optimizers(io.BytesIO(pickled)).load())):  # type: ignore[misc]
    """Covariance matrix adaptation (Hansen and Ostermeier 2001); a study from someone else cannot run code.

    Optuna keeps the optimizer's state in the study's file as a pickle, which could otherwise name any function.
    """

    def __init__(self, seed: int | None = None, n_startup_trials: int = 1):
        super().__init__(seed=seed, n_startup_trials=n_startup_trials)
