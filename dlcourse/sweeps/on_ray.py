"""Trials on a Ray cluster or a local Ray, which decides where and when each of them runs.

This uses Ray's own API: its Hydra plug-in needs an older cloudpickle than scikit-learn's joblib.
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
    sweep: Sweep, numbers: Iterator[int], limit: int | None, address: str | None, resources: dict[str, Any]
) -> None:
    """Submit trials to Ray, ``limit`` at a time (None: all at once); one that dies does not stop the others."""
    try:
        import ray
    except ImportError:
        raise Refused("hydra/launcher=ray needs Ray: pip install -e '.[cluster]'", ENVIRONMENT) from None
    running: dict[Any, int] = {}
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        trial = ray.remote(max_retries=0, max_calls=1, **resources)(attempt)
        while True:
            for number in islice(numbers, None if limit is None else limit - len(running)):
                sweep.begin(number)
                running[trial.remote(sweep.job(number))] = number
            if not running:
                return
            try:
                (done,), _ = ray.wait(list(running), num_returns=1)
            except KeyboardInterrupt:  # Ray ends its workers; their trials can be resumed
                sweep.stopped = signal.SIGINT
                return
            number = running.pop(done)
            try:
                ray.get(done)
            except (
                ray.exceptions.RayError
            ) as error:  # a trial writes its own errors to its directory, a killed worker cannot
                print(f"trial {number}: {str(error).splitlines()[0]}", flush=True)
            sweep.end(number)
    finally:
        ray.shutdown()
        sweep.end(*running.values())
