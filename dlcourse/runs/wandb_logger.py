"""Weights & Biases: one run there for each run of ours, offline where there is no server."""

import http.client
import netrc
import os
import sys
import threading
from collections.abc import Mapping
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
    """One W&B run a run of ours, in its directory. Offline unless there is a key and a server that answers.

    No account, key, network or server stops a run: what is recorded offline can be sent later with ``wandb sync``.
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
            del os.environ["WANDB_MODE"]  # wandb takes no empty one
        mode = mode or os.environ.get("WANDB_MODE") or ("online" if _api_key_is_set() else "offline")
        if mode not in MODES:
            raise Refused(f"WANDB_MODE={mode}: expected one of {', '.join(MODES)}")
        if mode == "online" and not _answers(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")):
            mode = "offline"
            print(f"W&B's server does not answer: {OFFLINE}", file=sys.stderr)
        self.mode, self.checkpoints = mode, checkpoints
        self.surplus: list[dict[str, Any]] = []  # rows sent by an earlier life of this run, which may come again
        folder = Path(run_dir)
        earlier = sorted((folder / "wandb").glob("*run-*-*"))
        super().__init__(
            project=project,
            name=name or folder.name,
            save_dir=folder,
            id=earlier[-1].name.rpartition("-")[2] if earlier else None,
            entity=entity,
            group=group,
            tags=list(tags or []),
            mode=mode,
            # Rows reach the disk within a second, so that a killed run loses no more than that.
            settings=wandb.Settings(x_transaction_log_flush_interval=1.0, silent=True, init_timeout=10),
        )
        del wandb_arguments(self)["anonymous"]  # Lightning still passes what wandb has given up

    def log_hyperparams(self, params: Any) -> None:
        self.experiment.config.update(dict(params), allow_val_change=True)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if self.surplus and self.surplus[0].keys() - {"step"} == metrics.keys() and self.surplus[0]["step"] == step:
            del self.surplus[0]
            return
        self.surplus.clear()
        super().log_metrics(metrics, step)

    def log_histograms(self, values: Mapping[str, Any], step: int) -> None:
        """A histogram of each tensor's numbers, as far as they are finite."""
        import wandb

        if not self.surplus:
            numbers = {name: value[value.isfinite()].float().cpu().numpy() for name, value in values.items()}
            drawn: Any = {name: wandb.Histogram(value) for name, value in numbers.items()}
            super().log_metrics(drawn, step)

    @property
    def experiment(self) -> Any:
        """The W&B run; one that cannot be started online is started offline."""
        try:
            return super().experiment
        except Exception as error:
            if wandb_arguments(self)["mode"] != "online":
                raise
            print(f"W&B did not start ({str(error).splitlines()[0]}): {OFFLINE}", file=sys.stderr)
            self.mode = wandb_arguments(self)["mode"] = "offline"
            return super().experiment

    def log_report(self, report: Any) -> None:
        """What the report shows: the page, confusion matrix, worst mistakes, best figures. A failure is only told."""
        import warnings

        import wandb

        try:
            shown: dict[str, Any] = {"report": wandb.Html(str(report.path), inject=False)}
            for section in report.sections:
                shown |= section_media(section)
            self.experiment.log(shown)
            self.experiment.summary.update({f"best/{name}": value for name, value in report.best.items()})
        except Exception as error:
            warnings.warn(f"W&B did not take the report: {type(error).__name__}: {error}", stacklevel=2)

    def close(self, code: int) -> None:
        if wandb_started(self):
            if self.checkpoints:
                self._log_checkpoints()
            self.experiment.finish(exit_code=code)

    def _log_checkpoints(self) -> None:
        import wandb

        artifact = wandb.Artifact(f"model-{self.experiment.id}", type="model")
        artifact.add_dir(str(Path(str(self.save_dir)) / "checkpoints"))
        self.experiment.log_artifact(artifact)


def section_media(section: Any) -> dict[str, Any]:
    """A section of the report as W&B shows it: its confusion matrix, its table, its pictures."""
    import wandb

    shown: dict[str, Any] = {}
    if section.classes is not None:
        names, true, predicted = section.classes
        shown["confusion"] = wandb.plot.confusion_matrix(
            y_true=true, preds=predicted, class_names=list(names), title="Confusion matrix"
        )
    pictures = [
        wandb.Image(picture.image, caption=", ".join(line for line, _ in picture.lines)) for picture in section.pictures
    ]
    if section.table is not None:
        table = wandb.Table([*section.table.columns, *["picture"] * bool(pictures)])
        for k, row in enumerate(section.table.rows):
            table.add_data(*(cell.value for cell in row), *pictures[k : k + 1])
        shown[section.key] = table
    if pictures:  # a table's pictures wait for the upload outside the run directory; these lie in it
        shown[f"{section.key}/pictures"] = pictures
    return shown


def _api_key_is_set() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    try:
        return netrc.netrc().authenticators(host or "") is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _answers(url: str) -> bool:
    """Whether a server answers within a second: anything at all. In a thread, as a name look-up knows no time limit."""
    parts = urlsplit(url)
    answered = threading.Event()

    def ask() -> None:
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        try:
            connection = kind(parts.hostname or "", parts.port, timeout=PROBE_SECONDS)
            connection.request("HEAD", "/")
            connection.getresponse()
            answered.set()
        except (OSError, http.client.HTTPException):
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return answered.is_set()
