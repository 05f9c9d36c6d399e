"""Read files of pictures and arrays in the shape of the data."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dlcourse.data.folder_files import is_picture
from dlcourse.data.picture_file import Conversion, opened, pixels
from dlcourse.errors import Refused

IN_BYTES = Conversion()


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of a folder, by name, without hidden ones."""
    return sorted(file for file in folder.iterdir() if is_picture(file.name) and file.is_file())


def picture(path: str | Path, shape: Sequence[int], how: Conversion = IN_BYTES) -> Tensor:
    """A picture file as a tensor (C, H, W): upright by its EXIF tag, with the channels and size of ``shape``."""
    return torch.from_numpy(np.array(pixels(path, shape, how)))


def described(path: str | Path) -> str:
    """The channels, height and width of a picture file, as ``3, 32, 32``; ``no picture`` if it is unreadable."""
    try:
        with opened(path) as file:
            return f"{len(file.getbands())}, {file.height}, {file.width}"
    except Refused:
        return "no picture"


def upright_size(path: str | Path) -> tuple[int, int]:
    """Height and width of a readable picture file, upright by its EXIF tag."""
    from PIL import ImageOps

    with opened(path) as file:
        upright = ImageOps.exif_transpose(file)
        return upright.height, upright.width


def array(path: Path, shape: Sequence[int], dtype: torch.dtype = torch.float32, gaps: bool = False) -> Tensor:
    """The numbers (N, *shape) of a .npy file, or of one sample in it; with ``gaps`` some may be missing (NaN).

    Refused: others, or not finite.
    """
    try:
        x = torch.from_numpy(np.load(path, allow_pickle=False)).to(dtype)
    except (ValueError, TypeError, EOFError) as error:
        raise Refused(f"{path} holds no array of numbers ({error})") from None
    x = x[None] if tuple(x.shape) == tuple(shape) else x
    if tuple(x.shape[1:]) != tuple(shape):
        raise Refused(f"{path}: expected (N, {dims(shape)}), found {tuple(x.shape)}")
    finite = (~x.isinf() if gaps else x.isfinite()).flatten(1).all(1)
    if not bool(finite.all()):
        raise Refused(f"{path}: row {int((~finite).nonzero()[0])} is not finite; remove or fill it")
    return x


def dims(shape: Sequence[int]) -> str:
    """A shape as in messages: ``1, 28, 28``."""
    return ", ".join(map(str, shape))
