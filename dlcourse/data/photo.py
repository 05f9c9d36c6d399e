"""A photo of one drawn sign, a digit on paper or a board, as the pictures of MNIST were made of scans.

Y. LeCun, C. Cortes and C. Burges scaled each digit into a box of 20 × 20 pixels, its proportions kept, and put its
centre of mass into the middle of 28 × 28.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from dlcourse.data.picture import upright_size
from dlcourse.data.picture_file import Conversion, pixels

LARGEST = 256  # of a side, in pixels, while the sign is looked for
BOX = 20 / 28  # of the side of the picture
LEAST = 30  # grey levels of 255 between ground and ink; less is noise, and there is no sign


def sign(path: str | Path, size: int) -> np.ndarray:
    """The sign of a picture file in the middle of (size, size), light on dark, float32 0 … 255; 0 where there is none.

    The ground is a plane of grey through the picture's edge, so that light from one side does no harm; the ink is what
    lies furthest from it, lighter or darker.
    """
    upright = upright_size(path)
    height, width = (max(1, round(side * min(1.0, LARGEST / max(upright)))) for side in upright)
    ink = _ink(pixels(path, (1, height, width), Conversion())[0].astype(np.float64))
    return _centred(_cropped(ink), size) if ink.any() else np.zeros((size, size), np.float32)


def _ink(grey: np.ndarray) -> np.ndarray:
    """How much ink is at each place, 0 … 255: 0 at the ground."""
    height, width = grey.shape
    down, right = np.mgrid[0:height, 0:width] / max(height, width)
    border = max(1, min(height, width) // 12)
    edge = np.ones(grey.shape, bool)
    edge[border:-border, border:-border] = False
    plane = np.stack([np.ones_like(grey), down, right], -1)
    factors = np.linalg.lstsq(plane[edge], grey[edge], rcond=None)[0]
    distance = plane @ factors - grey
    low, high = np.percentile(distance, [0.5, 99.5])
    found = distance if high >= -low else -distance
    full = np.percentile(found[found >= max(high, -low) / 2], 75) if max(high, -low) >= LEAST else 0.0
    if not full:
        return np.zeros_like(grey)
    return np.asarray((found / full).clip(0.25, 1) - 0.25) * (255 / 0.75)  # a quarter is the grain of the paper


def _cropped(ink: np.ndarray) -> np.ndarray:
    """The box around the sign: its largest part, and parts of a tenth of that; smaller ones are specks."""
    from scipy.ndimage import find_objects, label

    parts, count = label(ink > 127, np.ones((3, 3)))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    kept = [place for place, size in zip(find_objects(parts), sizes, strict=True) if size * 10 >= sizes.max()]
    top, left = (min(place[axis].start for place in kept) for axis in (0, 1))
    bottom, right = (max(place[axis].stop for place in kept) for axis in (0, 1))
    return ink[max(0, top - 1) : bottom + 1, max(0, left - 1) : right + 1]


def _centred(ink: np.ndarray, size: int) -> np.ndarray:
    """The sign scaled into the box, its centre of mass in the middle of the picture."""
    factor = BOX * size / max(ink.shape)
    height, width = (max(1, round(factor * side)) for side in ink.shape)
    small = np.asarray(Image.fromarray(ink.astype(np.float32)).resize((width, height), Image.Resampling.BOX))
    mass = small.sum()
    centre = (small.sum(1) @ np.arange(height) / mass, small.sum(0) @ np.arange(width) / mass)
    shown = np.zeros((3 * size, 3 * size), np.float32)
    top, left = (size + round((size - 1) / 2 - at) for at in centre)
    shown[top : top + height, left : left + width] = small
    return shown[size : 2 * size, size : 2 * size]
