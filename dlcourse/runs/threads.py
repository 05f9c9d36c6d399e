"""Threads for the size of a step, and no search for GPUs on machines without one."""

import os
from functools import cache
from typing import Any

import torch

from dlcourse.tasks.answers import eval_mode

SMALL_STEP = 1e8  # floating-point operations


def avoid_nvml() -> None:
    """Without a GPU, stop Lightning's CUDA check from loading the driver's library at every optimizer step."""
    if not torch.cuda.is_available():
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"


def set_threads(model: Any, data: Any) -> None:
    """Use one thread for small steps, where several are slower, in particular on a busy machine."""
    from torch.utils.flop_counter import FlopCounterMode

    if "OMP_NUM_THREADS" in os.environ:
        return
    default_threads = all_threads()
    with eval_mode(model), FlopCounterMode(display=False) as counter:
        model(model.example_input_array)
    batch_size = 512 if data.batch_size == "full" else data.batch_size
    step = (
        3 * counter.get_total_flops() / len(model.example_input_array) * batch_size
    )  # forward, and twice that backward
    torch.set_num_threads(1 if step < SMALL_STEP else default_threads)


@cache
def all_threads() -> int:
    """PyTorch's default number of threads, before a run in this process changed it."""
    return torch.get_num_threads()
