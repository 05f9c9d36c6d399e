"""A trained run as a file for other programs: python scripts/export.py run=RUN format=onnx"""

import sys

from dlcourse.cli import guarded, parse_script_overrides
from dlcourse.errors import Refused


def export(words: list[str]) -> int:
    given = parse_script_overrides(words, "run", "format")
    if given.text("format", "onnx") != "onnx":
        raise Refused(f"format={given.text('format')}: expected onnx")
    from dlcourse.data.fingerprint import changes
    from dlcourse.runs.directory import open_run
    from dlcourse.runs.export import TOLERANCE, export_onnx
    from dlcourse.runs.trained import restore

    path, _ = open_run(given.text("run"))
    _, model, data = restore(path, given)
    worst = export_onnx(model, data, path / "model.onnx")
    inputs = f"drawn inputs ({changed[0]})" if (changed := changes(data)) else "the test set"
    shape = ", ".join(map(str, model.example_input_array.shape[1:]))
    dtype = str(model.input_dtype).removeprefix("torch.")
    print(f"onnx: {path / 'model.onnx'}  (raw inputs x (batch, {shape}), {dtype})")
    print(f"largest difference from the model on {inputs}: {worst:.1e} (allowed {TOLERANCE:g})")
    print("values are compared in deviations; outputs above 1 relative to the largest")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(export))
