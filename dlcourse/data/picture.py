"""One picture from a file to the shape that the data has."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dlcourse.errors import Refused

SUFFIXES = (".png", ".jpg", ".jpeg")


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of a folder, by name."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)


def picture(path: str | Path, shape: Sequence[int]) -> Tensor:
    """One PNG or JPEG file, upright, converted to the channels and size of ``shape`` (C, H, W), uint8."""
    from PIL import Image, ImageOps

    channels, height, width = shape
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as file:
            upright = ImageOps.exif_transpose(file).convert("RGB" if channels == 3 else "L")
            pixels = np.array(upright.resize((width, height), Image.Resampling.BILINEAR))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Refused(f"{path} is no readable PNG or JPEG picture ({error}); replace or remove it") from error
    return torch.from_numpy(pixels).reshape(height, width, channels).permute(2, 0, 1)


def described(path: str | Path) -> str:
    """The channels, height and width of a picture file, as ``3, 32, 32``; of what is none, what ``picture`` refuses."""
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG", "JPEG")) as file:
            return f"{len(file.getbands())}, {file.height}, {file.width}"
    except (OSError, ValueError, SyntaxError):
        return "no picture"
