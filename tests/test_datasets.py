"""datasets: the exact facts of MNIST and Fashion-MNIST, and what happens to files that are not what they should be."""

import gzip
import hashlib
import http.server
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynn.datasets import fashion_mnist, idx, mnist, playground, source
from tinynn.datasets.mnist import BUNDLED

TRAIN_LABELS = "train-labels-idx1-ubyte"


@pytest.fixture(autouse=True)
def no_data_folder(monkeypatch):
    monkeypatch.delenv("TINYNN_DATA", raising=False)


@pytest.fixture
def digits(tmp_path):
    """A folder `mnist` of links to the four good files."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    for file in BUNDLED.iterdir():
        (folder / file.name).symlink_to(file)
    return folder


def replace(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    return path


def idx_bytes(shape: tuple[int, ...], values: bytes, code: int = 8) -> bytes:
    return bytes([0, 0, code, len(shape)]) + np.array(shape, ">u4").tobytes() + values


# -- MNIST and Fashion-MNIST ------------------------------------------------------------------------------------------


def test_mnist_is_the_original():
    (x_train, y_train), (x_test, y_test) = mnist.load_data()
    assert (x_train.shape, y_train.shape) == ((60000, 28, 28), (60000,))
    assert (x_test.shape, y_test.shape) == ((10000, 28, 28), (10000,))
    assert {a.dtype for a in (x_train, y_train, x_test, y_test)} == {np.dtype("uint8")}
    assert y_train[[0, 8, 9, 10]].tolist() == [5, 1, 4, 3]
    assert y_test[[0, 11]].tolist() == [7, 6]
    assert np.bincount(y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert round(x_train.mean() / 255, 4) == 0.1307
    assert x_train.flags.writeable
    # md5 of the unpacked training images, as published with the data
    header = idx_bytes((60000, 28, 28), b"")
    md5 = hashlib.md5(header + x_train.tobytes(), usedforsecurity=False).hexdigest()
    assert md5 == "6bbc9ace898e44ae57da46a324031adb"


def test_fashion_mnist_is_the_original(data_folder, monkeypatch):
    if not (data_folder / "fashion-mnist").is_dir():
        pytest.skip(f"no fashion-mnist in {data_folder}")
    monkeypatch.setenv("TINYNN_DATA", str(data_folder))
    (x_train, y_train), (x_test, y_test) = fashion_mnist.load_data()
    assert (x_train.shape, x_test.shape) == ((60000, 28, 28), (10000, 28, 28))
    assert y_train[[0, 1, 2, -3, -2, -1]].tolist() == [9, 0, 0, 3, 0, 5]
    assert fashion_mnist.class_names[y_test[5]] == "Trouser"
    assert np.bincount(y_train).tolist() == [6000] * 10
    assert round(x_train.mean() / 255, 4) == 0.2860


def test_fashion_class_names():
    assert len(fashion_mnist.class_names) == 10
    assert fashion_mnist.class_names[9] == "Ankle boot"


def test_a_folder_under_tinynn_data_comes_first(digits, monkeypatch):
    labels = bytearray(gzip.decompress((BUNDLED / f"{TRAIN_LABELS}.gz").read_bytes()))
    labels[8] = 9
    replace(digits, f"{TRAIN_LABELS}.gz", gzip.compress(bytes(labels), 1))
    monkeypatch.setenv("TINYNN_DATA", str(digits.parent))
    assert mnist.load_data()[0][1][0] == 9
    monkeypatch.setenv("TINYNN_DATA", str(digits.parent / "elsewhere"))
    assert mnist.load_data()[0][1][0] == 5


def test_unpacked_files_will_do(digits):
    (digits / f"{TRAIN_LABELS}.gz").unlink()
    replace(digits, TRAIN_LABELS, gzip.decompress((BUNDLED / f"{TRAIN_LABELS}.gz").read_bytes()))
    assert mnist.load_data(digits)[0][1][0] == 5


ZIPPED = (BUNDLED / f"{TRAIN_LABELS}.gz").read_bytes()
LABELS = gzip.decompress(ZIPPED)[8:]
BAD = {
    "empty": (b"", "not an IDX file: it ends after 0 bytes"),
    "a web page": (b"<!DOCTYPE html><html>404</html>", "not an IDX file: it starts with the bytes 3c 21 44 4f"),
    "a zipped web page": (gzip.compress(b"<html>"), "not an IDX file"),
    "a truncated gzip": (ZIPPED[:-2000], "truncated or damaged gzip"),
    "gzip without its checksum": (ZIPPED[:-4], "truncated or damaged gzip"),
    "a flipped byte in the gzip": (ZIPPED[:9000] + bytes([ZIPPED[9000] ^ 1]) + ZIPPED[9001:], "truncated or damaged"),
    "a flipped checksum": (ZIPPED[:-8] + bytes([ZIPPED[-8] ^ 1]) + ZIPPED[-7:], "truncated or damaged gzip"),
    "only the magic of gzip": (b"\x1f\x8b", "truncated or damaged gzip"),
    "garbage after the gzip": (ZIPPED + b"garbage", "truncated or damaged gzip"),
    "images for labels": (
        idx_bytes((60000, 28, 28), b""),
        r"declares the shape \(60000, 28, 28\); expected \(60000,\)",
    ),
    "the test labels": ((BUNDLED / "t10k-labels-idx1-ubyte.gz").read_bytes(), r"\(10000,\); expected \(60000,\)"),
    "a wrong count": (idx_bytes((60001,), LABELS + b"\0"), r"\(60001,\); expected \(60000,\)"),
    "a wrong type": (idx_bytes((60000,), LABELS, code=9), "holds int8 values; expected uint8"),
    "an unknown type": (idx_bytes((60000,), LABELS, code=7), "starts with the bytes 00 00 07 01"),
    "no dimensions": (b"\0\0\x08\0" + LABELS, "starts with the bytes 00 00 08 00"),
    "half a header": (b"\0\0\x08\x01\0\0", "inside the header"),
    "too few values": (idx_bytes((60000,), LABELS[:-1]), "needs 60000 bytes, the file holds 59999"),
    "too many values": (idx_bytes((60000,), LABELS + b"\0"), "too long"),
    "a label of 10": (idx_bytes((60000,), LABELS[:7] + b"\x0a" + LABELS[8:]), "label 10 in row 7; expected 0 to 9"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_not_mnist_is_named(name, digits, monkeypatch):
    content, message = BAD[name]
    path = replace(digits, f"{TRAIN_LABELS}.gz", content)
    monkeypatch.setenv("TINYNN_DATA", str(digits.parent))
    with pytest.raises(ValueError, match=message) as caught:
        mnist.load_data()
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_directory_are_named(digits):
    path = digits / f"{TRAIN_LABELS}.gz"
    path.unlink()
    with pytest.raises(FileNotFoundError, match="is missing") as caught:
        mnist.load_data(digits)
    assert str(path) in str(caught.value)
    path.mkdir()
    with pytest.raises(IsADirectoryError, match="is a directory") as caught:
        mnist.load_data(digits)
    assert str(path) in str(caught.value)


# -- IDX --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("zipped", [False, True])
def test_idx_holds_every_type(dtype, zipped, tmp_path):
    code = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}[dtype]
    values = np.arange(-60, 60).reshape(2, 3, 4, 5).astype(dtype)
    content = idx_bytes(values.shape, values.astype(values.dtype.newbyteorder(">")).tobytes(), code)
    path = replace(tmp_path, "file", gzip.compress(content) if zipped else content)
    read = idx.read(path)
    np.testing.assert_array_equal(read, values)
    assert read.dtype == values.dtype
    assert read.dtype.isnative


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("shape", [(2**32 - 1,) * 3, (2**32 - 1,) * 32, (2**31,)])
def test_hostile_sizes_cost_nothing(shape, zipped, tmp_path):
    content = idx_bytes(shape, b"abc")
    path = replace(tmp_path, "file", gzip.compress(content) if zipped else content)
    with pytest.raises(ValueError, match="the file holds 3"):
        idx.read(path)


def test_a_size_of_zero_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds nothing"):
        idx.read(replace(tmp_path, "file", idx_bytes((0, 2**32 - 1, 2**32 - 1), b"")))


def test_a_zip_bomb_stops_after_what_it_declares(tmp_path):
    path = replace(tmp_path, "file", gzip.compress(idx_bytes((10,), bytes(200_000_000)), 1))
    with pytest.raises(ValueError, match="too long"):
        idx.read(path)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("idx") / "any"


@given(content=st.binary(max_size=40), zipped=st.booleans())
def test_any_bytes_are_an_array_or_a_value_error(content, zipped, scratch):
    scratch.write_bytes(gzip.compress(content) if zipped else content)
    try:
        assert idx.read(scratch).nbytes + 4 < len(content)
    except ValueError as error:
        assert str(scratch) in str(error)


# -- the cache and the network ----------------------------------------------------------------------------------------

CONTENT = b"what the mirror should deliver" * 1000
CHECKSUMS = {"file.gz": hashlib.sha256(CONTENT).hexdigest()}


@pytest.fixture
def mirror(monkeypatch, tmp_path):
    """A web server on this machine: /good, /bad (wrong bytes), /short (breaks off), anything else is 404; its log."""
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            kind = self.path.split("/")[1]
            body = {"good": CONTENT, "bad": zlib.compress(CONTENT), "short": CONTENT[:777]}.get(kind)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(CONTENT) if kind == "short" else len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(source, "cache_root", lambda: tmp_path / "cache")
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    yield f"http://127.0.0.1:{server.server_port}", requests
    server.shutdown()
    server.server_close()


def test_the_first_mirror_with_the_right_bytes_wins(mirror):
    address, requests = mirror
    mirrors = [f"{address}/{kind}" for kind in ("missing", "bad", "short", "good", "never")]
    folder = source.cached("set", CHECKSUMS, mirrors)
    assert [path.name for path in folder.iterdir()] == ["file.gz"]
    assert (folder / "file.gz").read_bytes() == CONTENT
    assert requests == [f"/{kind}/file.gz" for kind in ("missing", "bad", "short", "good")]
    source.cached("set", CHECKSUMS, mirrors)
    assert len(requests) == 4, "what lies in the cache is not fetched again"


def test_a_damaged_cache_is_fetched_again(mirror):
    address, _ = mirror
    folder = source.cached("set", CHECKSUMS, [f"{address}/good"])
    (folder / "file.gz").write_bytes(CONTENT[:-1])
    source.cached("set", CHECKSUMS, [f"{address}/good"])
    assert (folder / "file.gz").read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ["missing", "bad", "short"])
def test_a_failed_download_leaves_nothing_and_says_what_to_do(kind, mirror, tmp_path):
    address, _ = mirror
    with pytest.raises(OSError, match="TINYNN_DATA") as caught:
        source.cached("set", CHECKSUMS, [f"{address}/{kind}"])
    assert f"{address}/{kind}/file.gz" in str(caught.value)
    assert str(tmp_path / "cache" / "set" / "file.gz") in str(caught.value)
    assert not list((tmp_path / "cache").rglob("*.*"))


def test_fashion_mnist_without_a_network_is_an_os_error(monkeypatch, tmp_path):
    monkeypatch.setattr(source, "cache_root", lambda: tmp_path)
    monkeypatch.setattr(fashion_mnist, "MIRRORS", ("http://127.0.0.1:9",))
    with pytest.raises(OSError, match="`fashion-mnist`"):
        fashion_mnist.load_data()


# -- the playground ---------------------------------------------------------------------------------------------------

SETS = {name: getattr(playground, name) for name in ("clusters", "circle", "xor", "spiral")}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("n", [2, 7, 200])
def test_points_and_labels(name, n):
    x, y = SETS[name](n, noise=0.1, seed=3)
    assert (x.shape, y.shape, x.dtype, y.dtype) == ((n, 2), (n,), np.float32, np.float32)
    assert set(np.unique(y)) <= {-1, 1}


@pytest.mark.parametrize("name", SETS)
def test_the_seed_fixes_the_points(name):
    draw = SETS[name]
    np.testing.assert_array_equal(draw(50, 0.2, 1)[0], draw(50, 0.2, 1)[0])
    assert not np.array_equal(draw(50, 0.2, 1)[0], draw(50, 0.2, 2)[0])
    assert set(draw(200)[1][:100]) == {-1, 1}, "the first half serves for training"


def test_what_separates_the_clean_sets():
    x, y = playground.circle(500)
    np.testing.assert_array_equal(np.hypot(*x.T) < 3, y > 0)
    x, y = playground.xor(500)
    np.testing.assert_array_equal(x.prod(axis=1) > 0, y > 0)
    assert np.abs(x).min() >= 0.3
    x, y = playground.clusters(500)
    assert (np.sign(x.sum(axis=1)) == y).mean() > 0.99
    x, y = playground.spiral(500)
    along = np.hypot(*x.T) / 5
    on_arm = np.sin(np.arctan2(x[:, 0], x[:, 1]) - 1.75 * 2 * np.pi * along + np.pi / 2)
    np.testing.assert_allclose((on_arm * y)[along > 0], 1, atol=1e-3)


@pytest.mark.parametrize("name", SETS)
def test_noise_and_size_are_checked(name):
    for noise in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="noise"):
            SETS[name](10, noise)
    with pytest.raises(ValueError, match="at least 2"):
        SETS[name](1)
