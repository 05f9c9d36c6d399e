"""When the first optimizer step was done: a line that the start-up benchmark reads."""

import json
import time

import lightning.pytorch as pl


class Clock(pl.Callback):
    """Prints the time of day after the first batch."""

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step == 1:
            print(json.dumps({"first_step": time.time()}), flush=True)
