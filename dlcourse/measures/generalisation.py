"""What a trained model makes of rows that it has not seen, or not seen there."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dlcourse.errors import Refused
from dlcourse.measures import Measure
from dlcourse.tasks.answers import eval_mode, forward_batches


class Gap(Measure):
    """Loss and accuracy on the training rows without dropout, and how much the test loss lies above. Lecture: L18."""

    def figures(self, model: Any, data: Any) -> dict[str, float]:
        losses, right = {}, {}
        for stage in ("train", "test"):
            batch = data.sets[stage].first(len(data.sets[stage])).to(model.device)
            z = forward_batches(model, batch.x).z
            with torch.no_grad():
                losses[stage] = float(model.loss_of(batch, z.to(model.device)).loss)
            right[stage] = _right(model, z, data.sets[stage].y)
        return {"train_loss": losses["train"], "train_acc": right["train"], "gap": losses["test"] - losses["train"]}


def _right(model: Any, z: Tensor, y: Tensor) -> float:
    return float((model.task.predicted_class(z) == y).float().mean())


class Shifts(Measure):
    """What a shift of the pictures by ``pixels`` to the right does.

    ``acc_shifted``: accuracy on the shifted test set. ``not_shifted``: ‖f(shifted x) − shifted f(x)‖ / ‖f(x)‖ for the
    maps f of the first layer with weights, away from the rims: 0 for a convolution. A dense layer's units are laid out
    as one map of the picture's size, so there must be as many. ``parameters``: of that layer; ``dense_parameters``: of
    a dense layer from the same inputs to the same map. Lecture: L7.
    """

    def __init__(self, pixels: int = 1):
        self.pixels = pixels

    def figures(self, model: Any, data: Any) -> dict[str, float]:
        rows, k = data.sets["test"], self.pixels
        x = rows.x.float().to(model.device)
        shifted = torch.zeros_like(x)
        shifted[..., k:] = x[..., :-k]
        layer = next(part for part in model.network.modules() if isinstance(part, nn.Conv2d | nn.Linear))
        height, width = x.shape[-2:]
        with eval_mode(model):
            maps = [self._map(layer, (part - model.mean) / model.std) for part in (x, shifted)]
        if maps[0].shape[-2:] != (height, width):
            raise Refused(f"the first layer's map is {tuple(maps[0].shape[-2:])}, the picture {(height, width)}")
        rim = 2 * k + 1
        if width <= 2 * rim + k:
            raise Refused(f"pixels={k} leaves nothing of a picture {width} pixels wide but its rims")
        here, there = maps[0][..., rim - k : -rim - k], maps[1][..., rim:-rim]
        inputs, outputs = x[0].numel(), maps[0][0].numel()
        return {
            "acc_shifted": _right(model, forward_batches(model, shifted).z, rows.y),
            "not_shifted": float((there - here).norm() / here.norm()),
            "parameters": float(sum(p.numel() for p in layer.parameters())),
            "dense_parameters": float(outputs * (inputs + 1)),
        }

    @staticmethod
    def _map(layer: nn.Module, x: Tensor) -> Tensor:
        if isinstance(layer, nn.Conv2d):
            return layer(x)
        units = layer(x.flatten(1))
        places = x.shape[-2] * x.shape[-1]
        if units.shape[1] % places:
            raise Refused(
                f"a dense layer of {units.shape[1]} units is no map of {places} places: model.hidden=[{places}]"
            )
        return units.unflatten(1, (-1, *x.shape[-2:]))


class Verification(Measure):
    """Same class or not, of two test rows, by the cosine of the last hidden layer's activations.

    ``auc``: the area under the ROC curve of ``pairs`` random pairs, half of the same class; ``pixel_auc``: of the rows
    themselves, for comparison. Lecture: L19.
    """

    def __init__(self, pairs: int = 10_000, seed: int = 0):
        self.pairs, self.seed = pairs, seed

    def figures(self, model: Any, data: Any) -> dict[str, float]:
        from sklearn.metrics import roc_auc_score

        rows = data.sets["test"]
        head = [part for part in model.network.modules() if isinstance(part, nn.Linear)][-1]
        seen: list[Tensor] = []
        hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].float().cpu()))
        try:
            forward_batches(model, rows.x)
        finally:
            hook.remove()
        one, other = self._pairs(rows.y.numpy())
        same = rows.y[one] == rows.y[other]

        def auc(codes: Tensor) -> float:
            near = nn.functional.cosine_similarity(codes[one], codes[other])
            return float(roc_auc_score(same.numpy(), near.numpy()))

        return {"auc": auc(torch.cat(seen)), "pixel_auc": auc(rows.x.flatten(1).float())}

    def _pairs(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers of pairs, half of them of one class."""
        chance = np.random.default_rng(self.seed)
        one = chance.integers(0, len(y), self.pairs)
        other = chance.integers(0, len(y), self.pairs)
        for k in range(self.pairs // 2):
            other[k] = chance.choice(np.flatnonzero(y == y[one[k]]))
        return one, other
