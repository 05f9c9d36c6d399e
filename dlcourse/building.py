"""From a configuration to live objects: the data and the model, and the process they run in."""

import gc
from typing import Any

from omegaconf import DictConfig

from dlcourse.config import resolve
from dlcourse.errors import explain


def build(cfg: DictConfig) -> tuple[Any, Any]:
    """The data and the model that a configuration describes; what their constructors refuse is refused."""
    from hydra.utils import instantiate

    tree = resolve(cfg)
    try:
        built = instantiate(tree["data"], _convert_="all"), instantiate(tree["model"], _convert_="all")
        if not gc.isenabled():  # a command's imports are over; what they made stays, and is not looked at again
            gc.freeze()
            gc.enable()
        return built
    except Exception as error:
        if known := explain(error):
            raise known from error
        raise


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
