"""Tables that come with scikit-learn: iris, wine, breast cancer, diabetes."""

from typing import Any

import torch

from dlcourse.data.base import Data, Split
from dlcourse.errors import Refused


class Table(Data):
    """The first ``features`` columns, (N, features), and the targets of a table; no official test set.

    A subclass gives ``load``, which returns both as arrays.
    """

    def __init__(self, *, features: int, **facts: Any):
        super().__init__(**facts)
        self.features = features

    def load(self) -> tuple[Any, Any]:
        raise NotImplementedError

    def arrays(self) -> tuple[Split, None]:
        x, y = (torch.from_numpy(part) for part in self.load())
        if not 1 <= self.features <= x.shape[1]:
            raise Refused(f"data.features={self.features}: data={self.name} has 1 to {x.shape[1]} columns")
        return (x[:, : self.features].float(), y.long() if self.y == "classes" else y.float().reshape(len(y), -1)), None


class Iris(Table):
    """150 flowers of 3 kinds, 4 lengths in cm (E. Anderson 1935, R. A. Fisher 1936)."""

    def load(self) -> tuple[Any, Any]:
        from sklearn.datasets import load_iris

        return load_iris(return_X_y=True)


class Wine(Table):
    """178 wines of 3 growers, 13 chemical measurements (M. Forina et al., UCI 1991)."""

    def load(self) -> tuple[Any, Any]:
        from sklearn.datasets import load_wine

        return load_wine(return_X_y=True)


class BreastCancer(Table):
    """569 tumours, malignant (0) or benign (1), 30 measurements of cell nuclei (W. H. Wolberg et al., UCI 1995)."""

    def load(self) -> tuple[Any, Any]:
        from sklearn.datasets import load_breast_cancer

        return load_breast_cancer(return_X_y=True)


class Diabetes(Table):
    """442 patients, 10 measurements, and the progression of the disease a year later (B. Efron et al. 2004)."""

    def load(self) -> tuple[Any, Any]:
        from sklearn.datasets import load_diabetes

        # Unscaled: scikit-learn's scaling would use the rows held out for testing.
        return load_diabetes(return_X_y=True, scaled=False)


class Linnerud(Table):
    """20 men: chin-ups, sit-ups and jumps, and their weight (lb), waist (in) and pulse (M. Tenenhaus 1998)."""

    def load(self) -> tuple[Any, Any]:
        from sklearn.datasets import load_linnerud

        return load_linnerud(return_X_y=True)
