"""The parts of the report about the trained model: figures of the test set, the worst mistakes, the first layer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from dlcourse.plots import curves as figures
from dlcourse.plots.drawing import Drawing
from dlcourse.plots.pictures import data_uri, mosaic, picture, span
from dlcourse.report.html import Figure, complain, draw
from dlcourse.report.predictions import Answers, curve, decision_map, filters, is_picture
from dlcourse.runs.inference import ask

PICTURES = 20  # of the worst mistakes
ROWS = 10  # of them where they are numbers
FILTERS = 64
INPUTS = 8  # of a row that is no picture


@dataclass
class Mistake:
    """A test row whose class the model missed: what it is, what it was taken for, and the model's score for both."""

    row: int
    true: str
    predicted: str
    score: float
    true_score: float
    inputs: dict[str, str]
    picture: Any = None  # PIL.Image.Image
    uri: str = ""


def test_figures(model: Any, data: Any, answers: Answers) -> list[Figure]:
    """What suits the task: a confusion matrix, a map of the plane, values against values, a fitted curve."""
    x, y, a = answers.x.numpy(), answers.y.numpy(), answers.a.numpy()
    if answers.task == "values":
        found = []
        if tuple(data.shape) == (1,):
            make: Callable[[], Drawing] = lambda: figures.fit(x[:, 0], y, curve(model, answers))  # noqa: E731
            found = [draw("Fitted curve", make, "The model's output over the range of the test inputs.")]
        told = "On the dashed line both agree."
        return [
            *found,
            draw("Predicted against true values", lambda: figures.against(y, a), told),
            draw("Residuals", lambda: figures.residuals(y, a), "Left of zero the model's value is too low."),
        ]
    counts = answers.confusion()
    wrong = int(counts.sum() - counts.trace())
    told = f"{wrong:,} of {counts.sum():,} test rows are wrong. Shaded by the share of the true class."
    found = [draw("Confusion matrix", lambda: figures.confusion(counts, answers.names), told)]
    if tuple(data.shape) == (2,):
        told = "Test rows on the regions of the predicted classes" + (
            ", paler where the model is less sure" if answers.probabilities else ""
        )
        found.append(
            draw(
                "Decision boundary",
                lambda: figures.boundary(
                    decision_map(model, answers),
                    x,
                    answers.true.numpy(),
                    (answers.true != answers.predicted).numpy(),
                    answers.names,
                ),
                f"{told}; a dark rim marks a mistake.",
            )
        )
    return found


def mistakes(answers: Answers, data: Any) -> list[Mistake]:
    """The worst test rows, worst first, as pictures or as numbers."""
    shown = is_picture(data.shape)
    rows = answers.worst(PICTURES if shown else ROWS)
    low, high = span(answers.x, rows) if shown and rows else (0.0, 1.0)
    names, score = input_names(data, answers.x[0].numel()), answers.score
    found = []
    for row in rows:
        true, predicted = int(answers.true[row]), int(answers.predicted[row])
        image = picture(answers.x[row], low, high) if shown else None
        values = [] if shown else answers.x[row].flatten()[:INPUTS].tolist()
        found.append(
            Mistake(
                row=row,
                true=answers.names[true],
                predicted=answers.names[predicted],
                score=float(score[row, predicted]),
                true_score=float(score[row, true]),
                inputs={name: f"{value:.4g}" for name, value in zip(names, values, strict=False)},
                picture=image,
                uri=data_uri(image) if image else "",
            )
        )
    return found


def input_names(data: Any, count: int) -> list[str]:
    """A name for each input of a row: a table's columns where they are known, else x1, x2, …"""
    names = []
    for column in getattr(data, "columns", None) or []:
        words: Sequence[str] = column.get("vocabulary") or [""]
        names += [f"{column['name']}={word}" if word else str(column["name"]) for word in words]
    return names if len(names) == count else [f"x{k}" for k in range(1, count + 1)]


def first_layer(model: Any, shape: Sequence[int]) -> Figure | None:
    """The weights of the first layer as pictures, where it looks at pictures."""
    title = "Filters of the first layer"
    try:
        weights = filters(model, shape, FILTERS)
        if weights is None:
            return None
        n, channels, height, width = weights.shape
        told = "the three colours, grey is zero" if channels == 3 else "blue below zero, white zero, red above"
        caption = f"{n} filters of {height} × {width} weights, all on one scale: {told}."
        return Figure(title, caption, uri=data_uri(mosaic(weights)))
    except Exception as error:
        return Figure(title, trouble=complain(title, error))


def feature_maps(model: Any, answers: Answers) -> Figure | None:
    """What the first convolution makes of the first test picture."""
    first = next((part for part in model.network.modules() if isinstance(part, nn.Conv2d)), None)
    if first is None:
        return None
    title = "Feature maps of the first convolution"
    try:
        seen: list[Tensor] = []
        hook = first.register_forward_hook(lambda _, x, maps: seen.append(maps.float().cpu()))
        try:
            ask(model, answers.x[:1])
        finally:
            hook.remove()
        maps = seen[0][0, :FILTERS, None].numpy()
        told = f"{len(maps)} maps of the first test picture, a {answers.names[int(answers.true[0])]}, on one scale"
        return Figure(title, f"{told}: blue below zero, white zero, red above.", uri=data_uri(mosaic(maps)))
    except Exception as error:
        return Figure(title, trouble=complain(title, error))
