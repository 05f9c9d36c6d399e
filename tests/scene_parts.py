"""Small scenes that need no download: scikit-learn's digits of 8 × 8 pixels on pictures of 32 × 32."""

from functools import cache

from dlcourse.data.base import Split
from dlcourse.data.images import Digits
from dlcourse.data.scenes import Scenes

DATA = ["data._target_=tests.scene_parts.SmallScenes", "allow=[tests]", "data.shape=[1,32,32]"]
SIZES = ["data.n_samples=400", "data.n_test_samples=60"]
#: The words of a small run of each task on scenes.
MASKS = ["data=scene_masks", "model=unet", "model.channels=[4,8]", *DATA, *SIZES]
BOXES = ["data=scenes", "model=detector", "model.channels=[8,16,16]", *DATA, *SIZES]


class SmallScenes(Scenes):
    """Scenes of scikit-learn's digits, 0 … 16 made 0 … 255; the last fifth is for testing."""

    def digits(self) -> tuple[Split, Split]:
        return scaled()


@cache  # read once for all tests
def scaled() -> tuple[Split, Split]:
    (x, y), _ = Digits.arrays(None)  # type: ignore[arg-type]
    x = (x * (255 / 16)).byte()
    cut = 4 * len(x) // 5
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])
