"""A line for each row or picture of a file or folder: python scripts/predict.py run=RUN input=FILE"""

import sys
from pathlib import Path

from dlcourse.cli import guarded, said
from dlcourse.errors import Refused


def predict(words: list[str]) -> int:
    given = said(words, "run", "input")
    if not given.get("input") or not Path(given["input"]).exists():
        raise Refused(f"input={given.get('input', '')}: there is no such file or folder")
    from dlcourse.inference import predictions
    from dlcourse.restore import restore

    _, model, data = restore(given.get("run"), words)
    for line in predictions(model, data, data.read(given["input"])):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(predict))
