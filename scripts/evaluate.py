"""Test a trained run, on its own data or another's: python scripts/evaluate.py run=RUN [data=… data.path=…]

allow_changed=true: also on files of your own that have changed since, though some of them may have been trained on.
"""

import sys

from dlcourse.cli import guarded, parse_script_overrides, table


def evaluate(words: list[str]) -> int:
    overrides = parse_script_overrides(words, "run", "allow_changed", groups=("data",))
    from dlcourse.runs.inference import test
    from dlcourse.runs.trained import restore

    cfg, model, data = restore(overrides.text("run"), overrides)
    data.allow_changed = overrides.flag("allow_changed")
    if data.fingerprint is None and data.own_files():
        print("the run is an older one: whether its files have changed since is not known", file=sys.stderr)
    table(test(cfg, model, data), data.note)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(evaluate))
