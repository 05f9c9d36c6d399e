"""Weights & Biases: one W&B run for each run, offline if there is no server."""

import http.client
import netrc
import os
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lightning.pytorch.loggers import WandbLogger

from dlcourse.errors import Refused
from dlcourse.internals import wandb_arguments, wandb_started

PROBE_SECONDS = 1.0
OFFLINE = "this run is recorded offline; wandb sync sends it later"
MODES = ("online", "offline", "disabled", "shared", "dryrun", "run")


class Wandb(WandbLogger):
    """One W&B run for each run, in its directory; offline unless there is an API key and the server answers.

    A missing account, key, network or server never stops a run: ``wandb sync`` uploads offline runs later.
    """

    def __init__(
        self,
        run_dir: str,
        project: str,
        entity: str | None = None,
        group: str | None = None,
        name: str | None = None,
        mode: str | None = None,
        checkpoints: bool = False,
        tags: list[str] | None = None,
    ):
        import wandb

        if not os.environ.get("WANDB_MODE", "offline"):
            del os.environ["WANDB_MODE"]  # wandb does not accept an empty value
        url = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
        mode = mode or os.environ.get("WANDB_MODE") or ("online" if _api_key_is_set(url) else "offline")
        if mode not in MODES:
            raise Refused(f"WANDB_MODE={mode}: expected one of {', '.join(MODES)}")
        if mode == "online" and not _server_answers(url):
            mode = "offline"
            print(f"W&B's server does not answer: {OFFLINE}", file=sys.stderr)
        self.checkpoints = checkpoints
        self.rows_after_checkpoint: list[dict[str, Any]] = []  # already sent before the run was resumed
        folder = Path(run_dir)
        earlier_files = sorted((folder / "wandb").glob("*run-*-*"))
        super().__init__(
            project=project,
            name=name or folder.name,
            save_dir=folder,
            id=earlier_files[-1].name.rpartition("-")[2] if earlier_files else None,
            entity=entity,
            group=group,
            tags=list(tags or []),
            mode=mode,
            # Flush every second, so that a killed run loses no more than that.
            settings=wandb.Settings(x_transaction_log_flush_interval=1.0, silent=True, init_timeout=10),
        )
        del wandb_arguments(self)["anonymous"]  # Lightning still passes it, but wandb removed it

    def log_hyperparams(self, params: Any) -> None:
        self.experiment.config.update(dict(params), allow_val_change=True)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        sent = self.rows_after_checkpoint
        if sent and sent[0].keys() - {"step"} == metrics.keys() and sent[0]["step"] == step:
            del self.rows_after_checkpoint[0]
            return
        self.rows_after_checkpoint.clear()
        super().log_metrics(metrics, step)

    def log_histograms(self, values: Mapping[str, Any], step: int) -> None:
        """A histogram of the finite values of each tensor."""
        import wandb

        if not self.rows_after_checkpoint:
            finite = {name: value[value.isfinite()].float().cpu().numpy() for name, value in values.items()}
            histograms: Any = {name: wandb.Histogram(value) for name, value in finite.items()}
            super().log_metrics(histograms, step)

    @property
    def experiment(self) -> Any:
        """The W&B run; if it cannot be started online, it is started offline."""
        try:
            return super().experiment
        except Exception as error:
            if wandb_arguments(self)["mode"] != "online":
                raise
            print(f"W&B did not start ({str(error).splitlines()[0]}): {OFFLINE}", file=sys.stderr)
            wandb_arguments(self)["mode"] = "offline"
            return super().experiment

    def log_report(self, report: Any) -> None:
        """Log the report: the page, confusion matrix, worst mistakes, best metrics. A failure only warns."""
        import warnings

        import wandb

        try:
            media: dict[str, Any] = {"report": wandb.Html(str(report.path), inject=False)}
            for section in report.sections:
                media |= section_media(section)
            self.experiment.log(media)
            self.experiment.summary.update({f"best/{name}": value for name, value in report.best.items()})
        except Exception as error:
            warnings.warn(f"W&B did not accept the report: {type(error).__name__}: {error}", stacklevel=2)

    def close(self, code: int) -> None:
        import wandb

        if wandb_started(self):
            if self.checkpoints:
                artifact = wandb.Artifact(f"model-{self.experiment.id}", type="model")
                artifact.add_dir(f"{self.save_dir}/checkpoints")
                self.experiment.log_artifact(artifact)
            self.experiment.finish(exit_code=code)


def section_media(section: Any) -> dict[str, Any]:
    """A section of the report as W&B shows it: its confusion matrix, its table, its pictures."""
    import wandb

    media: dict[str, Any] = {}
    if section.classes is not None:
        names, true, predicted = section.classes
        media["confusion"] = wandb.plot.confusion_matrix(
            y_true=true, preds=predicted, class_names=list(names), title="Confusion matrix"
        )
    pictures = [
        wandb.Image(picture.image, caption=", ".join(line for line, _ in picture.lines)) for picture in section.pictures
    ]
    if section.table is not None:
        table = wandb.Table([*section.table.columns, *["picture"] * bool(pictures)])
        for k, row in enumerate(section.table.rows):
            table.add_data(*(cell.value for cell in row), *pictures[k : k + 1])
        media[section.key] = table
    if pictures:  # unlike a table's pictures, these are stored in the run directory
        media[f"{section.key}/pictures"] = pictures
    return media


def _api_key_is_set(url: str) -> bool:
    with suppress(OSError, netrc.NetrcParseError):
        return bool(os.environ.get("WANDB_API_KEY") or netrc.netrc().authenticators(urlsplit(url).hostname or ""))
    return False


def _server_answers(url: str) -> bool:
    """Whether a server answers within a second. In a thread, because name look-ups have no timeout."""
    parts = urlsplit(url)
    has_answered = threading.Event()

    def request() -> None:
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        with suppress(OSError, http.client.HTTPException):
            connection = kind(parts.hostname or "", parts.port, timeout=PROBE_SECONDS)
            connection.request("HEAD", "/")
            connection.getresponse()
            has_answered.set()

    thread = threading.Thread(target=request, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return has_answered.is_set()
