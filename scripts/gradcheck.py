"""Gradients against finite differences, layer by layer: python scripts/gradcheck.py model=cnn data=digits …

The words are those of train.py. 0: all agree; 1: the gradients of a layer are not those of its loss.
"""

import sys

from dlcourse.cli import guarded
from dlcourse.errors import Refused

ROWS = 16  # of the training set: the batch whose loss is differentiated
TOLERANCE = 1e-5


def gradcheck(words: list[str]) -> int:
    if {"--help", "-h"} & set(words):
        print(__doc__)
        return 0
    from dlcourse.config.gate import check_classes, compose_checked
    from dlcourse.config.overrides import Overrides

    composed = compose_checked(Overrides.parse(words))
    from tabulate import tabulate

    from dlcourse.measures.gradcheck import gradient_check
    from dlcourse.runs.building import build_seeded, quieten

    quieten()
    check_classes(composed.tree, composed.overrides.packages)
    data, model = build_seeded(composed)
    data.setup()
    model.standardise(data)
    checks = list(gradient_check(model, data.sets["train"].first(ROWS)))
    if not checks:
        raise Refused("no parameter gets a gradient: there is nothing to check")
    if model.frozen:
        print(f"no gradient reaches {', '.join(model.frozen)}")
    table = [(check.name, check.entries, f"{check.largest:.2e}", f"{check.error:.1e}") for check in checks]
    print(
        tabulate(table, headers=["parameter", "entries", "largest gradient", "relative error"], disable_numparse=True)
    )
    worst = max(checks, key=lambda check: check.error)
    agrees = worst.error <= TOLERANCE
    print(f"worst: {worst.error:.1e} of {worst.name}, {'within' if agrees else 'above'} {TOLERANCE:g}")
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(guarded(gradcheck))
