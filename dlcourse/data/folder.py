"""A person's own pictures: a folder of class folders."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from dlcourse.data.base import Split
from dlcourse.data.folder_files import Listing, files_of_before, list_folder
from dlcourse.data.picture_sets import Given, PictureSets


class OwnPictures(PictureSets):
    """Pictures of the class folders in PATH, and of the folders below them.

    The folders train (training), val (valid, validation) and test (testing) are the sets, where they hold classes.
    ``dlcourse.data.folder_facts.folder_facts`` looks at the files. ``as_before``: the files and pixels that runs of
    before read.
    """

    def __init__(self, *, as_before: bool = False, **facts: Any):
        super().__init__(**facts)
        self.as_before = as_before

    @cached_property
    def _listing(self) -> Listing:
        return list_folder(self.path)

    def own_files(self) -> dict[str, list[Path]]:
        return self._listing.by_folder(self.path)

    def given(self) -> dict[str, Given]:
        sets = {"train": files_of_before(self.path)} if self.as_before else self._listing.sets
        return {part: _given(classes) for part, classes in sets.items()}

    def _apart(self, found: Mapping[str, tuple[Tensor, Tensor, Tensor]]) -> tuple[Split, Split | None]:
        return (found["train"][:2], None) if self.as_before else super()._apart(found)


def _given(classes: Mapping[str, Sequence[Path]]) -> Given:
    files = [file for group in classes.values() for file in group]
    return Given(files, [name for name, group in classes.items() for _ in group], files)
