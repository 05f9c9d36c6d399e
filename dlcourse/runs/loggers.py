"""The logger of ``logger=csv``."""

from typing import Any

from lightning.pytorch.loggers import CSVLogger


class Csv(CSVLogger):
    """Lightning's metrics.csv; its hparams.yaml, rewritten every hundred rows, only points to config.yaml."""

    def log_hyperparams(self, params: Any) -> None:  # type: ignore[override]
        super().log_hyperparams({"configuration": "config.yaml"})
