"""Pictures of a data set as Hugging Face's ``datasets`` writes it."""

from functools import cached_property
from pathlib import Path
from typing import Any

from dlcourse.data.hub import folder_of, located
from dlcourse.data.huggingface_rows import Sets, pictures, read_sets
from dlcourse.data.picture_sets import Given, PictureSets
from dlcourse.errors import Refused


class HuggingFacePictures(PictureSets):
    """The pictures of column ``image`` by the classes of column ``target``.

    PATH is a folder that ``save_to_disk`` wrote, a folder of Parquet files, or one of these; or the name of a data set
    of the hub, of which ``revision``, a commit, is ``fetched`` to a folder. The splits train, validation (val, valid)
    and test are the sets. ``dlcourse.data.huggingface_facts.huggingface_facts`` looks at the rows.
    """

    def __init__(self, *, path: str, image: str, target: str, revision: str | None, fetched: str, **facts: Any):
        super().__init__(path=path, **facts)
        self.image, self.target, self.revision, self.fetched = image, target, revision, Path(fetched)

    @cached_property
    def _sets(self) -> Sets:
        folder, _ = located(str(self.path), self.revision, self.fetched)
        return read_sets(folder, str(self.path), self.image, self.target)

    def setup(self, stage: str | None = None) -> None:
        """Fetch the commit where it is not there, as on another machine; load, check and split the data, once."""
        if not self.sets:
            located(str(self.path), self.revision, self.fetched)
        super().setup(stage)

    def own_files(self) -> dict[str, list[Path]]:
        """None of a commit, which cannot change. Refused: it is not there any more."""
        if self.revision is not None:
            if not folder_of(str(self.path), self.revision, self.fetched).is_dir():
                raise Refused(f"{self.path} at revision {self.revision} is not in {self.fetched} any more")
            return {}
        return {f"{self.path} ({part.split.name})": [*part.split.files] for part in self._sets.parts.values()}

    def given(self) -> dict[str, Given]:
        return {
            name: Given(
                pictures(part.split, self.image, str(self.path)),
                [str(each) for each in part.classes],
                part.split.files,
                (part.split.name, self.image),
            )
            for name, part in self._sets.parts.items()
        }
