"""Decisions by a probability: whether it can be taken at its word, and what mistakes of both kinds cost."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_calibration_error

from dlcourse.errors import Refused
from dlcourse.measures import Measure
from dlcourse.tasks.predictions import forward_batches

BINS = 10  # of the calibration error


class Diagnosis(Measure):
    """Two classes, of which class ``wanted`` must not be missed: a miss costs ``miss_cost`` false alarms.

    On the test set, for the probability p of the wanted class: ``auc``; ``log_loss`` = −mean ln of the true class's
    probability; ``calibration_error`` = Σ over ten equal bins of p of share · |mean p − share that is of the class|;
    ``misses``, ``false_alarms`` and ``cost`` per row where a row is called at p > ½, and ``careful_…`` at
    p > 1/(1 + miss_cost), where a call costs less than its omission if p is right. ``logistic_…``: all of it for
    scikit-learn's logistic regression on the same training rows, standardised. ``temperature`` T: with the lowest log
    loss of z/T on the validation set, of ``validation_rows``; ``log_loss_at_temperature``: that on the test set (Guo et
    al. 2017). Lecture: applications.
    Refused: not two classes, or a loss without probabilities.
    """

    def __init__(self, miss_cost: float = 10.0, wanted: int = 0):
        if not (miss_cost > 0 and wanted in (0, 1)):
            raise ValueError(f"miss_cost={miss_cost} must be above zero, wanted={wanted} a class, 0 or 1")
        self.miss_cost, self.wanted = miss_cost, wanted

    def check(self, model: Any, data: Any) -> None:
        if data.outputs != 2 or data.y != "classes" or model.task.outputs != 1 or not model.loss.probabilities:
            raise Refused("a diagnosis is one of two classes by one probability: task=binary, loss=bce")

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        test, val = data.sets["test"], data.sets["val"]
        z, z_val = (self.sign * forward_batches(model, rows.x).z[:, 0].double() for rows in (test, val))
        there, there_val = (rows.y == self.wanted for rows in (test, val))
        t = temperature(z_val, there_val)
        logistic = self.figures(self.logistic(data.sets["train"], test.x), there)
        return {
            **self.figures(z.sigmoid(), there),
            **{f"logistic_{name}": value for name, value in logistic.items()},
            "temperature": t,
            "log_loss_at_temperature": log_loss((z / t).sigmoid(), there),
            "validation_rows": float(len(val)),
        }

    @property
    def sign(self) -> float:
        """z is of class 1."""
        return 1.0 if self.wanted else -1.0

    def figures(self, p: Tensor, there: Tensor) -> dict[str, float]:
        """The figures of probabilities p (N,) of the wanted class, which is there or not, (N,)."""
        from sklearn.metrics import roc_auc_score

        found = {
            "auc": float(roc_auc_score(there.numpy(), p.numpy())),
            "log_loss": log_loss(p, there),
            "calibration_error": float(binary_calibration_error(p, there.long(), n_bins=BINS, norm="l1")),
        }
        for name, threshold in (("", 0.5), ("careful_", 1 / (1 + self.miss_cost))):
            misses, alarms = (
                int((called & of).sum()) for called, of in ((p <= threshold, there), (p > threshold, ~there))
            )
            found |= {f"{name}misses": float(misses), f"{name}false_alarms": float(alarms)}
            found[f"{name}cost"] = (self.miss_cost * misses + alarms) / len(p)
        return found

    def logistic(self, train: Any, x: Tensor) -> Tensor:
        """The wanted class's probability for rows x (N, …) by logistic regression."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=10_000))
        fitted.fit(train.x.flatten(1).double().numpy(), (train.y == self.wanted).numpy())
        return torch.from_numpy(fitted.predict_proba(x.flatten(1).double().numpy())[:, 1])


def log_loss(p: Tensor, there: Tensor) -> float:
    """−mean ln of the probability of what is the case, finite where p rounds to 0 or 1."""
    from sklearn.metrics import log_loss as of_classes

    return float(of_classes(there.numpy(), p.double().numpy(), labels=[False, True]))


def temperature(z: Tensor, there: Tensor) -> float:
    """T in 0.02 … 50 with the lowest log loss of σ(z/T)."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda ln_t: log_loss((z / np.exp(ln_t)).sigmoid(), there), bounds=(-4, 4), method="bounded"
    )
    return float(np.exp(found.x))
