"""What codes that were learned without labels are worth to a classifier with few of them, and to clustering."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from dlcourse.measures import Measure
from dlcourse.tasks.predictions import BATCH

STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # C of the linear classifier: the inverse of its weight decay


class FewLabels(Measure):
    """Accuracy on the test set with few labels: of codes, of as many principal components, and of the inputs.

    For each of ``labels`` numbers, ``draws`` stratified draws of that many training samples: means over the draws.
    ``codes_linear/100``: logistic regression on codes with 100 labels, at the strength of its weight decay that is best
    on the validation set on average; ``codes_near/100``: the nearest labelled sample. ``pca_…``, ``inputs_…``: the
    same. ``rand/codes``, ``rand/pca``, ``rand/inputs``: the adjusted Rand index of k-means, with as many clusters as
    classes, on the test set. All columns are divided by one number. For models with ``encode``, classes as y.
    Lecture: L5.
    """

    def __init__(self, labels: Sequence[int] = (10, 30, 100, 300, 1000), draws: int = 20, seed: int = 0):
        self.labels, self.draws, self.seed = list(labels), draws, seed

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        from sklearn.decomposition import PCA

        inputs = {stage: data.sets[stage].x.flatten(1).double().numpy() for stage in ("train", "val", "test")}
        y = {stage: data.sets[stage].y.numpy() for stage in inputs}
        codes = {stage: _codes(model, data.sets[stage].x) for stage in inputs}
        axes = PCA(codes["train"].shape[1], svd_solver="covariance_eigh").fit(inputs["train"])
        components = {stage: axes.transform(rows) for stage, rows in inputs.items()}
        found = {}
        for name, sets in {"codes": codes, "pca": components, "inputs": inputs}.items():
            mean, scale = sets["train"].mean(0), sets["train"].std()
            x = {stage: ((rows - mean) / scale).astype(np.float32) for stage, rows in sets.items()}
            for count in self.labels:
                found[f"{name}_linear/{count}"], found[f"{name}_near/{count}"] = self._accuracies(x, y, count)
            found[f"rand/{name}"] = self._rand_index(x["test"], y["test"])
        return found

    def _accuracies(self, x: dict[str, np.ndarray], y: dict[str, np.ndarray], count: int) -> tuple[float, float]:
        """Mean accuracies of the linear classifier and of the nearest neighbour with ``count`` labels."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedShuffleSplit
        from sklearn.neighbors import KNeighborsClassifier

        classes = len(np.unique(y["train"]))
        splits = StratifiedShuffleSplit(self.draws, train_size=count, test_size=classes, random_state=self.seed)
        draws = [chosen for chosen, _ in splits.split(y["train"], y["train"])]
        linear = np.zeros((2, len(STRENGTHS)))
        near = []
        for chosen in draws:
            rows, named = x["train"][chosen], y["train"][chosen]
            for k, strength in enumerate(STRENGTHS):
                classifier = LogisticRegression(C=strength, max_iter=200, tol=1e-3).fit(rows, named)
                linear[:, k] += [classifier.score(x[stage], y[stage]) / self.draws for stage in ("val", "test")]
            near.append(KNeighborsClassifier(1).fit(rows, named).score(x["test"], y["test"]))
        return float(linear[1, linear[0].argmax()]), float(np.mean(near))

    def _rand_index(self, x: np.ndarray, y: np.ndarray) -> float:
        from sklearn.cluster import KMeans
        from sklearn.metrics import adjusted_rand_score

        clusters = KMeans(len(np.unique(y)), n_init=10, random_state=self.seed).fit_predict(x)
        return float(adjusted_rand_score(y, clusters))


def _codes(model: Any, x: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        parts = [model.encode(part.to(model.device, model.mean.dtype)).double().cpu() for part in x.split(BATCH)]
    return torch.cat(parts).numpy()
