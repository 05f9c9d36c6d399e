"""The base of all tasks: what is learned from a row, what is added up for its metrics, what a person reads of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dlcourse.plots.section import Section


class Batch(NamedTuple):
    """Some rows: inputs x (N, *shape), targets y (N, …), row numbers (N,), and the weight of each row or None.

    ``seed`` and ``epoch`` (0 in validation and test) with the row numbers decide all that is drawn for a row.
    """

    x: Tensor
    y: Tensor
    index: Tensor  # type: ignore[assignment]
    weight: Tensor | None = None
    seed: int = 0
    epoch: int = 0

    def rows(self, numbers: Any) -> "Batch":
        """Some of its rows, as a batch of their own."""
        weight = None if self.weight is None else self.weight[numbers]
        return self._replace(x=self.x[numbers], y=self.y[numbers], index=self.index[numbers], weight=weight)

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        x, y, index = (part.to(device, non_blocking=True) for part in (self.x, self.y, self.index))
        weight = None if self.weight is None else self.weight.to(device, non_blocking=True)
        return self._replace(x=x, y=y, index=index, weight=weight)


class Answers(NamedTuple):
    """What a model answers for rows: its outputs z, and a = ``loss.output(z)``; whether a holds probabilities."""

    z: Tensor
    a: Tensor
    probabilities: bool = False


class Task(nn.Module):
    """What is learned from a row; knows rows and outputs, but neither architectures nor files.

    ``outputs``: numbers that a model puts out for a row. ``takes``: the kinds of y that it learns from (``data.y``).
    ``target_form``: how it hands the target to a loss: ``class_numbers`` (M,) whole numbers 0 … C − 1 beside z (M, C);
    ``bits`` zeros and ones, ``unit_values`` numbers in [0, 1] and ``values`` any numbers, each in the shape of z.
    ``output``: the function of z that losses compare with the target, where a loss lets it be chosen.
    ``prediction_form``: what `comparable` hands to torchmetrics, as that calls it: ``binary``, ``multiclass``,
    ``multilabel``; or ``values``, ``pictures``. ``metrics``: what is logged, and whether ``min`` or ``max`` is better.
    ``class_count``: the number of classes that y must have.

    Its buffers are of the training rows, the same in all processes and in all models that are trained together.
    """

    #: The names of the classes between which a row is decided; None where it is not between classes.
    classes: list[str] | None = None

    def __init__(
        self,
        *,
        outputs: int,
        takes: Sequence[str],
        target_form: str,
        output: str,
        prediction_form: str,
        metrics: Mapping[str, str],
        class_count: int | None = None,
    ):
        super().__init__()
        self.outputs, self.takes, self.target_form, self.output = outputs, tuple(takes), target_form, output
        self.prediction_form, self.better, self.class_count = prediction_form, dict(metrics), class_count

    def fit(self, x: Tensor, y: Tensor, weight: Tensor | None = None) -> None:
        """Take what it needs from the training rows (moments of the targets), once; a checkpoint keeps it."""

    def check(self, x: Tensor, y: Tensor) -> None:
        """ValueError names the first row that cannot be learned from."""

    def prepare_batch(self, batch: Batch) -> tuple[Any, Any]:
        """The model's inputs and the target of a batch."""
        return batch.x, batch.y

    def loss_inputs(self, output: Any, target: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        """(z, target, weight) as the loss takes them; weight (M,) or None counts samples, nothing is left out."""
        return output, target, None

    def answer(self, model: Any, inputs: Any) -> Any:
        """What the model puts out where it is not trained."""
        return model(inputs)

    def statistics(self, output: Any, target: Any, read: Callable[[Any], Tensor]) -> dict[str, Tensor]:
        """What is added up over rows for ``metrics``, a tensor (M, …) each; ``read(output)`` is what a person reads.

        No value is read on the host: a step on a GPU waits for nothing.
        """
        return {}

    def metrics(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Metrics from the sums of all rows, ``n`` of them; each sum may be of several models, (T, …)."""
        return {}

    def comparable(self, output: Any, target: Any, read: Callable[[Any], Tensor]) -> tuple[Any, Any]:
        """(preds, target) as torchmetrics takes them."""
        return read(output), target

    def postprocess(self, a: Tensor) -> Tensor:
        """What a person reads, of a = ``loss.output(z)``: probabilities, values in their units, pictures."""
        return a

    def predicted_class(self, z: Tensor) -> Tensor:
        """The class (N,) that outputs z (N, outputs) stand for; of tasks with ``classes`` only."""
        raise ValueError(f"{type(self).__name__} decides between no classes")

    def format_predictions(self, answers: Answers) -> Iterable[str]:
        """A line a row, as predict.py prints it."""
        return ("\t".join(f"{value:.6g}" for value in row) for row in answers.a.flatten(1).tolist())

    def visualize(self, model: Any, data: Any, answers: Answers) -> list[Section]:
        """Sections of the report about the test rows, whose answers are given; loggers show them too."""
        return []
