"""Trials on a Ray cluster, or on a Ray of this machine alone: Ray decides where and when each of them runs.

Ray's own API, since its Hydra plug-in asks for a cloudpickle older than the one that scikit-learn's joblib takes.
"""

import logging
import signal
from collections.abc import Iterator
from itertools import islice
from typing import Any

from dlcourse.errors import ENVIRONMENT, Refused
from dlcourse.sweeps.attempt import attempt
from dlcourse.sweeps.trials import Sweep


def run(
    sweep: Sweep, numbers: Iterator[int], ahead: int | None, address: str | None, resources: dict[str, Any]
) -> None:
    """Hand trials to Ray, ``ahead`` at a time (None: all at once); one that dies is a row, and the others go on."""
    try:
        import ray
    except ImportError:
        raise Refused("hydra/launcher=ray needs Ray: pip install -e '.[cluster]'", ENVIRONMENT) from None
    going: dict[Any, int] = {}
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        trial = ray.remote(max_retries=0, max_calls=1, **resources)(attempt)
        while True:
            for number in islice(numbers, None if ahead is None else ahead - len(going)):
                sweep.begin(number)
                going[trial.remote(sweep.job(number))] = number
            if not going:
                return
            try:
                (done,), _ = ray.wait(list(going), num_returns=1)
            except KeyboardInterrupt:  # Ray ends its workers; what they saved is gone on with
                sweep.stopped = signal.SIGINT
                return
            number = going.pop(done)
            try:
                ray.get(done)
            except (
                ray.exceptions.RayError
            ) as error:  # what a trial raises is in its directory; what ends a worker is not
                print(f"trial {number}: {str(error).splitlines()[0]}", flush=True)
            sweep.end(number)
    finally:
        ray.shutdown()
        sweep.end(*going.values())
