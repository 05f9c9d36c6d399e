"""Within the tests Hydra reads a file of a configuration once, not for each of some two thousand compositions.

What is composed stays the same (tests/config/test_read_once.py); the processes that tests start read as any command.
"""

import pickle
from functools import cache
from pathlib import Path
from typing import Any

from hydra._internal import defaults_list
from hydra._internal.config_repository import ConfigRepository
from hydra.core.object_type import ObjectType
from omegaconf import _utils, base

read_anew = ConfigRepository.load_config
parse_anew = base.parse
map_of_every_file = defaults_list._create_interpolation_map


def read_files_once() -> None:
    """Half of a composition's time is that of reading; of the rest a quarter makes a map that few files ask for, and a
    fifth parses the same interpolations once more.
    """
    known: dict[tuple[Any, ...], bytes] = {}

    def load_config(self: ConfigRepository, config_path: str) -> Any:
        source = self._find_object_source(config_path, ObjectType.CONFIG)
        if source is None:
            return read_anew(self, config_path)
        file = Path(source.path, source._normalize_file_name(config_path))  # of Hydra's own, the name of a package
        state = (file.stat().st_mtime_ns, file.stat().st_size) if file.exists() else ()
        key = (file, source.provider, *state)
        if key not in known:
            known[key] = pickle.dumps(read_anew(self, config_path))
        return pickle.loads(known[key])  # compositions take its nodes for their own

    def interpolation_map(overrides: Any, defaults: list[Any], self_added: bool) -> Any:
        needed = any(entry.is_interpolation() for entry in defaults if not entry.is_self())
        return map_of_every_file(overrides, defaults, self_added) if needed else None

    ConfigRepository.load_config = load_config  # type: ignore[method-assign]
    defaults_list._create_interpolation_map = interpolation_map
    base.parse = _utils.parse = cache(parse_anew)


def read_files_anew() -> None:
    """As a command does it."""
    ConfigRepository.load_config = read_anew  # type: ignore[method-assign]
    defaults_list._create_interpolation_map = map_of_every_file
    base.parse = _utils.parse = parse_anew
