"""RUN/report.html: what was run, how it went, and where the model errs, on one page that needs nothing else."""

import json
import math
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from dlcourse.config.claims import judge
from dlcourse.measures.diagnosis import verdicts
from dlcourse.plots.comparison import line
from dlcourse.plots.section import Section, complain, draw
from dlcourse.report.html import command, number, template
from dlcourse.report.learning import layers, left, training_curves
from dlcourse.report.sections import first_layer_section
from dlcourse.runs.files import read_overrides, read_rows, series, write
from dlcourse.tasks.answers import forward_batches

#: What metrics.json holds beside figures, and how the page calls it.
FACTS = {
    "best_epoch": "best epoch",
    "epochs": "epochs",
    "steps": "steps",
    "seconds": "seconds",
    "samples_per_s": "rows/s",
}
MEASURE = "measure/"
ERROR_TAIL = 20_000  # characters of error.txt that are shown


@dataclass
class Report:
    """The page, and what of it a logger shows: the sections about the test set, the best figures."""

    path: Path
    sections: list[Section] = field(default_factory=list)
    best: dict[str, float] = field(default_factory=dict)


def build_report(run_dir: Path, model: Any = None, data: Any = None, metrics: dict[str, Any] | None = None) -> Report:
    """Write RUN/report.html from the run's files and, where there is a model, from its answers on the test set.

    What cannot be drawn is named in the page and warned of: a picture never costs a run its figures.
    OSError: a file cannot be read, or the page not written.
    """
    told = files(run_dir)
    metrics = metrics or told["metrics"]
    config = told["config"]
    choices = config.get("choice", {})
    report = Report(run_dir / "report.html", best=best_figures(metrics))
    trouble = ""
    if model is not None:
        try:
            answers = forward_batches(model, data.sets["test"].x)
            report.sections = [*model.task.visualize(model, data, answers), *first_layer_section(model, data)]
        except Exception as error:
            trouble = complain("what the model answers on the test set", error)
    page = template("run.html.j2").render(
        title=f"{choices.get('model', '?')} on {choices.get('data', '?')}",
        **{key: told[key] for key in ("status", "error", "environment", "yaml")},
        command=command(told["words"]),
        choices={group: name for group, name in sorted(choices.items()) if name not in ("none", "default")},
        claim=config.get("claim"),
        lecture=config.get("lecture", []),
        verdicts=judge(config.get("expect", []), [metrics]) if metrics else [],
        table=figure_table(metrics),
        measures=measured(metrics),
        measured=[draw(name, partial(line, {"": found}, name)) for name, found in series(metrics).items()],
        facts=facts(metrics),
        note=metrics.get("note") or getattr(data, "note", None),
        diagnosis=[*verdicts(told["rows"])],
        layers=layers(told["rows"]),
        curves=training_curves(
            told["rows"],
            config.get("monitor", "val/loss"),
            config.get("mode", "min"),
            list(config.get("metrics", {})),
        ),
        trouble=trouble,
        left=left(run_dir, data),
        sections=report.sections,
    )
    write(report.path, page)
    return report


def files(run_dir: Path) -> dict[str, Any]:
    """What the files of a run tell; of one that stopped early, some are not there."""

    def text(name: str) -> str:
        path = run_dir / name
        return path.read_text("utf-8", errors="replace") if path.is_file() else ""

    config = text("config.yaml")
    return {
        "config": OmegaConf.to_container(OmegaConf.create(config)),
        "yaml": config,
        "words": read_overrides(run_dir),
        "environment": json.loads(text("environment.json") or "null"),
        "status": json.loads(text("status.json") or '{"status": "unknown", "reason": null}'),
        "metrics": json.loads(text("metrics.json") or "{}"),
        "error": text("error.txt")[-ERROR_TAIL:],
        "rows": read_rows(run_dir / "metrics.jsonl"),
    }


def best_figures(metrics: dict[str, Any]) -> dict[str, float]:
    """The figures of the best weights: val/… and test/…, as far as they are finite."""
    return {k: v for k, v in metrics.items() if "/" in k and isinstance(v, int | float) and math.isfinite(v)}


def figure_table(metrics: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Rows (loss, acc, …) of test and validation figures."""
    names = dict.fromkeys(key.partition("/")[2] for key in metrics if "/" in key and not key.startswith(MEASURE))
    return [(name, [number(metrics.get(f"{stage}/{name}")) for stage in ("test", "val")]) for name in names]


def measured(metrics: dict[str, Any]) -> dict[str, str]:
    """What an experiment measured, by name; numbered ones are drawn."""
    found = {key.removeprefix(MEASURE): value for key, value in metrics.items() if key.startswith(MEASURE)}
    return {key: number(value) for key, value in found.items() if not key.rpartition("/")[2].isdigit()}


def facts(metrics: dict[str, Any]) -> dict[str, str]:
    """How long it took; epochs are counted from 1, as while training."""
    known = {key: metrics[key] for key in FACTS if isinstance(metrics.get(key), int | float)}
    return {FACTS[key]: number(value + 1 if key == "best_epoch" else value) for key, value in known.items()}
