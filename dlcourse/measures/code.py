"""Measurements of the code that an encoder makes of its inputs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import one_hot

from dlcourse.measures import Measure
from dlcourse.tasks.predictions import BATCH

ACTIVE = 0.01  # Burda et al. (2016)


class ActiveUnits(Measure):
    """How many units of the code tell test samples apart: those whose code varies by more than 0.01 over the samples.

    ``active``: their number; ``variance/1``, ``variance/2``, …: Var_x μ_k(x), from the largest. For models with
    ``encode``; one that is told classes is told them. Lecture: L4. Burda, Grosse and Salakhutdinov (2016).
    """

    needs = ("encode",)

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        with torch.no_grad():
            test, codes = data.sets["test"], []
            for x, y in zip(test.x.split(BATCH), test.y.split(BATCH), strict=True):
                told = one_hot(y, model.classes).to(model.device) if getattr(model, "classes", 0) else None
                codes.append(model.encode(x.to(model.device, model.mean.dtype), told).double().cpu())
        variances = torch.cat(codes).var(0, correction=0).sort(descending=True).values.tolist()
        named = {f"variance/{k}": value for k, value in enumerate(variances, 1)}
        return {"active": float(sum(value > ACTIVE for value in variances)), **named}


class PrincipalComponents(Measure):
    """The error of principal components in the place of the network, on the inputs that the network gets.

    The components are those of the training set's targets; a sample is projected on them, and the result is clipped to
    0 … 1 if the network's outputs are in that range. ``pca_mse``: mean squared error on the test set, in the units of
    ``test/mse``, with the number of components among ``sizes`` (the units of the code by default) that has the lowest
    error on the validation set, ``pca_size``. ``angle``: the largest angle between the plane of a linear decoder and
    that of as many components, in radians. Lecture: L4. Baldi and Hornik (1989).
    """

    needs = ("code", "network.decoder", "task.in_target_units")

    def __init__(self, sizes: Sequence[int] | None = None):
        self.sizes = sizes

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        from scipy.linalg import subspace_angles
        from sklearn.decomposition import PCA

        sizes = [model.code] if self.sizes is None else self.sizes
        _, train = self._rows(model, data, "train")
        axes = PCA(max(*sizes, model.code), svd_solver="covariance_eigh").fit(train)

        def error(stage: str, size: int) -> float:
            inputs, target = self._rows(model, data, stage)
            kept = axes.components_[:size]
            answer = (inputs - axes.mean_) @ kept.T @ kept + axes.mean_
            if model.loss.probabilities:
                answer = answer.clip(0, 1)  # where the network's outputs are, too
            return float(np.square(answer - target).mean())

        best = min(sizes, key=lambda size: error("val", size))
        found = {"pca_mse": error("test", best), "pca_size": float(best)}
        decoder = list(model.network.decoder)
        if len(decoder) == 1 and isinstance(decoder[0], nn.Linear):
            weights = decoder[0].weight.detach().double().cpu().numpy()
            found["angle"] = float(subspace_angles(weights, axes.components_[: model.code].T).max())
        return found

    @staticmethod
    def _rows(model: Any, data: Any, stage: str) -> tuple[np.ndarray, np.ndarray]:
        """A set's inputs and targets, (N, P) both, in the target's units."""
        inputs, target = model.task.prepare_batch(data.samples(stage).to(model.device))
        return model.task.in_target_units(inputs).double().cpu().numpy(), target.double().cpu().numpy()
