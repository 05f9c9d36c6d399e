"""The HTML reports of a run, a sweep and the course."""

from pathlib import Path
from typing import Any


def build_report(run_dir: Path, *results: Any) -> Any:
    """``page.build_report``, with matplotlib imported only when the first report is built, after training."""
    from dlcourse.report.page import build_report

    return build_report(run_dir, *results)
