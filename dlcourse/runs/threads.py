"""How many threads PyTorch uses for a run."""

import os
from functools import cache
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from dlcourse.tasks.predictions import eval_mode

SMALL_STEP = 1e8  # floating-point operations


def set_threads(model: Any, data: Any) -> None:
    """Use one thread for small steps, where several are slower, in particular on a busy machine."""
    if "OMP_NUM_THREADS" in os.environ:
        return
    default_threads = all_threads()
    with eval_mode(model), FlopCounterMode(display=False) as counter:
        model(model.example_input_array)
    batch_size = 512 if data.batch_size == "full" else data.batch_size
    forward = counter.get_total_flops() * batch_size / len(model.example_input_array)
    step = 3 * forward  # the backward pass takes twice as many
    torch.set_num_threads(1 if step < SMALL_STEP else default_threads)


@cache
def all_threads() -> int:
    """PyTorch's default number of threads, before a run in this process changed it."""
    return torch.get_num_threads()
