"""Imports shared by the processes of a sweep, done once in the server from which they are forked."""

import gc

gc.disable()  # while the imports create millions of permanent objects

import dlcourse.data.images  # noqa: E402
import dlcourse.models.mlp  # noqa: E402
import dlcourse.runs.checkpoints  # noqa: E402
import dlcourse.runs.fit  # noqa: E402, F401

gc.freeze()  # collections skip them, so no memory pages are copied after a fork
gc.enable()
