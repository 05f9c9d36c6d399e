"""What a command imports and reads on its way, done once in the server from which the tests' processes are forked."""

import gc

gc.disable()  # while the imports create millions of permanent objects

import sklearn.datasets  # noqa: E402, F401
import tabulate  # noqa: E402, F401
import wandb  # noqa: E402, F401

import dlcourse.report.page  # noqa: E402
import dlcourse.report.sweep  # noqa: E402
import dlcourse.sweeps.preload  # noqa: E402, F401
import tests.faults.process  # noqa: E402, F401
from tests.composing import checked  # noqa: E402

gc.disable()
checked([])  # Hydra looks for its plugins, and its parsers get to know their grammar
gc.freeze()  # collections skip them, so no memory pages are copied after a fork
gc.enable()
