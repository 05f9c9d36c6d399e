"""What keeps a step short: as many threads as its work is worth, and no search for GPUs that are not there."""

import os
from functools import cache
from typing import Any

import torch

from dlcourse.tasks.answers import eval_mode

SMALL_STEP = 1e8  # floating-point operations


def avoid_nvml() -> None:
    """Without a GPU, keep Lightning's CUDA check away from the driver's library: every optimizer step would load it."""
    if not torch.cuda.is_available():
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"


def set_threads(model: Any, data: Any) -> None:
    """One thread for small steps: sharing them out costs more than it saves, and far more on a busy machine."""
    from torch.utils.flop_counter import FlopCounterMode

    if "OMP_NUM_THREADS" in os.environ:
        return
    several = all_threads()
    with eval_mode(model), FlopCounterMode(display=False) as counter:
        model(model.example_input_array)
    rows = 512 if data.batch_size == "full" else data.batch_size
    step = 3 * counter.get_total_flops() / len(model.example_input_array) * rows  # forward, and twice that backward
    torch.set_num_threads(1 if step < SMALL_STEP else several)


@cache
def all_threads() -> int:
    """PyTorch's own number of threads, before a run of this process has changed it."""
    return torch.get_num_threads()
