"""How your own table would be read, and all that is wrong with it; trains nothing.

    python scripts/inspect_data.py data=table data.path=FILE data.target=COLUMN

Takes the words of train.py. 0: it can be trained on; 2: it cannot, for the reasons that are printed.
"""

import sys

from dlcourse.cli import guarded
from dlcourse.errors import CONFIG, Refused, printable


def main(words: list[str]) -> int:
    if {"--help", "-h"} & set(words):
        print(__doc__)
        return 0
    from dlcourse.config.compose import complete, compose_files
    from dlcourse.config.gate import check_overrides, facts_call
    from dlcourse.config.overrides import Overrides
    from dlcourse.data.facts import describe
    from dlcourse.data.table_facts import inspect_table, table_facts

    overrides = Overrides.parse(words)
    check_overrides(overrides)
    composed = compose_files(overrides)
    complete(composed)
    if "facts" not in composed.cfg.data:
        raise Refused(f"data={composed.choices['data']} is no table of your own; say data=table data.path=FILE")
    reader, arguments = facts_call(composed.cfg, composed.choices["task"] if "task" in overrides else None)
    if reader is not table_facts:
        raise Refused(f"data={composed.choices['data']} is no table; say data=table data.path=FILE")
    found = inspect_table(**arguments)
    print(describe(found.described, found.values["said"]))
    if found.problems:
        print("\n".join(["", *map(printable, found.problems)]), file=sys.stderr)
        return CONFIG
    inputs, task = found.values["shape"][0], found.values["task"]
    print(f"\ntask={task}: {found.values['outputs']} output(s) from {inputs} inputs; train.py reads it so")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
