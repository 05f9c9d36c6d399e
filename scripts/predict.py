"""Print a prediction for each row or picture of a file or folder: python scripts/predict.py run=RUN input=FILE"""

import sys
from itertools import repeat
from pathlib import Path

from dlcourse.cli import guarded, parse_script_overrides
from dlcourse.errors import Refused


def predict(words: list[str]) -> int:
    given = parse_script_overrides(words, "run", "input")
    if "input" not in given:
        raise Refused("input=: which file or folder? (python scripts/predict.py run=RUN input=FILE)")
    path = Path(str(given.text("input")))
    if not path.exists():
        raise Refused(f"input={path}: there is no such file or folder")
    from dlcourse.data.picture import pictures_in
    from dlcourse.runs.inference import has_light_background, predictions
    from dlcourse.runs.trained import restore

    _, model, data = restore(given.text("run"), given)
    x = data.read(path)
    if count := int(has_light_background(model, data, x).sum()):
        print(
            f"{count} of {len(x)} pictures have a much lighter background than the training pictures; "
            "if those are light on dark, invert yours.",
            file=sys.stderr,
        )
    lines = predictions(model, x)
    for name, line in zip(pictures_in(path) if path.is_dir() else repeat(None), lines, strict=False):
        print(f"{name.name}\t{line}" if name else line)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(predict))
