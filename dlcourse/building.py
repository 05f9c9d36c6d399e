"""From a configuration to live objects: the data and the model, and the process they run in."""

import os
from functools import cache
from typing import Any

from omegaconf import DictConfig

from dlcourse.config import resolve
from dlcourse.errors import explain

SMALL_STEP = 1e8  # floating-point operations


def build(cfg: DictConfig) -> tuple[Any, Any]:
    """The data and the model that a configuration describes; what their constructors refuse is refused."""
    from hydra.utils import instantiate

    tree = resolve(cfg)
    try:
        return instantiate(tree["data"], _convert_="all"), instantiate(tree["model"], _convert_="all")
    except Exception as error:
        if known := explain(error):
            raise known from error
        raise


def use_threads(model: Any, data: Any) -> None:
    """One thread for small steps: sharing them out costs more than it saves, and far more on a busy machine."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from dlcourse.inference import at_rest

    if "OMP_NUM_THREADS" in os.environ:
        return
    several = all_threads()
    with at_rest(model), FlopCounterMode(display=False) as counter:
        model(model.example_input_array)
    rows = 512 if data.batch_size == "full" else data.batch_size
    step = 3 * counter.get_total_flops() / len(model.example_input_array) * rows  # forward, and twice that backward
    torch.set_num_threads(1 if step < SMALL_STEP else several)


@cache
def all_threads() -> int:
    """PyTorch's own number of threads, before a run of this process has changed it."""
    import torch

    return torch.get_num_threads()


def quieten() -> None:
    """Lightning's hints about a person's own choices are of no use here; its warnings stay."""
    import logging
    import warnings

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.callbacks.model_summary").setLevel(logging.INFO)
    for message in (
        ".*does not have many workers.*",  # batches are indexed from memory
        ".*sync_dist=True.*",  # the sums were added up over the processes already
        ".*exists and is not empty.*",  # the run directory is made before the loggers
        ".*lr_scheduler.step.*",
        ".*was configured so 1 batch.*",
        ".*is smaller than the logging interval.*",
        ".*No device id is provided.*",
        ".*LeafSpec.*",  # Lightning's own use of torch
    ):
        warnings.filterwarnings("ignore", message)
