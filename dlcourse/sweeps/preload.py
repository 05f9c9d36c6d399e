"""What the processes of a sweep have in common: imported once, by the server from which they are forked."""

import gc

gc.disable()  # while millions of objects are made that stay

import dlcourse.data.images  # noqa: E402
import dlcourse.models.mlp  # noqa: E402
import dlcourse.runs.checkpoints  # noqa: E402
import dlcourse.runs.fit  # noqa: E402, F401

gc.freeze()  # no collection looks at them, and so none copies their pages after a fork
gc.enable()
