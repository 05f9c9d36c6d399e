"""The base of every callback of ours."""

import lightning.pytorch as pl


class Callback(pl.Callback):
    """Lightning's callback, without the hooks inside a step that do nothing: what is None, Lightning does not call."""

    on_train_batch_start = None  # type: ignore[assignment]
    on_before_zero_grad = None  # type: ignore[assignment]
    on_before_backward = None  # type: ignore[assignment]
    on_after_backward = None  # type: ignore[assignment]
    on_before_optimizer_step = None  # type: ignore[assignment]
