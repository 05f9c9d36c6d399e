"""Test a trained run, on its own data or another's: python scripts/evaluate.py run=RUN [data=… data.path=…]"""

import sys

from dlcourse.cli import guarded, said, table


def evaluate(words: list[str]) -> int:
    run = said(words, "run", groups=("data",)).get("run")
    from dlcourse.runs.inference import test
    from dlcourse.runs.trained import restore

    cfg, model, data = restore(run, words)
    table(test(cfg, model, data), data.note)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(evaluate))
