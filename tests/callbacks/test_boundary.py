"""The boundary as it moves: when it is drawn, that each place has the model's class, and what the page makes of it."""

import torch

import dlcourse
from dlcourse.runs.files import read_rows

PICTURES = ["trainer=cpu", "callbacks=pictures", "callbacks.progress=null", "callbacks.summary=null"]


def test_the_boundary_after_powers_of_two(tmp_path):
    words = ["data=moons", "model.hidden=[8]", "trainer.max_epochs=6", f"run_dir={tmp_path / 'run'}"]
    result = dlcourse.run(*PICTURES, *words, "callbacks.boundary.grid=20", "monitor=train/loss")
    drawn = read_rows(tmp_path / "run/boundary.jsonl")
    assert [row["epochs"] for row in drawn] == [0, 1, 2, 4, 6]
    last = drawn[-1]
    x0, x1, y0, y1 = last["extent"]
    corner = torch.tensor([[x0, y0], [x1, y0], [x0, y1], [x1, y1]])
    ends = [last["classes"][row][column] for row in (0, -1) for column in (0, -1)]
    if result.metrics["best_epoch"] == 5:  # the weights of the last epoch, which the last row shows
        assert ends == [str(int(z > 0)) for z in result.model(corner)[:, 0]]
    page = (tmp_path / "run/report.html").read_text()
    assert "Decision boundary during training" in page and "6 epochs" in page and "Loss landscape" in page


def test_a_resume_draws_no_epoch_twice(tmp_path):
    words = ["data=moons", "model.hidden=[8]", "trainer.max_epochs=2", f"run_dir={tmp_path / 'run'}"]
    dlcourse.run(*PICTURES, *words)
    dlcourse.run(f"resume={tmp_path / 'run'}", "trainer.max_epochs=4")
    assert [row["epochs"] for row in read_rows(tmp_path / "run/boundary.jsonl")] == [0, 1, 2, 4]


def test_there_is_no_plane_in_pictures_of_digits(tmp_path):
    words = ["model=cnn", "model.channels=[4]", "trainer.max_epochs=1", f"run_dir={tmp_path / 'run'}"]
    dlcourse.run(*PICTURES, *words)
    assert not (tmp_path / "run/boundary.jsonl").exists()
    page = (tmp_path / "run/report.html").read_text()
    assert "Feature maps of the first convolution" in page and "Gradient by layer" in page
