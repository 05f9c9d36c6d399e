"""How your own files would be read, and all that is wrong with them; trains nothing.

    python scripts/inspect_data.py data=table data.path=FILE data.target=COLUMN
    python scripts/inspect_data.py data=image_folder data.path=FOLDER
    python scripts/inspect_data.py data=huggingface data.path=FOLDER  # or a name of its hub
    python scripts/inspect_data.py clear=cache        # delete the pixels of large data that were kept

Takes the words of train.py. 0: they can be trained on; 2: they cannot, for the reasons that are printed.
"""

import sys
from pathlib import Path

from dlcourse.cli import guarded
from dlcourse.errors import CONFIG, Refused, printable

CLEAR = "clear=cache"


def main(words: list[str]) -> int:
    if {"--help", "-h"} & set(words):
        print(__doc__)
        return 0
    if CLEAR in words:
        return clear_cache([word for word in words if word != CLEAR])
    from dlcourse.config.compose import complete, compose_files
    from dlcourse.config.gate import check_overrides, facts_call
    from dlcourse.config.overrides import Overrides
    from dlcourse.data.facts import describe

    overrides = Overrides.parse(words)
    overrides.check_single()
    check_overrides(overrides)
    composed = compose_files(overrides)
    complete(composed)
    if "facts" not in composed.cfg.data:
        raise Refused(
            f"data={composed.choices['data']} reads no files of your own; say data=table data.path=FILE, or "
            "data=image_folder data.path=FOLDER"
        )
    reader, arguments = facts_call(composed.cfg, composed.choices["task"] if "task" in overrides else None)
    found = reader.inspect(**arguments)
    print(describe(found.described, found.values["said"]))
    if found.problems:
        print("\n".join(["", *map(printable, found.problems)]), file=sys.stderr)
        return CONFIG
    shape, outputs = " × ".join(map(str, found.values["shape"])), found.values["outputs"]
    print(f"\ntask={found.values['task']}: {outputs} output(s) from {shape} inputs; train.py reads it so")
    return 0


def clear_cache(words: list[str]) -> int:
    """Delete the pixels of large data that were kept; they are made again when they are needed."""
    from dlcourse.config.compose import compose
    from dlcourse.config.overrides import Overrides
    from dlcourse.data.cache import clear

    overrides = Overrides.parse(words)
    folder = compose(overrides if "data" in overrides else overrides.plus("data=image_folder")).cfg.data.get("cache")
    if folder is None:
        raise Refused(f"{CLEAR}: this data keeps nothing; say {CLEAR} alone, or with paths.data_dir=FOLDER")
    count, size = clear(Path(folder))
    print(f"{count} files deleted in {folder}, {size / 1e9:.2f} GB")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
