"""Test a trained run, on its own data or another's: python scripts/evaluate.py run=RUN [data=… data.path=…]"""

import sys

from dlcourse.cli import guarded, parse_script_overrides, table


def evaluate(words: list[str]) -> int:
    overrides = parse_script_overrides(words, "run", groups=("data",))
    from dlcourse.runs.inference import test
    from dlcourse.runs.trained import restore

    cfg, model, data = restore(overrides.text("run"), overrides)
    table(test(cfg, model, data), data.note)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(evaluate))
