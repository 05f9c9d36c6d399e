"""A trained run as a file for other programs: python scripts/export.py run=RUN format=onnx"""

import sys

from dlcourse.cli import guarded, said
from dlcourse.errors import Refused


def export(words: list[str]) -> int:
    given = said(words, "run", "format")
    if given.get("format", "onnx") != "onnx":
        raise Refused(f"format={given['format']}: expected onnx")
    from dlcourse.runs.directory import open_run
    from dlcourse.runs.export import TOLERANCE, export_onnx
    from dlcourse.runs.trained import restore

    path, _ = open_run(given.get("run"))
    _, model, data = restore(path, words)
    worst = export_onnx(model, data, path / "model.onnx")
    print(f"onnx: {path / 'model.onnx'}  (raw inputs x (batch, {', '.join(map(str, data.shape))}), float32)")
    print(f"largest difference from the model on the test set: {worst:.1e} (allowed {TOLERANCE:g})")
    print("outputs above 1 are compared relative to the largest")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(export))
