"""The base class of dlcourse's callbacks."""

import lightning.pytorch as pl


class Callback(pl.Callback):
    """Lightning's callback without the empty hooks inside a step: Lightning skips a hook that is None."""

    on_train_batch_start = None  # type: ignore[assignment]
    on_before_zero_grad = None  # type: ignore[assignment]
    on_before_backward = None  # type: ignore[assignment]
    on_after_backward = None  # type: ignore[assignment]
    on_before_optimizer_step = None  # type: ignore[assignment]
