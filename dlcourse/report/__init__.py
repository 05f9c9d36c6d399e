"""The pages: of a run, of a sweep, of the course."""

from pathlib import Path
from typing import Any


def build_report(run_dir: Path, *known: Any) -> Any:
    """``page.build_report``; matplotlib and the rest are imported when the first page is built, after the training."""
    from dlcourse.report.page import build_report

    return build_report(run_dir, *known)
