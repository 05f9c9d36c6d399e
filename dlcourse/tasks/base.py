"""The base class of all tasks: targets, sums for metrics, readable predictions and report sections."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from dlcourse.errors import Refused

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from dlcourse.plots.section import Section

PART = 4096  # rows at a time, where all of a set are read


class Batch(NamedTuple):
    """Samples: inputs x (N, *shape), targets y (N, …), their positions ``index`` (N,), and their weights or None.

    ``seed``, ``epoch`` (0 in validation and test) and ``index`` determine all random numbers for a sample.
    """

    x: Tensor
    y: Tensor
    index: Tensor  # type: ignore[assignment]
    weight: Tensor | None = None
    seed: int | Tensor = 0
    epoch: int | Tensor = 0

    def rows(self, numbers: Any) -> "Batch":
        """Some of the samples, as a batch."""
        weight = None if self.weight is None else self.weight[numbers]
        return self._replace(x=self.x[numbers], y=self.y[numbers], index=self.index[numbers], weight=weight)

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        x, y, index = (part.to(device, non_blocking=True) for part in (self.x, self.y, self.index))
        weight = None if self.weight is None else self.weight.to(device, non_blocking=True)
        return self._replace(x=x, y=y, index=index, weight=weight)


class Predictions(NamedTuple):
    """Outputs of a model for samples: z, and a = ``loss.output(z)``; whether a holds probabilities."""

    z: Tensor
    a: Tensor
    probabilities: bool = False


def logits(output: Any) -> Tensor:
    """z: a model's output itself, or the first field of several."""
    z: Tensor = output if isinstance(output, Tensor) else output[0]
    return z


class Task(nn.Module):
    """What is learned from a sample; independent of architectures and files.

    ``outputs``: outputs of a model for a sample, or for each of its ``places``, pixels or cells: z is (N, *places,
    outputs). ``takes``: the kinds of y that it learns from (``data.y``).
    ``target_form``: the target for the loss: ``class_numbers`` (M,) whole numbers 0 … C − 1 beside z (M, C);
    ``bits`` zeros and ones, ``unit_values`` numbers in [0, 1] and ``values`` any numbers, each in the shape of z;
    ``groups`` (M,) whole numbers beside codes z; ``centres`` maps of boxes (`dlcourse.centres.Centres`).
    ``output``: the function of z that losses compare with the target, for losses that have a choice.
    ``prediction_form``: what `comparable` returns, in torchmetrics' terms: ``binary``, ``multiclass``,
    ``multilabel``; or ``values``, ``pictures``, ``boxes``, ``codes``. ``metrics``: what is logged, and whether ``min``
    or ``max`` is better. ``class_count``: the number of classes that y must have.

    Its buffers depend only on the training set: they are equal in all processes and all models trained together.
    """

    #: The names of the classes; None if the task has no classes.
    classes: list[str] | None = None
    #: Whether y is learned from; otherwise the inputs are their own target, and a row needs no label.
    learns_from_y = True
    #: The shape of the model's inputs, if it is not the data's.
    input_shape: tuple[int, ...] | None = None
    #: The shape of the places at which a sample has outputs; () if it has them as a whole.
    places: tuple[int, ...] = ()
    #: What predict.py says of pictures that were converted to the data's size, if their predictions are of that size.
    of_converted: str = ""
    #: How many test samples `visualize` needs; None: all.
    samples_shown: int | None = None

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
        """Compute buffers (moments of the targets) from the training set, once; checkpoints contain them."""

    def check(self, x: Tensor, y: Tensor) -> None:
        """ValueError names the first sample that does not fit the task."""

    def check_set(self, y: Tensor, index: Tensor) -> None:
        """ValueError says what a set, training, validation or test, has or lacks; its rows are those of ``index``."""

    def prepare_batch(self, batch: Batch) -> tuple[Any, Any]:
        """The model's inputs and the target of a batch."""
        return batch.x, batch.y

    def loss_inputs(self, output: Any, target: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        """(z, target, weight) as the loss expects them; weight (M,) or None. No sample is dropped.

        The M rows are samples, or as many places of each: those of a sample follow one another.
        """
        return logits(output), target, None

    def weighted_inputs(self, output: Any, target: Any, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """As ``loss_inputs``, where ``weight`` (N,), that of each sample, or None for 1, counts too."""
        z, target, of_rows = self.loss_inputs(output, target)
        if weight is not None:
            weight = weight[:, None].expand(-1, len(z) // len(weight)).flatten()
            of_rows = weight if of_rows is None else of_rows * weight
        return z, target, of_rows

    def in_target_units(self, values: Tensor) -> Tensor:
        """Readable predictions or targets as the loss compares them: values in deviations from their mean."""
        return values

    @property
    def output_names(self) -> list[str]:
        """A name for each output, for messages."""
        return [f"output {k + 1}" for k in range(self.outputs)]

    @property
    def has_own_answer(self) -> bool:
        """Whether the answer is not the model's output, which the loss has computed already."""
        return type(self).answer is not Task.answer

    def answer(self, model: Any, inputs: Any) -> Any:
        """What metrics and predictions are made of in validation, test and predict.py: the model's output by default.

        A task that decodes or samples overrides it; the loss compares the output all the same.
        """
        return model(inputs)

    def statistics(self, output: Any, target: Any, read: Callable[[Any], Tensor]) -> dict[str, Tensor]:
        """Values (M, …) to be summed over samples for ``metrics``; ``read(output)`` gives readable predictions.

        No value is copied to the host, so that a step on a GPU does not wait.
        """
        return {}

    def metrics(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Metrics from the sums over ``n`` samples; each sum may be of several models, (T, …)."""
        return {}

    def comparable(self, predictions: Predictions, target: Any) -> tuple[Any, Any]:
        """(preds, target) as torchmetrics expects them: probabilities and class numbers, values, pictures."""
        return predictions.a, target

    def postprocess(self, a: Tensor) -> Tensor:
        """Readable predictions from a = ``loss.output(z)``: probabilities, values in their units, pictures."""
        return a

    def predicted_class(self, z: Tensor) -> Tensor:
        """The predicted class (N,) for z (N, outputs); only for tasks with ``classes``."""
        raise Refused(f"{type(self).__name__} has no classes, which this compares")

    def enlarge(self, predictions: Predictions, factors: Tensor) -> Predictions:
        """Predictions for pictures that were converted, in the pixels of their files.

        ``factors`` (N, 2): by how much a file is higher and wider than what the model got.
        """
        return predictions

    def format_predictions(self, predictions: Predictions) -> Iterable[str]:
        """A line for each sample, as predict.py prints it."""
        return ("\t".join(f"{value:.6g}" for value in row) for row in predictions.a.flatten(1).tolist())

    def as_columns(self, predictions: Predictions) -> "dict[str, np.ndarray] | None":
        """Predictions as columns of a table, (N,) each, for predict.py; None if they are no table."""
        return None

    def draw(self, x: Tensor, predictions: Predictions, white: float) -> "list[Image] | None":
        """A picture for each sample, for predict.py; None if nothing can be drawn. ``white``: its value in x."""
        return None

    def visualize(self, model: Any, data: Any, predictions: Predictions) -> "list[Section]":
        """Sections of the report about the test set; loggers show them too."""
        return []
