"""RUN/report.html: what was run, its results and the model's mistakes, on one self-contained page."""

import json
import math
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from dlcourse.config.claims import judge_run
from dlcourse.measures.diagnosis import layer_warnings
from dlcourse.plots.comparison import line
from dlcourse.plots.section import Section, draw, warn_section_failed
from dlcourse.report.html import command, number, template
from dlcourse.report.learning import callback_plots, layer_plots, training_curves
from dlcourse.report.sections import first_layer_section
from dlcourse.runs.files import read_overrides, read_rows, series, write
from dlcourse.tasks.predictions import forward_batches

#: Other keys of metrics.json, and their labels on the page.
FACTS = {
    "best_epoch": "best epoch",
    "epochs": "epochs",
    "steps": "steps",
    "seconds": "seconds",
    "samples_per_s": "samples/s",
}
MEASURE = "measure/"
OF_A_SEARCH = ("sampler", "pruner")  # groups whose choices do not concern one run
ERROR_TAIL = 20_000  # characters of error.txt that are shown


@dataclass
class Report:
    """A written report, and its parts that loggers show: the sections about the test set, the best metrics."""

    path: Path
    sections: list[Section] = field(default_factory=list)
    best: dict[str, float] = field(default_factory=dict)


def build_report(
    run_dir: Path, model: Any = None, data: Any = None, metrics: dict[str, Any] | None = None, problem: str = ""
) -> Report:
    """Write RUN/report.html from the run's files and, with a model, from its outputs on the test set.

    ``problem``: what the page lacks, and why. A plot that fails is named on the page and only warns.
    OSError: a file cannot be read, or the page cannot be written.
    """
    contents = read_run_files(run_dir)
    metrics = metrics or contents["metrics"]
    config = contents["config"]
    choices = config.get("choice", {})
    report = Report(run_dir / "report.html", best=best_metrics(metrics))
    if model is not None:
        try:
            shown = data.samples("test").rows(slice(model.task.samples_shown))
            inputs, _ = model.task.prepare_batch(shown.to(model.device))
            predictions = forward_batches(model, inputs)
            report.sections = [*model.task.visualize(model, data, predictions), *first_layer_section(model, inputs)]
        except Exception as error:
            problem = warn_section_failed("the section on the test set", error)
    page = template("run.html.j2").render(
        title=f"{choices.get('model', '?')} on {choices.get('data', '?')}",
        **{key: contents[key] for key in ("status", "error", "environment", "yaml")},
        command=command(contents["overrides"]),
        choices={
            group: name
            for group, name in sorted(choices.items())
            if name not in ("none", "default") and group not in OF_A_SEARCH
        },
        claim=config.get("claim"),
        lecture=config.get("lecture", []),
        verdicts=judge_run(config.get("expect", []), metrics) if metrics else [],
        table=metric_table(metrics),
        measurements=measurements(metrics),
        measurement_plots=[draw(name, partial(line, {"": found}, name)) for name, found in series(metrics).items()],
        facts=facts(metrics),
        described=config.get("data", {}).get("described") or [],
        said=config.get("data", {}).get("said") or [],
        note=metrics.get("note") or getattr(data, "note", None),
        diagnosis=[*layer_warnings(contents["rows"])],
        layer_plots=layer_plots(contents["rows"]),
        curves=training_curves(
            contents["rows"],
            config.get("monitor", "val/loss"),
            config.get("mode", "min"),
            list(config.get("metrics", {})),
        ),
        problem=problem,
        callback_plots=callback_plots(run_dir, data),
        sections=report.sections,
    )
    write(report.path, page)
    return report


def read_run_files(run_dir: Path) -> dict[str, Any]:
    """The contents of a run's files; those that a stopped run lacks are empty."""

    def text(name: str) -> str:
        path = run_dir / name
        return path.read_text("utf-8", errors="replace") if path.is_file() else ""

    config = text("config.yaml")
    return {
        "config": OmegaConf.to_container(OmegaConf.create(config)),
        "yaml": config,
        "overrides": read_overrides(run_dir),
        "environment": json.loads(text("environment.json") or "null"),
        "status": json.loads(text("status.json") or '{"status": "unknown", "reason": null}'),
        "metrics": json.loads(text("metrics.json") or "{}"),
        "error": text("error.txt")[-ERROR_TAIL:],
        "rows": read_rows(run_dir / "metrics.jsonl"),
    }


def best_metrics(metrics: dict[str, Any]) -> dict[str, float]:
    """The metrics of the best weights: the finite ones of val/… and test/…"""
    return {k: v for k, v in metrics.items() if "/" in k and isinstance(v, int | float) and math.isfinite(v)}


def metric_table(metrics: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Table rows (loss, acc, …) of test and validation metrics."""
    names = dict.fromkeys(key.partition("/")[2] for key in metrics if "/" in key and not key.startswith(MEASURE))
    return [(name, [number(metrics.get(f"{stage}/{name}")) for stage in ("test", "val")]) for name in names]


def measurements(metrics: dict[str, Any]) -> dict[str, str]:
    """The measurements of an experiment by name, without numbered ones, which are plotted."""
    found = {key.removeprefix(MEASURE): value for key, value in metrics.items() if key.startswith(MEASURE)}
    return {key: number(value) for key, value in found.items() if not key.rpartition("/")[2].isdigit()}


def facts(metrics: dict[str, Any]) -> dict[str, str]:
    """Duration and size of the training; epochs are counted from 1, as in the terminal."""
    present = {key: metrics[key] for key in FACTS if isinstance(metrics.get(key), int | float)}
    return {FACTS[key]: number(value + 1 if key == "best_epoch" else value) for key, value in present.items()}
