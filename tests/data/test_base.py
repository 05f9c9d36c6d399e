"""What the base of all data promises: what it refuses, how it splits, standardises and reads."""

import numpy as np
import pytest
import torch
from PIL import Image

from dlcourse.data.base import Data
from dlcourse.errors import CONFIG, Refused
from tests import objects


class Given(Data):
    """Arrays handed over by a test."""

    def __init__(self, train, test=None, **facts):
        x, y = train
        self.train, self.test = train, test
        facts = {"name": "given", "shape": list(x.shape[1:]), "batch_size": 8, **facts}
        task = objects.task({"classes": "classification", "values": "regression"}[facts["y"]], facts["outputs"])
        super().__init__(task=task, **facts)

    def arrays(self):
        return self.train, self.test


def classes(rows=100, shape=(4,), outputs=3):
    x = torch.randn(rows, *shape, generator=torch.Generator().manual_seed(0))
    return x, torch.arange(rows) % outputs


def ready(*args, **facts):
    data = Given(*args, **{"y": "classes", "outputs": 3, **facts})
    data.setup()
    return data


def fitted(data):
    """The task of the data, with the moments of the training rows."""
    rows = data.sets["train"]
    data.task.fit(rows.x, rows.y)
    return data.task


def index(data, name):
    return data.sets[name].index.tolist()


def refusal(*args, **facts):
    with pytest.raises(Refused) as caught:
        ready(*args, **facts)
    assert caught.value.code == CONFIG
    assert str(caught.value).count("\n") < 3
    return str(caught.value)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_inputs_that_are_no_numbers(value):
    x, y = classes()
    x[37, 2] = float(value)
    said = refusal((x, y))
    assert "row 37" in said and "[2]" in said and value in said


def test_inputs_that_are_no_numbers_in_the_test_set():
    x, y = classes()
    bad = x.clone()
    bad[5, 0] = float("nan")
    assert "row 5" in refusal((x, y), (bad, y))


@pytest.mark.parametrize("label", [3, -1, -100, 200])
def test_labels_out_of_range(label):
    x, y = classes()
    y[41] = label
    said = refusal((x, y))
    assert "row 41" in said and str(label) in said and "0 … 2" in said


@pytest.mark.parametrize("label", [2.0, -1.0, 0.5, float("nan")])
def test_binary_targets_are_0_or_1(label):
    x, y = classes(outputs=2)
    y = y.float()
    y[7] = label
    said = refusal((x, y), outputs=2)
    assert "row 7" in said and str(label) in said and "0 … 1" in said


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_values_are_finite(value):
    x, _ = classes()
    y = torch.randn(100, 2)
    y[12, 1] = float(value)
    said = refusal((x, y), y="values", outputs=2)
    assert "row 12" in said and value in said


@pytest.mark.parametrize(
    ("found", "hint"),
    [((8, 8, 1), "channels come first"), ((1, 8, 9), ""), ((3, 8, 8), ""), ((8, 8), ""), ((64,), "")],
)
def test_inputs_of_another_shape(found, hint):
    x, y = classes(shape=found)
    said = refusal((x, y), shape=[1, 8, 8])
    assert "(N, 1, 8, 8)" in said and str((100, *found)) in said and hint in said
    assert ("channels" in said) == bool(hint)


def test_an_unbatched_picture():
    assert "(1, 8, 8)" in refusal((torch.zeros(1, 8, 8), torch.zeros(1).long()), shape=[1, 8, 8])


@pytest.mark.parametrize(
    ("kind", "outputs", "y"),
    [
        ("classes", 3, torch.zeros(100, 1).long()),
        ("classes", 3, torch.zeros(99).long()),
        ("classes", 2, torch.zeros(100, 1)),
        ("values", 1, torch.zeros(100)),
        ("values", 2, torch.zeros(100, 1)),
    ],
)
def test_targets_of_another_shape(kind, outputs, y):
    x, _ = classes()
    said = refusal((x, y), y=kind, outputs=outputs)
    assert str(tuple(y.shape)) in said and kind in said


def test_no_rows():
    x, y = classes()
    assert "no rows" in refusal((x[:0], y[:0]))
    assert "no rows" in refusal((x, y), (x[:0], y[:0]))


def test_an_empty_split_names_the_key():
    x, y = classes(40)
    assert "val set" in (said := refusal((x, y), val_fraction=0.001)) and "data.val_fraction=0.001" in said
    assert "train set" in refusal((x, y), val_fraction=0.999)


def test_a_class_without_rows_is_accepted_and_one_more_is_not():
    x, y = classes(outputs=3)
    ready((x, y), outputs=4)
    assert "0 … 1" in refusal((x, y), outputs=2)


def test_splits_are_disjoint_and_complete():
    data = ready(classes(200))
    parts = [index(data, name) for name in ("train", "val", "test")]
    assert sorted(row for part in parts for row in part) == list(range(200))
    assert [len(part) for part in parts] == [144, 16, 40]
    for name in ("train", "val", "test"):
        rows = data.sets[name]
        x, y = data.train
        assert torch.equal(rows.x, x[rows.index]) and torch.equal(rows.y, y[rows.index])


@pytest.mark.parametrize("weights", [(0.5, 0.3, 0.2), (0.9, 0.08, 0.02), (1 / 3, 1 / 3, 1 / 3)])
def test_splits_are_stratified(weights):
    y = torch.multinomial(torch.tensor(weights), 1000, True, generator=torch.Generator().manual_seed(3))
    data = ready((torch.randn(1000, 4), y))
    share = torch.bincount(y, minlength=3) / 1000
    for name in ("train", "val", "test"):
        count = torch.bincount(data.sets[name].y, minlength=3)
        assert (count - share * len(data.sets[name])).abs().max() <= 2


def test_a_binary_split_is_stratified():
    y = (torch.arange(1000) < 100).long()
    data = ready((torch.randn(1000, 4), y), outputs=2)
    assert [int(data.sets[name].y.sum()) for name in ("train", "val", "test")] == [72, 8, 20]


def test_rows_in_order_of_class_are_split_at_random():
    data = ready(classes(300))
    held = index(data, "test")
    assert held != list(range(240, 300)) and len({b - a for a, b in zip(held, held[1:], strict=False)}) > 3


def test_what_the_splits_depend_on():
    rows = classes(200)
    base = ready(rows)
    for changed in (ready(rows, seed=5), ready(rows, batch_size=3), ready(rows)):
        assert all(index(changed, name) == index(base, name) for name in ("train", "val", "test"))
    other = ready(rows, split_seed=1)
    assert index(other, "test") == index(base, "test")
    assert index(other, "val") != index(base, "val") and len(index(other, "val")) == len(index(base, "val"))
    assert index(ready(rows, val_fraction=0.5), "test") == index(base, "test")
    last = ready(rows, split_seed=None)
    assert index(last, "test") == index(base, "test") and len(index(last, "val")) == len(index(base, "val"))
    assert max(index(last, "train")) < min(index(last, "val"))


def test_a_part_of_the_training_rows():
    """Stratified, the same for every seed but the split's; validation and test keep theirs."""
    y = (torch.arange(1000) % 10 == 0).long()
    rows = torch.randn(1000, 4), y
    whole, few = ready(rows, outputs=2), ready(rows, outputs=2, train_samples=50)
    assert all(index(few, name) == index(whole, name) for name in ("val", "test"))
    kept = index(few, "train")
    assert len(kept) == 50 and set(kept) < set(index(whole, "train")) and kept == sorted(kept)
    assert int(few.sets["train"].y.sum()) == 5 and torch.equal(few.sets["train"].x, rows[0][kept])
    assert few.note == "50 training samples, 670 left out"
    assert index(ready(rows, outputs=2, train_samples=50, seed=3), "train") == kept
    assert index(ready(rows, outputs=2, train_samples=50, split_seed=3), "train") != kept
    assert index(ready(rows, outputs=2, train_samples=720), "train") == index(whole, "train")
    assert "train_samples=721: data=given has 720 training samples" in refusal(rows, outputs=2, train_samples=721)


def test_the_last_rows_of_a_file_in_order_of_class_are_no_validation_set():
    x, y = classes(300)
    order = y.argsort(stable=True)
    assert "in order of class; set data.split_seed=0" in refusal((x[order], y[order]), split_seed=None)
    order[[0, -1]] = order[[-1, 0]]
    ready((x[order], y[order]), split_seed=None)


def test_the_global_random_numbers_play_no_part():
    torch.manual_seed(1)
    one = ready(classes(200))
    torch.manual_seed(2)
    assert index(ready(classes(200)), "val") == index(one, "val")


def test_an_official_test_set_is_kept():
    test = classes(50)
    data = ready(classes(100), test)
    assert torch.equal(data.sets["test"].x, test[0]) and index(data, "test") == list(range(50))
    assert len(data.sets["val"]) == 10 and len(data.sets["train"]) == 90


def test_a_small_set_uses_its_rows_for_everything():
    data = ready(classes(19))
    assert all(index(data, name) == list(range(19)) for name in ("train", "val", "test"))
    assert data.note is not None and "19 rows" in data.note
    data = ready(classes(20))
    assert [len(data.sets[n]) for n in ("train", "val", "test")] == [14, 2, 4]
    assert data.note == "the validation set has no row of class '2'"


def test_setup_happens_once():
    data = ready(classes())
    sets = data.sets
    data.setup("fit")
    assert data.sets is sets


def test_standardisation_is_that_of_the_training_rows():
    x, y = classes(500)
    x = x * torch.tensor([1.0, 10.0, 1e-3, 1e4]) + torch.tensor([0.0, 5.0, 1.0, 1e6])
    data = ready((x, y))
    rows = x[data.sets["train"].index].double().numpy()
    np.testing.assert_allclose(data.mean.numpy(), rows.mean(0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(data.std.numpy(), rows.std(0), rtol=1e-5)


def test_pictures_are_standardised_by_channel():
    x = torch.randint(0, 256, (200, 3, 5, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(4))
    data = ready((x, torch.arange(200) % 3))
    rows = data.sets["train"].x.double().numpy()
    assert data.mean.shape == data.std.shape == (3, 1, 1)
    np.testing.assert_allclose(data.mean.flatten().numpy(), rows.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(data.std.flatten().numpy(), rows.std((0, 2, 3)), rtol=1e-6)
    assert data.sets["train"].x.dtype == torch.uint8  # a quarter of the memory


def test_more_rows_than_one_piece():
    x = torch.randn(9000, 2, generator=torch.Generator().manual_seed(5)) * 3 + 7
    data = ready((x, torch.arange(9000) % 3))
    rows = data.sets["train"].x.double().numpy()
    np.testing.assert_allclose(data.mean.numpy(), rows.mean(0), rtol=1e-6)
    np.testing.assert_allclose(data.std.numpy(), rows.std(0), rtol=1e-6)


@pytest.mark.parametrize("constant", [0.0, 7.0, 0.1, 1e6 + 0.1])
def test_a_constant_column_is_safe(constant):
    x, y = classes()
    x[:, 1] = constant
    data = ready((x, y))
    z = (data.sets["train"].x - data.mean) / data.std
    assert torch.isfinite(z).all() and z[:, 1].abs().max() < 1
    assert data.std[1] == 1


def test_a_constant_target_is_safe():
    x, _ = classes()
    data = ready((x, torch.full((100, 1), 5.0)), y="values", outputs=1)
    task, y = fitted(data), data.sets["train"].y
    _, scaled, _ = task.loss_inputs(y, y)
    assert torch.isfinite(scaled).all() and scaled.abs().max() < 1e-3
    _, other, _ = task.loss_inputs(y, y + 1)
    assert other.abs().max() < 100  # a value of the test set that differs must not explode the loss


def test_values_are_standardised_by_output():
    x, _ = classes()
    y = torch.randn(100, 2, generator=torch.Generator().manual_seed(6)) * torch.tensor([2.0, 300.0]) + 50
    data = ready((x, y), y="values", outputs=2)
    rows = data.sets["train"].y.double().numpy()
    task = fitted(data)
    np.testing.assert_allclose(task.y_mean.numpy(), rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(task.y_std.numpy(), rows.std(0), rtol=1e-5)


def test_values_may_be_whole_numbers():
    x, y = classes()
    data = ready((x, y[:, None]), y="values", outputs=1)
    assert data.sets["train"].y.dtype == torch.float32 and fitted(data).y_mean.item() == pytest.approx(1, abs=0.05)


def test_standardisation_can_be_left_out():
    x, _ = classes()
    data = ready((x * 5 + 3, torch.randn(100, 1)), y="values", outputs=1, standardise=False)
    assert data.mean == 0 and data.std == 1
    task = objects.task("regression", 1, standardise=False)
    task.fit(data.sets["train"].x, data.sets["train"].y)
    assert task.y_mean == 0 and task.y_std == 1


def test_batches():
    data = ready(classes(200), batch_size=10)
    sizes = [len(batch.x) for batch in data.train_dataloader()]
    assert sizes == [10] * 14 + [4]
    assert [len(batch.x) for batch in ready(classes(200), batch_size="full").train_dataloader()] == [144]
    assert [len(batch.x) for batch in ready(classes(200), batch_size=999).train_dataloader()] == [144]
    assert sum(len(batch.x) for batch in data.val_dataloader()) == 16
    assert sum(len(batch.x) for batch in data.test_dataloader()) == 40


def test_row_numbers_lead_back_to_the_rows():
    data = ready(classes(200))
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        for x, y, rows, *_ in loader:
            assert torch.equal(x, data.train[0][rows]) and torch.equal(y, data.train[1][rows])


def pictures(shape=(1, 8, 8)):
    x = torch.randint(0, 256, (40, *shape), dtype=torch.uint8)
    return ready((x, torch.arange(40) % 3))


def test_read_npy(tmp_path):
    data = pictures()
    x = np.random.default_rng(0).normal(size=(5, 1, 8, 8))
    np.save(tmp_path / "x.npy", x)
    read = data.read(tmp_path / "x.npy")
    assert read.dtype == torch.float32 and torch.equal(read, torch.from_numpy(x).float())
    np.save(tmp_path / "one.npy", x[0])
    assert torch.equal(data.read(tmp_path / "one.npy"), read[:1])
    np.save(tmp_path / "bad.npy", x[:, :, :7])
    with pytest.raises(Refused, match=r"\(N, 1, 8, 8\).*\(5, 1, 7, 8\)"):
        data.read(tmp_path / "bad.npy")


def test_read_npy_refuses_pickles(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(Refused, match="x.npy"):
        pictures().read(tmp_path / "x.npy")


def test_read_npy_that_is_none(tmp_path):
    (tmp_path / "x.npy").write_bytes(b"no array")
    with pytest.raises(Refused, match="x.npy"):
        pictures().read(tmp_path / "x.npy")


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_read_npy_that_is_not_finite(tmp_path, value):
    """A prediction from NaN is none."""
    x = np.zeros((2, 1, 8, 8))
    x[1, 0, 3, 3] = float(value)
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(Refused, match="row 1"):
        pictures().read(tmp_path / "x.npy")


@pytest.mark.parametrize("suffix", ["png", "jpg", "JPEG"])
def test_read_a_picture(tmp_path, suffix):
    path = tmp_path / f"grey.{suffix}"
    Image.fromarray(np.full((20, 30, 3), 77, np.uint8)).save(path)
    read = pictures().read(path)
    assert read.shape == (1, 1, 8, 8) and read.dtype == torch.float32
    assert (read - 77).abs().max() <= 1


def test_read_a_picture_exactly(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    assert torch.equal(pictures().read(tmp_path / "x.png")[0, 0], torch.from_numpy(pixels).float())
    colour = np.random.default_rng(1).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    Image.fromarray(colour).save(tmp_path / "c.png")
    read = pictures((3, 6, 5)).read(tmp_path / "c.png")
    assert torch.equal(read[0], torch.from_numpy(colour).permute(2, 0, 1).float())


def test_read_a_folder(tmp_path):
    for name, grey in {"b": 20, "a": 10}.items():
        Image.fromarray(np.full((8, 8), grey, np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "note.txt").write_text("no picture")
    assert pictures().read(tmp_path)[:, 0, 0, 0].tolist() == [10, 20]  # by name
    (tmp_path / "empty").mkdir()
    with pytest.raises(Refused, match="empty"):
        pictures().read(tmp_path / "empty")


def test_read_what_is_no_picture(tmp_path):
    (tmp_path / "x.png").write_bytes(b"text")
    with pytest.raises(Refused, match="x.png"):
        pictures().read(tmp_path / "x.png")
    with pytest.raises(Refused, match="npy"):
        ready(classes()).read(tmp_path / "x.png")


def test_inputs_can_be_centred_and_keep_their_scale():
    x = torch.randint(0, 256, (200, 3, 5, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(4))
    data = ready((x, torch.arange(200) % 3), standardise="centre")
    rows = data.sets["train"].x.double().numpy()
    np.testing.assert_allclose(data.mean.flatten().numpy(), rows.mean((0, 2, 3)), rtol=1e-6)
    assert data.std == 1
    task = objects.task("regression", 1, standardise="centre")
    task.fit(x, torch.randn(200, 1) * 5 + 3)
    assert task.y_mean == 0 and task.y_std == 1
