"""A person's own pictures, as files and as pixels."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import dlcourse
from dlcourse.data.folder_facts import folder_facts, inspect_folder
from dlcourse.data.folder_files import list_folder
from dlcourse.data.picture import picture, pictures_in
from dlcourse.data.picture_file import Conversion, examine, pixels
from dlcourse.errors import Refused
from scripts.inspect_data import main as inspect_data
from tests.composing import checked
from tests.faults.picture_files import packed, png, saved, tiff
from tests.refusing import refusal

TASKS = {"two": "binary", "classes": "classification"}


@pytest.fixture
def photos(tmp_path):
    """Three classes of plain colours, of several sizes and formats."""
    for name, colour in {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        for n in range(10):
            image = Image.new("RGB", (20 + n, 15), tuple(max(part - 4 * n, 0) for part in colour))
            image.save(tmp_path / "photos" / name / (f"{n}.png" if n % 2 else f"{n}.JPG"), "PNG" if n % 2 else "JPEG")
    return tmp_path / "photos"


def test_image_folder(load, photos):
    data = load("image_folder", path=str(photos), size=12)
    (x, y), test = data.arrays()
    assert x.shape == (30, 3, 12, 12) and x.dtype == torch.uint8 and test is None
    assert data.classes == ["blue", "green", "red"] and y.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    assert (x.float().mean((2, 3)).argmax(1) == 2 - y).all()
    data.setup()
    assert len(data.sets["test"]) == 6


def test_image_folder_in_grey_and_binary(load, photos, tmp_path):
    for file in (photos / "red").iterdir():
        file.unlink()
    (photos / "red").rmdir()
    data = load("image_folder", path=str(photos), size=8, channels=1, task="binary")
    (x, y), _ = data.arrays()
    assert x.shape == (20, 1, 8, 8) and y.shape == (20,) and data.outputs == 2 and data.task.outputs == 1


@pytest.mark.parametrize("task", ["foo", "regression", "values"])
def test_an_image_folder_is_offered_only_the_tasks_of_its_classes(photos, task):
    words = ["data=image_folder", f"data.path={photos}", f"data.task={task}"]
    assert refusal(checked, words) == f"data.task={task} must be one of binary, classification, or left out"


@pytest.mark.parametrize(
    ("content", "fault"),
    [(b"", "is empty"), (b"hello", "is no picture that is read"), (None, "is a picture that is cut off")],
)
def test_an_unreadable_picture_is_refused_by_name(load, photos, content, fault):
    data = load("image_folder", path=str(photos))
    bad = photos / "green" / "0.JPG"
    bad.write_bytes(bad.read_bytes()[:200] if content is None else content)
    assert f"green/0.JPG {fault}" in refusal(data.arrays)
    assert f"green/0.JPG {fault}" in refusal(checked, ["data=image_folder", f"data.path={photos}"])


def test_a_class_the_run_does_not_know_is_refused(load, photos):
    data = load("image_folder", path=str(photos))
    data.classes = ["blue", "green"]
    with pytest.raises(Refused, match="the class red is unknown; known: blue, green"):
        data.arrays()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK"])
def test_pictures_are_converted(tmp_path, mode):
    file = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    Image.new("RGB", (6, 4), "white").convert(mode).save(file)
    for channels in (1, 3):
        out = picture(file, (channels, 5, 7))
        assert out.shape == (channels, 5, 7) and out.dtype == torch.uint8 and out.min() > 250


def test_pictures_stand_upright(tmp_path):
    image = Image.fromarray(np.array([[0, 255], [0, 255]], np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by the camera
    image.save(tmp_path / "x.png", exif=exif)
    assert picture(tmp_path / "x.png", (1, 2, 2))[0].tolist() == [[0, 0], [255, 255]]


def stripes(n: int = 24, size: int = 12) -> dict[str, list[np.ndarray]]:
    """Grey pictures of two classes, stripes across and down, each with its own noise: 0 … 255."""
    draw = np.random.default_rng(0)
    across = np.where(np.arange(size) % 4 < 2, 200, 40)[:, None].repeat(size, 1)
    noisy = [(across + draw.integers(0, 50, (size, size))).astype(np.uint8) for _ in range(2 * n)]
    return {"h": noisy[:n], "v": [each.T.copy() for each in noisy[n:]]}


def write(folder: Path, save, suffix: str = "png") -> Path:
    """A picture for each of `stripes`, as ``save`` makes it of the array."""
    for name, arrays in stripes().items():
        (folder / name).mkdir(parents=True)
        for k, values in enumerate(arrays):
            save(values).save(folder / name / f"{k:02}.{suffix}")
    return folder


def wide(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values.astype(np.uint16) * 257)


def real(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values.astype(np.float32) / 255)


def clear(values: np.ndarray, colour: int = 0) -> Image.Image:
    """Of one colour, as opaque as the values are high."""
    rgba = np.full((*values.shape, 4), colour, np.uint8)
    rgba[..., 3] = values
    return Image.fromarray(rgba)


@pytest.mark.parametrize("suffix", ["png", "webp", "bmp", "tif", "tiff", "gif"])
def test_every_format_gives_the_same_pixels(load, tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    for name, arrays in stripes(4).items():
        (tmp_path / name).mkdir()
        for k, values in enumerate(arrays):
            Image.fromarray(values).save(tmp_path / name / f"{k}.{suffix.upper()}", **options)
    (x, _), _ = load("image_folder", path=str(tmp_path), size=12, channels=1).arrays()
    assert x.dtype == torch.uint8 and torch.equal(x[:, 0], torch.from_numpy(np.stack(sum(stripes(4).values(), []))))


def test_the_first_frame_of_a_gif_is_read(load, tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        frames = [Image.new("L", (4, 4), grey) for grey in (9, 200)]
        frames[0].save(tmp_path / name / "1.gif", save_all=True, append_images=frames[1:])
    data = load("image_folder", path=str(tmp_path), size=4)
    assert "of 2 files with several pictures, the first is read" in data.described
    assert data.arrays()[0][0].unique().tolist() == [9]


@pytest.mark.parametrize(
    ("save", "suffix", "dtype", "white"),
    [(wide, "png", torch.int32, 65535), (wide, "tif", torch.int32, 65535), (real, "tif", torch.float32, 1)],
)
def test_deep_pictures_keep_their_values(load, tmp_path, save, suffix, dtype, white):
    data = load("image_folder", path=str(write(tmp_path / "deep", save, suffix)), size=6, channels=1)
    (x, _), _ = data.arrays()
    twins = load("image_folder", path=str(write(tmp_path / "twins", Image.fromarray)), size=6, channels=1)
    (bytes_, _), _ = twins.arrays()
    assert x.dtype == dtype and data.white == white
    assert torch.allclose(x.double() / white, bytes_.double() / 255, atol=1.01 / 255)  # bytes are rounded twice
    assert f"white is {white}" in data.described
    data.setup()
    assert torch.isfinite(data.std).all()


def test_twelve_bits_are_told_by_the_highest_value(load, tmp_path):
    data = load("image_folder", path=str(write(tmp_path, lambda v: Image.fromarray(v.astype(np.uint16) * 16))), size=12)
    assert data.white == 4095 and data.arrays()[0][0].max() > 255


def test_bytes_beside_deep_pictures_are_scaled_to_them(tmp_path):
    deep, shallow = tmp_path / "deep.png", tmp_path / "shallow.png"
    wide(np.array([[0, 100], [200, 255]], np.uint8)).save(deep)
    Image.fromarray(np.array([[0, 100], [200, 255]], np.uint8)).save(shallow)
    shape, in_ints = (3, 2, 2), Conversion("white", 65535, "int32")
    assert np.array_equal(pixels(deep, shape, in_ints), pixels(shallow, shape, in_ints))
    assert np.array_equal(pixels(deep, shape, Conversion()), pixels(shallow, shape, Conversion()))


@pytest.mark.parametrize(("colour", "ground"), [(0, "white"), (250, "black")])
def test_transparent_pictures_are_laid_on_what_they_are_seen_on(load, tmp_path, colour, ground):
    data = load("image_folder", path=str(write(tmp_path / "clear", lambda v: clear(v, colour))), size=12, channels=1)
    assert f"48 transparent pictures are laid on {ground} (data.ground)" in data.described
    (x, _), _ = data.arrays()
    alpha = torch.from_numpy(np.stack(sum(stripes().values(), [])))[:, None].double() / 255
    expected = alpha * colour + (1 - alpha) * (255 if ground == "white" else 0)
    assert (x.double() - expected).abs().max() <= 1
    file = tmp_path / "new.png"  # a prediction does as training did, even if it would be judged otherwise by itself
    clear(np.full((12, 12), 0, np.uint8), 255 - colour).save(file)
    assert data.read(file).unique().tolist() == [255 if ground == "white" else 0]
    assert load("image_folder", path=str(tmp_path / "clear"), ground="black").conversion.ground == "black"


@pytest.mark.parametrize("save", [wide, clear])
def test_deep_and_transparent_pictures_are_learned(tmp_path, save):
    path = write(tmp_path / "pictures", save)
    words = ["data=image_folder", f"data.path={path}", "data.size=12", "data.channels=1", "optimizer.lr=0.01"]
    quiet = ["logger=none", "callbacks=none", f"run_dir={tmp_path / 'run'}", "trainer.max_epochs=10"]
    run = dlcourse.run(*words, *quiet)
    assert run.metrics["test/acc"] == 1
    page = (tmp_path / "run" / "report.html").read_text()
    assert "keep their values" in page if save is wide else "laid on white" in page


def test_a_run_of_before_reads_pixels_as_it_did(tmp_path):
    clear(np.array([[0, 255]], np.uint8)).save(tmp_path / "clear.png")
    wide(np.array([[0, 9]], np.uint8)).save(tmp_path / "wide.png")
    assert pixels(tmp_path / "clear.png", (1, 1, 2), Conversion(None)).tolist() == [[[0, 0]]]
    assert pixels(tmp_path / "wide.png", (1, 1, 2), Conversion(None)).tolist() == [[[0, 255]]]


def test_what_is_left_out_is_counted_and_named(photos):
    (photos / "red" / "night").mkdir()
    for name in ("red/.DS_Store", "red/night/notes.txt", "blue/a.heic", "readme.md"):
        (photos / name).write_bytes(b"x")
    Image.new("RGB", (5, 5)).save(photos / "red" / "night" / "1.webp")
    found = inspect_folder(str(photos), 8, 3, TASKS)
    assert not found.problems
    said = "\n".join(found.values["said"])
    assert "left out, as hidden: 1 (red/.DS_Store)" in said
    assert "left out, as no PNG, JPEG, WebP, BMP, TIFF or GIF file: 2 (blue/a.heic, night/notes.txt)" in said
    assert "left out, as beside the folders of classes: 1" in said and "readme.md" in said
    assert [row["pictures"] for row in found.described] == [10, 10, 11]


def test_a_class_folder_may_begin_with_underscores(load, photos):
    (photos / "red").rename(photos / "__background__")
    data = load("image_folder", path=str(photos))
    assert data.classes == ["__background__", "blue", "green"] and "left out" not in data.described


def test_the_pictures_of_a_folder_that_is_left_out_are_counted_and_named(divided):
    path = Path(divided("train", "test"))
    for name in ("__MACOSX/train/h", "train/h/.old", "more/below"):
        (path / name).mkdir(parents=True)
        for n in range(2):
            Image.new("RGB", (5, 5)).save(path / name / f"{n}.png")
    (path / "empty").mkdir()
    (path / "loop").symlink_to(path)
    assert list_folder(path).said[1:] == [
        "left out, as hidden: 4 (h/0.png, h/1.png, .old/0.png, …)",
        "left out, as beside the folders of sets: 4 (sets/empty, sets/loop, below/0.png, …)",
    ]


def test_pictures_below_a_class_folder_are_of_that_class(load, photos):
    for name in ("one", "two/three"):
        (photos / "red" / name).mkdir(parents=True)
        Image.new("RGB", (5, 5), (255, 0, 0)).save(photos / "red" / name / "1.png")
    (photos / "red" / "loop").symlink_to(photos)
    (x, y), _ = load("image_folder", path=str(photos), size=4).arrays()
    assert len(x) == 32 and y.tolist().count(2) == 12


def test_every_broken_file_is_a_problem_with_its_fault(photos):
    (photos / "red" / "1.png").write_bytes(b"")
    (photos / "red" / "3.png").write_bytes((photos / "red" / "5.png").read_bytes()[:60])
    (photos / "blue" / "0.JPG").write_bytes(b"hello, this is text")
    (photos / "grey").mkdir()
    problems = inspect_folder(str(photos), 8, 3, TASKS).problems
    assert len(problems) == 4 and all(str(photos) in problem for problem in problems)
    for words in ("grey holds no pictures", "1.png is empty", "3.png is a picture that is cut off", "is no picture"):
        assert sum(words in problem for problem in problems) == 1, problems
    with pytest.raises(Refused, match="grey holds no pictures"):
        folder_facts(str(photos), 8, 3, TASKS)


@pytest.fixture
def divided(tmp_path):
    """Two classes in train, valid and test: 24, 6 and 10 pictures of each."""

    def build(*names: str) -> str:
        for name, arrays in stripes(40).items():
            rest = iter(arrays)
            for part, count in (("train", 24), ("valid", 6), ("test", 10)):
                for k in range(count):
                    image = Image.fromarray(next(rest))
                    if part in names:
                        (tmp_path / "sets" / part / name).mkdir(parents=True, exist_ok=True)
                        image.save(tmp_path / "sets" / part / name / f"{k:02}.png")
        return str(tmp_path / "sets")

    return build


def test_folders_of_sets_are_the_sets(load, divided):
    data = load("image_folder", path=divided("train", "valid", "test"), size=12, channels=1)
    data.setup()
    assert {name: len(rows) for name, rows in data.sets.items()} == {"train": 48, "val": 12, "test": 20}
    assert data.classes == ["h", "v"] and data.note is None
    assert "the sets are the folders train, valid, test\n" in data.described
    assert "24 train, 6 val, 10 test" in data.described
    assert torch.equal(data.sets["test"].x[:10, 0], torch.from_numpy(np.stack(stripes(40)["h"][30:])))


@pytest.mark.parametrize(
    ("parts", "sizes", "said"),
    [
        (("train", "test"), {"train": 44, "val": 4, "test": 20}, "validation is cut from training"),
        (("train", "valid"), {"train": 38, "val": 12, "test": 10}, "the test set is cut from training"),
    ],
)
def test_a_set_that_is_not_given_is_cut_from_training(load, divided, parts, sizes, said):
    data = load("image_folder", path=divided(*parts), size=12, channels=1)
    data.setup()
    assert {name: len(rows) for name, rows in data.sets.items()} == sizes and said in data.described


@pytest.mark.parametrize("beside", ["car", "test"])
def test_a_class_may_be_called_train(load, photos, beside):
    """Beside ``test`` too, while it holds no folders."""
    (photos / "red").rename(photos / "train")
    (photos / "green").rename(photos / beside)
    assert load("image_folder", path=str(photos)).classes == sorted(["blue", beside, "train"])


def test_a_class_called_train_may_hold_folders(load, photos):
    (photos / "red").rename(photos / "steam")
    (photos / "train").mkdir()
    (photos / "steam").rename(photos / "train" / "steam")
    assert load("image_folder", path=str(photos)).classes == ["blue", "green", "train"]


@pytest.mark.parametrize("part", ["valid", "test"])
def test_pictures_of_a_set_without_class_folders_are_a_problem(divided, part):
    path = Path(divided("train", part))
    for name in "hv":
        for file in (path / part / name).iterdir():
            file.rename(path / part / f"{name}{file.name}")
        (path / part / name).rmdir()
    found = inspect_folder(str(path), 8, 3, TASKS)
    assert found.values["classes"] == ["h", "v"]
    assert found.problems == [
        f"{path / part} has no class folders; move its pictures into these, or the folder out of {path}"
    ]


def test_sets_without_a_class_in_common_are_a_problem(divided):
    path = Path(divided("train", "valid"))
    for old, new in (("h", "kitten"), ("v", "puppy")):
        (path / "valid" / old).rename(path / "valid" / new)
    problems = inspect_folder(str(path), 8, 3, TASKS).problems
    assert len(problems) == 2 and all("training has no class of that name" in problem for problem in problems)


def test_sets_with_other_classes_are_a_problem(divided):
    path = Path(divided("train", "test"))
    (path / "test" / "v").rename(path / "test" / "w")
    problems = inspect_folder(str(path), 8, 3, TASKS).problems
    assert len(problems) == 2 and "test/w: training has no class of that name" in problems[0]
    assert "test has no folder v" in problems[1]


def test_equal_pictures_are_in_one_set(load, tmp_path):
    """Whatever their format; of a hundred pictures, each class has thirty that are there twice."""
    for name, arrays in stripes(50).items():
        (tmp_path / name).mkdir()
        for k, values in enumerate(arrays):
            Image.fromarray(values).save(tmp_path / name / f"{k:02}.png")
            if k < 30:
                Image.fromarray(values).save(tmp_path / name / f"{k:02}.bmp")
    data = load("image_folder", path=str(tmp_path), size=12, channels=1)
    data.setup()
    assert "60 pictures repeat the pixels of another and are in its set" in data.note
    keys = {name: {*data.keys[rows.index].tolist()} for name, rows in data.sets.items()}
    assert sum(map(len, keys.values())) == 100 == len(set.union(*keys.values()))
    before = {*data.keys[data.sets["test"].index].tolist()}
    Image.new("L", (12, 12), 3).save(tmp_path / "h" / "new.png")
    again = load("image_folder", path=str(tmp_path), size=12, channels=1)
    again.setup()
    assert len(before - {*again.keys[again.sets["test"].index].tolist()}) <= 1


def test_a_picture_of_two_sets_is_left_out_of_training(load, divided):
    path = Path(divided("train", "valid", "test"))
    (path / "train" / "h" / "copy.png").write_bytes((path / "test" / "h" / "00.png").read_bytes())
    (path / "train" / "v" / "copy.png").write_bytes((path / "valid" / "v" / "00.png").read_bytes())
    (path / "valid" / "h" / "copy.png").write_bytes((path / "test" / "h" / "01.png").read_bytes())
    (path / "train" / "h" / "again.png").write_bytes((path / "train" / "v" / "00.png").read_bytes())
    data = load("image_folder", path=str(path), size=12, channels=1)
    data.setup()
    assert {name: len(rows) for name, rows in data.sets.items()} == {"train": 49, "val": 12, "test": 20}
    assert "2 training pictures are left out, a later set has them too" in data.note
    assert "1 validation pictures are left out" in data.note and "1 pictures are in two classes" in data.note
    assert "4 files are the same as another" in "\n".join(inspect_folder(str(path), 8, 3, TASKS).values["said"])


@pytest.mark.parametrize(
    ("resize", "said"),
    [("squeeze", "squeezed"), ("pad", "padded with white"), ("crop", "cropped to their middle")],
)
@pytest.mark.parametrize("deep", [False, True])
def test_pictures_that_are_not_square(load, tmp_path, resize, said, deep):
    """Four times as wide as high: three quarters of a padded one are ground."""
    values = np.full((4, 16), 90, np.uint8)
    values[:, :2] = 30  # cropped away
    for name in "ab":
        (tmp_path / name).mkdir()
        (wide if deep else Image.fromarray)(values).save(tmp_path / name / "1.png")
        (wide if deep else Image.fromarray)(values[:, 4:8]).save(tmp_path / name / "2.png")
    data = load("image_folder", path=str(tmp_path), size=8, channels=1, resize=resize)
    assert f"2 of 4 pictures are not square and are {said}" in data.described
    (x, _), _ = data.arrays()
    found = x[0, 0].double() * 255 / data.white
    assert x[1].unique().tolist() == [90 * data.white / 255]
    if resize == "squeeze":
        assert found[:, 0].max() < 60 and found[:, 3:].unique().tolist() == [90]
    elif resize == "crop":
        assert found.unique().tolist() == [90]
    else:
        assert found[[0, 1, 2, 5, 6, 7]].unique().tolist() == [255] and found[3:5, 4:].unique().tolist() == [90]
    assert torch.equal(data.read(tmp_path / "a" / "1.png"), x[:1].float())


def test_an_unknown_way_to_resize_is_refused(photos):
    words = ["data=image_folder", f"data.path={photos}", "data.resize=stretch"]
    assert refusal(checked, words) == "data.resize=stretch must be one of squeeze, pad, crop"


def test_inspect_data_prints_what_would_be_read_and_all_that_is_wrong(photos, capsys):
    words = ["data=image_folder", f"data.path={photos}", "data.size=16"]
    (photos / "red" / "notes.txt").write_text("x")
    assert inspect_data(words) == 0
    out = capsys.readouterr().out
    for said in ("blue", "5 JPEG, 5 PNG", "20 × 15 … 29 × 15", "8 bits", "30 of 30 pictures are not square"):
        assert said in out, out
    assert "left out, as no PNG" in out and "(red/notes.txt)" in out
    assert "task=classification: 3 output(s) from 3 × 16 × 16 inputs" in out
    (photos / "red" / "1.png").write_bytes(b"")
    (photos / "blue" / "3.png").write_bytes((photos / "blue" / "5.png").read_bytes()[:60])
    assert inspect_data(words) == 2
    found = capsys.readouterr()
    assert "1.png is empty" in found.err and "3.png is a picture that is cut off" in found.err
    assert "5 JPEG, 4 PNG" in found.out and "output(s)" not in found.out


def test_inspect_data_names_what_it_reads():
    assert "data=table data.path=FILE, or data=image_folder data.path=FOLDER" in refusal(inspect_data, ["data=digits"])


@pytest.mark.parametrize("kind", ["<u2", ">u2", "u1"])
def test_a_turned_tiff_file_stands_upright(tmp_path, kind):
    """Not a square, in one uncompressed strip, which Pillow maps into memory."""
    values = np.arange(6).reshape(2, 3)
    tags = {258: 8 * np.dtype(kind).itemsize, 274: 6}
    (tmp_path / "1.tif").write_bytes(tiff([values.astype(kind).tobytes()], (2, 3), tags, kind[0].replace("u", "<")))
    how = Conversion(dtype=examine(tmp_path / "1.tif").dtype)
    assert pixels(tmp_path / "1.tif", (1, 3, 2), how)[0].tolist() == [[3, 0], [4, 1], [5, 2]]


def in_tiff(path: Path, values, bits: int = 32, **more: int) -> Path:
    """A row of whole numbers, with a sign unless ``form`` is 1."""
    strip = np.array(values).astype(f"<i{bits // 8}").tobytes()
    tags = {258: bits, 339: more.get("form", 2), 262: more.get("white_is", 1)}
    path.write_bytes(tiff([strip], (1, len(values)), tags))
    return path


def test_whole_numbers_keep_every_digit(tmp_path):
    values = [2**31 - 1, 2**24 + 1, 0, -5]
    path = in_tiff(tmp_path / "1.tif", values)
    assert examine(path).highest == 2**31 - 1
    assert pixels(path, (3, 1, 4), Conversion(dtype="int32"))[:, 0].tolist() == [values] * 3
    one = pixels(in_tiff(path, values[:1]), (1, 2, 2), Conversion(dtype="int32"))  # enlarged
    assert one.min() == 2**31 - 1


def test_white_may_be_zero_in_a_deep_tiff_file(tmp_path):
    path = in_tiff(tmp_path / "1.tif", [0, 1, 65535], 16, form=1, white_is=0)
    assert examine(path).highest == 65535
    assert pixels(path, (1, 1, 3), Conversion(dtype="int32")).tolist() == [[[65535, 65534, 0]]]


def test_white_of_sixteen_bits_with_a_sign_has_fifteen(tmp_path):
    path = in_tiff(tmp_path / "1.tif", [0, 32767], 16)
    assert examine(path).bits == "16 bits"
    assert pixels(path, (1, 1, 2), Conversion(white=1, dtype="float32")).tolist() == [[[0, 1]]]


def test_values_that_cannot_be_kept_are_refused(tmp_path):
    path = in_tiff(tmp_path / "1.tif", [2**31, 5], form=1)
    assert "1.tif holds a value beyond 2,147,483,647" in examine(path).fault
    Image.fromarray(np.array([[0, np.nan]], np.float32)).save(path)
    assert "1.tif holds a value that is not finite" in examine(path).fault
    path.write_bytes(png(np.array([[[7], [300]]]), 16, 0, [(b"tRNS", b"\0\7")]))
    assert "1.tif has 16 bits and a transparent value" in examine(path).fault


@pytest.mark.parametrize(("bits", "colour"), [(1, 0), (2, 0), (4, 0), (8, 0), (8, 2), (16, 2)])
def test_one_value_may_be_transparent(tmp_path, bits, colour):
    high = 2**bits - 1
    samples = np.array([[[0], [1], [high]]]).repeat(colour + 1, 2)
    clear = packed(samples[0, 1], 16, ">")
    (tmp_path / "1.png").write_bytes(png(samples, bits, colour, [(b"tRNS", clear)]))
    ground = "black" if bits == 1 else "white"  # where 1 is white itself
    found = pixels(tmp_path / "1.png", (3, 1, 3), Conversion(ground))
    assert found[:, 0].tolist() == [[0 if bits < 16 else 255, 255 if ground == "white" else 0, 255 * (bits > 1)]] * 3


def test_a_line_keeps_a_pixel_when_it_is_padded(tmp_path):
    Image.new("L", (100, 2), 90).save(tmp_path / "1.png")
    found = pixels(tmp_path / "1.png", (1, 16, 16), Conversion(resize="pad"))
    assert sorted(np.unique(found)) == [90, 255] and (found == 90).sum() == 16


@pytest.mark.filterwarnings("error")  # a refusal is all of stderr
@pytest.mark.parametrize("form", ["GIF", "PNG", "BMP", "TIFF", "WEBP", "JPEG"])
def test_a_picture_that_is_cut_off_anywhere_is_refused_or_whole(tmp_path, form):
    image = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    content, path = saved(image, form), tmp_path / "1.png"
    path.write_bytes(content)
    whole = pixels(path, (1, 16, 16), Conversion())
    for count in range(len(content)):
        path.write_bytes(content[:count])
        if not examine(path, whole=True).fault:
            assert np.array_equal(pixels(path, (1, 16, 16), Conversion()), whole), count


def test_colours_in_two_bytes_are_not_of_16_bits_each(tmp_path):
    head = b"BM" + np.array([62, 0, 54, 40, 2, 1], "<u4").tobytes() + np.array([1, 16], "<u2").tobytes()
    (tmp_path / "1.bmp").write_bytes(head + bytes(24) + np.array([31, 31 << 10], "<u2").tobytes() + bytes(4))
    found = examine(tmp_path / "1.bmp", whole=True)
    assert (found.fault, found.bits, found.cut_to_8_bits) == ("", "8 bits", False)
    assert pixels(tmp_path / "1.bmp", (3, 1, 2), Conversion()).tolist() == [[[0, 255]], [[0, 0]], [[255, 0]]]


def test_a_name_of_several_lines_is_told_in_one(photos):
    (photos / "red" / "1.png").rename(photos / "red" / "a\nb\nc\nd.png")
    (photos / "red" / "a\nb\nc\nd.png").write_bytes(b"")
    (photos / "x\ny\nz").mkdir()
    (photos / "red" / "p\nq").write_bytes(b"")
    found = inspect_folder(str(photos), 8, 3, TASKS)
    assert len(found.problems) == 2 and not [each for each in [*found.problems, *found.values["said"]] if "\n" in each]
    assert r"x\ny\nz holds no pictures" in refusal(folder_facts, str(photos), 8, 3, TASKS)


def test_a_class_whose_name_is_no_text_is_refused(photos):
    (photos / "red").rename(photos / "M\udcfcll")  # Latin 1
    assert r"the folder M\udcfcll is no UTF-8; rename it" in refusal(folder_facts, str(photos), 8, 3, TASKS)


def test_training_and_testing_are_names_of_sets(load, divided):
    path = Path(divided("train", "test"))
    (path / "train").rename(path / "training")
    (path / "test").rename(path / "Testing")
    data = load("image_folder", path=str(path), size=12, channels=1)
    assert data.classes == ["h", "v"] and "the sets are the folders training, Testing" in data.described


def test_a_link_to_a_folder_above_is_neither_a_class_nor_holds_pictures(photos, divided):
    (photos / "all").symlink_to(photos)
    listing = list_folder(photos)
    assert [*listing.sets["train"]] == ["blue", "green", "red"] and sum(map(len, listing.left_out.values())) == 1
    path = Path(divided("train", "test"))
    (path / "train" / "h" / "all").symlink_to(path / "train")
    (path / "test" / "again").symlink_to(path)
    listing = list_folder(path)
    assert {name: [*map(len, group.values())] for name, group in listing.sets.items()} == {
        "train": [24, 24],
        "test": [10, 10],
    }
    assert sorted(file.name for files in listing.left_out.values() for file in files) == ["again", "all"]


def test_a_set_whose_pictures_are_all_in_a_later_one_is_refused(load, divided):
    path = Path(divided("train", "valid", "test"))
    for name in "hv":
        for k, file in enumerate(sorted((path / "valid" / name).iterdir())):
            file.write_bytes((path / "test" / name / f"{k:02}.png").read_bytes())
    data = load("image_folder", path=str(path), size=12, channels=1)
    assert f"{path}: every validation picture is in a later set too" in refusal(data.arrays)


def test_a_validation_folder_without_pictures_is_a_problem(divided):
    path = Path(divided("train", "valid"))
    for file in [*path.glob("valid/*/*")]:
        file.unlink()
    problems = inspect_folder(str(path), 8, 3, TASKS).problems
    assert len(problems) == 2 and f"{path / 'valid' / 'h'} holds no pictures" in problems[0]


def test_a_set_that_cannot_be_cut_says_what_to_add(load, divided):
    """Of each class one picture is in training: a share of it that validates leaves none."""
    path = Path(divided("train", "test"))
    for file in path.glob("train/*/*"):
        if file.name != "00.png":
            file.unlink()
    data = load("image_folder", path=str(path), size=12, channels=1)
    assert "the val set is empty; add different rows of a class, or raise data.val_fraction=0.1" in refusal(data.setup)


def test_hidden_files_and_pipes_are_not_predicted(photos):
    (photos / "red" / "._1.png").write_bytes(b"x")
    os.mkfifo(photos / "red" / "pipe.png")
    assert len(pictures_in(photos / "red")) == 10
    assert "pipe.png is no file" in refusal(picture, photos / "red" / "pipe.png", (3, 4, 4))
