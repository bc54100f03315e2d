"""datasets.cifar10: its facts, every form its files come in, and files that are not what they should be."""

import gzip
import hashlib
import io
import lzma
import os
import pickle
import pickletools
import struct
import sys
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynn import layers as L
from tinynn import metrics, utils
from tinynn.datasets import cifar10, pickles, source
from tinynn.datasets.cifar10 import BATCHES, RECORD
from tinynn.models import Sequential

ROWS = 12


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Batches of 12 images, so that a test need not write 180 MB."""
    monkeypatch.delenv("TINYNN_DATA", raising=False)
    monkeypatch.setattr(cifar10, "ROWS", ROWS)


def record_bytes(name: str) -> bytes:
    """A batch of the binary version: labels 0 .. 9 and pixels that tell the batch apart."""
    random = np.random.default_rng(BATCHES.index(name))
    records = random.integers(0, 256, (ROWS, RECORD), dtype=np.uint8)
    records[:, 0] %= 10
    return records.tobytes()


def batch_dict(name: str) -> dict:
    records = np.frombuffer(record_bytes(name), np.uint8).reshape(ROWS, RECORD)
    return {
        b"batch_label": name.encode(),
        b"labels": records[:, 0].tolist(),
        b"data": records[:, 1:].copy(),
        b"filenames": [f"photo_{i}.png".encode() for i in range(ROWS)],
    }


def as_python_2(batch: dict) -> bytes:
    """Byte for byte what Python 2 and NumPy 1 wrote: texts of bytes, labels in one APPENDS, the old module names."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<I", len(value)) + value if len(value) > 255 else b"U" + bytes([len(value)]) + value

    x = batch[b"data"]
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87Rq\x03"
        + b"(K\x01K" + bytes([x.shape[0]]) + b"M" + struct.pack("<H", x.shape[1]) + b"\x86"
        + b"cnumpy\ndtype\nq\x04U\x02u1K\x00K\x01\x87Rq\x05(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + b"\x89" + text(x.tobytes()) + b"tb"
    )  # fmt: skip
    return (
        b"\x80\x02}q\x00("
        + text(b"data") + array
        + text(b"labels") + b"](" + b"".join(b"K" + bytes([y]) for y in batch[b"labels"]) + b"e"
        + text(b"batch_label") + text(batch[b"batch_label"])
        + text(b"filenames") + b"](" + b"".join(text(f) for f in batch[b"filenames"]) + b"e"
        + b"u."
    )  # fmt: skip


def write_all(folder: Path, form) -> Path:
    """The six files; `form(name)` gives the name and content of each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in BATCHES:
        file, content = form(name)
        (folder / file).write_bytes(content)
    return folder


def write_archive(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def expected() -> tuple:
    """What the binary layout says, written down once more: label, then three planes of 32 rows."""
    parts = []
    for name in BATCHES:
        content = record_bytes(name)
        x, y = np.empty((ROWS, 32, 32, 3), np.uint8), np.empty((ROWS, 1), np.uint8)
        for n in range(ROWS):
            record = content[n * 3073 : (n + 1) * 3073]
            y[n] = record[0]
            for c in range(3):
                for i in range(32):
                    start = 1 + 1024 * c + 32 * i
                    x[n, i, :, c] = np.frombuffer(record[start : start + 32], np.uint8)
        parts.append((x, y))
    train, test = parts[:5], parts[5]
    return (np.concatenate([x for x, _ in train]), np.concatenate([y for _, y in train])), test


EXPECTED = expected()


def check(loaded) -> None:
    for (x, y), (want_x, want_y) in zip(loaded, EXPECTED, strict=True):
        assert (x.dtype, y.dtype, y.shape) == (np.uint8, np.uint8, (len(x), 1))
        assert x.flags.c_contiguous
        np.testing.assert_array_equal(x, want_x)
        np.testing.assert_array_equal(y, want_y)


# -- the data themselves ----------------------------------------------------------------------------------------------


def test_cifar10_is_the_original(data_folder, monkeypatch):
    if not (data_folder / "cifar10").is_dir():
        pytest.skip(f"no cifar10 in {data_folder}")
    monkeypatch.setattr(cifar10, "ROWS", 10_000)
    monkeypatch.setenv("TINYNN_DATA", str(data_folder))
    (x_train, y_train), (x_test, y_test) = cifar10.load_data()
    assert (x_train.shape, y_train.shape) == ((50000, 32, 32, 3), (50000, 1))
    assert (x_test.shape, y_test.shape) == ((10000, 32, 32, 3), (10000, 1))
    assert np.bincount(y_train.ravel()).tolist() == [5000] * 10
    assert np.bincount(y_test.ravel()).tolist() == [1000] * 10
    assert [cifar10.class_names[y] for y in y_test[:4, 0]] == ["cat", "ship", "ship", "airplane"]
    assert [cifar10.class_names[y] for y in y_train[:4, 0]] == ["frog", "truck", "truck", "deer"]
    assert np.round(x_train.reshape(-1, 3).mean(axis=0) / 255, 4).tolist() == [0.4914, 0.4822, 0.4465]
    # The published sha256 of the unpacked test batch: planes of colour behind each label.
    records = np.concatenate([y_test, x_test.transpose(0, 3, 1, 2).reshape(10000, -1)], axis=1)
    assert hashlib.sha256(records.tobytes()).hexdigest()[:16] == "8e2eb146ae340b09"


def test_class_names():
    assert len(cifar10.class_names) == 10
    assert cifar10.class_names[6] == "frog"


# -- the forms of the files -------------------------------------------------------------------------------------------

FORMS = {
    "binary": lambda name: (f"{name}.bin", record_bytes(name)),
    "binary .gz": lambda name: (f"{name}.bin.gz", gzip.compress(record_bytes(name), 1)),
    "binary .xz": lambda name: (f"{name}.bin.xz", lzma.compress(record_bytes(name), preset=0)),
    "Python 2": lambda name: (name, as_python_2(batch_dict(name))),
    "Python 2 .gz": lambda name: (f"{name}.gz", gzip.compress(as_python_2(batch_dict(name)), 1)),
    **{
        f"Python 3, protocol {p}": lambda name, p=p: (name, pickle.dumps(batch_dict(name), protocol=p))
        for p in range(2, 5)
    },
    "keys of text": lambda name: (name, pickle.dumps({k.decode(): v for k, v in batch_dict(name).items()}, protocol=4)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_files(form, tmp_path, monkeypatch):
    folder = write_all(tmp_path / "cifar10", FORMS[form])
    check(cifar10.load_data(folder))
    monkeypatch.setenv("TINYNN_DATA", str(tmp_path))
    check(cifar10.load_data())


@pytest.mark.parametrize(("inner", "form"), [("cifar-10-batches-bin", "binary"), ("cifar-10-batches-py", "Python 2")])
def test_an_unpacked_archive_and_an_archive(inner, form, tmp_path):
    check(cifar10.load_data(write_all(tmp_path / "a" / inner, FORMS[form]).parent))
    name = f"cifar-10-{'binary' if form == 'binary' else 'python'}.tar.gz"
    files = {f"{inner}/{file}": content for file, content in map(FORMS[form], reversed(BATCHES))}
    write_archive(tmp_path / name, {f"{inner}/batches.meta": b"ignored", **files})
    check(cifar10.load_data(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", name], "nothing is written"


def test_the_archive_is_downloaded(tmp_path, monkeypatch):
    write_archive(tmp_path / "cifar-10-binary.tar.gz", {f"x/{name}.bin": record_bytes(name) for name in BATCHES})
    asked = []

    def cached(name, checksums, mirrors):
        asked.append((name, list(checksums), mirrors))
        return tmp_path

    monkeypatch.setattr(source, "cached", cached)
    check(cifar10.load_data())
    assert asked == [("cifar10", ["cifar-10-binary.tar.gz"], cifar10.MIRRORS)]


def test_without_a_network_it_is_an_os_error(monkeypatch, tmp_path):
    monkeypatch.setattr(source, "cache_root", lambda: tmp_path)
    monkeypatch.setattr(cifar10, "MIRRORS", ("http://127.0.0.1:9",))
    with pytest.raises(OSError, match="`cifar10`"):
        cifar10.load_data()


def test_a_column_of_labels_goes_everywhere(tmp_path):
    (x, y), _ = cifar10.load_data(write_all(tmp_path, FORMS["binary"]))
    assert utils.to_categorical(y, num_classes=10).shape == (len(y), 10)
    model = Sequential([L.Flatten(input_shape=(32, 32, 3)), L.Dense(10, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"])
    history = model.fit(x / 255.0, y, epochs=1, validation_data=(x / 255.0, y), verbose=0).history
    loss, accuracy = model.evaluate(x / 255.0, y, verbose=0)
    assert history["val_loss"] == [loss]
    assert history["val_accuracy"] == [accuracy]
    p = model.predict(x / 255.0)
    assert accuracy == pytest.approx((p.argmax(axis=1) == y[:, 0]).mean())
    matrix = metrics.confusion_matrix(y, p.argmax(axis=1), num_classes=10)
    assert np.trace(matrix) / matrix.sum() == pytest.approx(accuracy)


# -- damaged files ----------------------------------------------------------------------------------------------------

GOOD = record_bytes("data_batch_2")
XZ, GZ = lzma.compress(GOOD), gzip.compress(GOOD)
BAD_BINARY = {
    "empty": (b"", "cut short: a batch needs"),
    "a web page": (b"<!DOCTYPE html><html>404</html>", "cut short"),
    "a byte short": (GOOD[:-1], f"needs {ROWS * RECORD} bytes, the file holds {ROWS * RECORD - 1}"),
    "a byte long": (GOOD + b"\0", "too long"),
    "a label of 10": (GOOD[: 7 * RECORD] + b"\x0a" + GOOD[7 * RECORD + 1 :], "label in row 7 is not one of 0 to 9"),
    "truncated xz": (XZ[:-20], "truncated or damaged xz"),
    "only the magic of xz": (XZ[:6], "truncated or damaged xz"),
    "a flipped byte in the xz": (XZ[:5000] + bytes([XZ[5000] ^ 1]) + XZ[5001:], "truncated or damaged xz"),
    "another stream after the xz": (XZ + XZ, "too long"),
    "truncated gzip": (GZ[:-20], "truncated or damaged gzip"),
    "a flipped checksum": (GZ[:-8] + bytes([GZ[-8] ^ 1]) + GZ[-7:], "truncated or damaged gzip"),
    "an xz bomb": (lzma.compress(bytes(50_000_000)), "too long"),
}


@pytest.mark.parametrize("name", BAD_BINARY)
def test_a_file_that_is_not_a_batch_is_named(name, tmp_path, monkeypatch):
    content, message = BAD_BINARY[name]
    path = write_all(tmp_path / "cifar10", FORMS["binary"]) / "data_batch_2.bin"
    path.write_bytes(content)
    monkeypatch.setenv("TINYNN_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=message) as caught:
        cifar10.load_data()
    assert str(path) in str(caught.value)


def test_missing_files_and_folders_in_a_file_s_place(tmp_path):
    path = write_all(tmp_path, FORMS["binary"]) / "test_batch.bin"
    path.unlink()
    with pytest.raises(FileNotFoundError, match="is missing") as caught:
        cifar10.load_data(tmp_path)
    assert str(path) in str(caught.value)
    path.mkdir()
    with pytest.raises(IsADirectoryError, match="is a directory; expected a batch") as caught:
        cifar10.load_data(tmp_path)
    assert str(path) in str(caught.value)
    with pytest.raises(FileNotFoundError):
        cifar10.load_data(tmp_path / "nowhere")
    if hasattr(os, "mkfifo"):
        path.rmdir()
        os.mkfifo(path)
        with pytest.raises(OSError, match="not a regular file"):
            cifar10.load_data(tmp_path)


def test_bad_archives_are_named(tmp_path):
    path = tmp_path / "cifar-10-binary.tar.gz"
    files = {f"x/{name}.bin": record_bytes(name) for name in BATCHES}
    whole = write_archive(path, files).read_bytes()
    bad = {
        "no gzip": (b"<html>", "damaged tar"),
        "truncated": (whole[:-5000], "truncated or damaged"),
        "a flipped byte": (whole[:9999] + bytes([whole[9999] ^ 1]) + whole[10000:], "truncated or damaged"),
    }
    for content, message in bad.values():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            cifar10.load_data(tmp_path)
        assert str(path) in str(caught.value)
    write_archive(path, {k: v for k, v in files.items() if "test" not in k})
    with pytest.raises(ValueError, match="no member test_batch"):
        cifar10.load_data(tmp_path)
    write_archive(path, files | {"x/data_batch_3.bin": GOOD[:100]})
    with pytest.raises(ValueError, match="member x/data_batch_3.bin is cut short"):
        cifar10.load_data(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(IsADirectoryError, match="expected an archive"):
        cifar10.load_data(tmp_path)


# -- pickles ----------------------------------------------------------------------------------------------------------


class Call:
    """What pickles as a call of anything."""

    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


@pytest.mark.parametrize("protocol", range(2, 5))
@pytest.mark.parametrize("value", [{}, [1, -5, 2**70, "ü", b"\xff\0", (True, None)], {"a": [[], ()], 3: b"x" * 300}])
def test_plain_values_are_what_pickle_says(value, protocol):
    assert pickles.loads(pickle.dumps(value, protocol=protocol), "file") == value


@pytest.mark.parametrize("order", "CF")
def test_arrays_are_what_pickle_says(order):
    x = np.asarray(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), order=order)
    for protocol in range(2, 5):
        loaded = pickles.loads(pickle.dumps({"x": x, "again": x}, protocol=protocol), "file")
        np.testing.assert_array_equal(loaded["x"], x)
        assert loaded["again"] is loaded["x"]


def system_call(path: Path) -> Call:
    return Call(os.system, f"touch {path}")


def foreign(touched: Path) -> dict[str, tuple[object, str]]:
    """Values whose pickle would do something, and what the refusal names."""
    return {
        "os.system": (system_call(touched), r"names '(posix|nt)\.system'"),
        "inside the labels": ({b"labels": [0, 1, [system_call(touched)]]}, r"names '(posix|nt)\.system'"),
        "beside good data": ({**batch_dict("test_batch"), b"x": system_call(touched)}, r"names '(posix|nt)\.system'"),
        "eval": (Call(eval, "1 + 1"), r"names '(__builtin__|builtins)\.eval'"),
        "a class": (Path("x"), "Path'|names"),
        "a float": ({b"data": 1.5}, "instruction BINFLOAT"),
        "a set": ({1, 2}, "names|instruction"),
        "floats in an array": (np.zeros(3), "array of dtype 'f8'"),
        "objects in an array": (np.array([system_call(touched)], object), r"names '(posix|nt)\.system'|dtype 'O8'"),
        "a bytearray": (bytearray(b"abc"), "names|instruction"),
    }  # fmt: skip


@pytest.mark.parametrize("protocol", range(2, 5))
@pytest.mark.parametrize("name", foreign(Path()))
def test_what_a_pickle_must_not_hold_is_named_and_nothing_runs(name, protocol, tmp_path):
    touched = tmp_path / "touched"
    value, message = foreign(touched)[name]
    folder = write_all(tmp_path / "cifar10", FORMS["Python 2"])
    (folder / "data_batch_4").write_bytes(pickle.dumps(value, protocol=protocol))
    with pytest.raises(ValueError, match=message) as caught:
        cifar10.load_data(folder)
    assert str(folder / "data_batch_4") in str(caught.value)
    assert "Nothing of it was run" in str(caught.value)
    assert not touched.exists()


def test_the_bad_pickles_above_would_really_run(tmp_path):
    """The test itself: with pickle, the file is touched."""
    pickle.loads(pickle.dumps(system_call(tmp_path / "touched")))
    assert (tmp_path / "touched").exists()


BAD_PICKLES = {
    "empty": b"",
    "no pickle": b"<html>",
    "no end": pickle.dumps([1, 2])[:-1],
    "an unknown instruction": b"\x80\x02\xff.",
    "no values": b"\x80\x02.",
    "two values": b"\x80\x02K\x01K\x02.",
    "an open mark": b"\x80\x02K\x01(.",
    "a tuple of nothing": b"\x80\x02\x85.",
    "no mark": b"\x80\x02]K\x01e.",
    "below the mark": b"\x80\x02K\x01(\x85.",
    "append to a number": b"\x80\x02K\x01K\x02a.",
    "an odd dict": b"\x80\x02}(K\x01u.",
    "a list as a key": b"\x80\x02}(]K\x01u.",
    "a tuple as a key": b"\x80\x02}(K\x01\x85K\x01u.",
    "memo of nothing": b"\x80\x02q\x00.",
    "an empty memo": b"\x80\x02h\x07.",
    "build on a list": b"\x80\x02](tb.",
    "reduce of a number": b"\x80\x02K\x01)R.",
    "an extension": b"\x80\x02\x82\x01.",
    "a persistent id": b"\x80\x02K\x01Q.",
    "an instance": b"(ios\nsystem\n.",
    "an object": b"(cnumpy\nndarray\no.",
    "a new object": b"\x80\x02cnumpy\nndarray\n)\x81.",
    "an array called": b"\x80\x02cnumpy\nndarray\nK\x0a\x85R.",
    "another codec": b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00utf-8\x86R.",
    "text with a wild length": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"abc.",
    "bytes with a wild length": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"abc.",
    "a bytearray with a wild length": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"abc.",
    "a number with a wild length": b"\x80\x02\x8b\xff\xff\xff\x7f\x01.",
    "a number of many digits": b"I" + b"9" * 100_000 + b"\n.",
}


@pytest.mark.parametrize("name", BAD_PICKLES)
def test_a_bad_pickle_is_a_value_error(name, tmp_path):
    with pytest.raises(ValueError, match="truncated or damaged|Nothing of it was run"):
        pickles.loads(BAD_PICKLES[name], "file")


def test_a_memo_index_costs_nothing():
    """C's unpickler makes room for 2 ** 31 entries when it reads these nine bytes."""
    assert pickles.loads(b"\x80\x02]r\xff\xff\xff\x7f.", "file") == []


def doubled(times: int) -> bytes:
    """A list of the list before, twice, and so on: 2 ** times leaves in eight bytes each."""
    steps = (b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(times))
    return b"\x80\x02(]q\x00" + b"".join(steps) + b"t."


def test_bombs_of_the_memo_stay_small():
    tracemalloc.start()
    try:
        value = pickles.loads(doubled(200), "file")[-1]
        for _ in range(200):
            assert value[0] is value[1]
            value = value[0]
        text = b"X" + struct.pack("<I", 100_000) + b"a" * 100_000 + b"q\x00"
        again = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R"
        assert pickles.loads(b"\x80\x02(" + text + again + b"t.", "file")[1] == b"a" * 100_000
        with pytest.raises(ValueError, match="again and again"):
            pickles.loads(b"\x80\x02(" + text + 1000 * again + b"t.", "file")
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


def test_deep_nesting_does_not_recurse():
    depth = 50 * sys.getrecursionlimit()
    nested = b")" + b"\x85" * depth
    value = pickles.loads(b"\x80\x02" + nested + b".", "file")
    for _ in range(depth):
        (value,) = value
    assert value == ()
    with pytest.raises(ValueError, match="keys that are not"):  # hashing it would overflow the stack
        pickles.loads(b"\x80\x02}" + nested + b"K\x01s.", "file")


PYTHON_2 = as_python_2(batch_dict("data_batch_1"))


def test_the_python_2_bytes_are_a_pickle():
    assert pickle.loads(PYTHON_2, encoding="bytes")[b"labels"] == batch_dict("data_batch_1")[b"labels"]
    names = [arg for op, arg, _ in pickletools.genops(PYTHON_2) if op.name == "GLOBAL"]
    assert names == ["numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"]


@given(cut=st.integers(0, len(PYTHON_2) - 1))
def test_a_truncated_pickle_is_a_value_error(cut):
    with pytest.raises(ValueError, match="file is a truncated or damaged pickle"):
        pickles.loads(PYTHON_2[:cut], "file")


@given(place=st.integers(0, len(PYTHON_2) - 1), value=st.integers(0, 255))
def test_a_changed_byte_is_other_data_or_a_value_error(place, value):
    content = bytearray(PYTHON_2)
    content[place] = value
    try:
        pickles.loads(content, "file")
    except ValueError as error:
        assert "file" in str(error)


@given(st.lists(st.sampled_from([op.code.encode("latin-1") for op in pickletools.opcodes]), max_size=30), st.data())
def test_any_program_is_a_value_or_a_value_error(codes, data):
    content = b"".join(code + data.draw(st.binary(max_size=6)) for code in codes) + b"."
    try:
        pickles.loads(content, "file")
    except ValueError as error:
        assert "file" in str(error)


def replaced(key: bytes, value: object) -> bytes:
    return pickle.dumps({**batch_dict("data_batch_1"), key: value}, protocol=4)


GOOD_DATA = batch_dict("data_batch_1")[b"data"]
WRONG_BATCHES = {
    "a list": (pickle.dumps([1]), "not a batch of CIFAR-10"),
    "no data": (pickle.dumps({b"labels": [1]}), "expected `data`"),
    "another shape": (replaced(b"data", GOOD_DATA[1:]), "expected `data`"),
    "bytes for an array": (replaced(b"data", GOOD_DATA.tobytes()), "expected `data`"),
    "no labels": (replaced(b"labels", None), "expected `labels`"),
    "too few labels": (replaced(b"labels", [1] * 11), "expected `labels`"),
    "labels that are texts": (replaced(b"labels", ["1"] * 12), "expected `labels`"),
    "labels that are flags": (replaced(b"labels", [True] * 12), "expected `labels`"),
    "a label of 10": (replaced(b"labels", [1] * 7 + [10] + [1] * 4), "label in row 7"),
    "a label of -1": (replaced(b"labels", [1] * 11 + [-1]), "label in row 11"),
    "a huge label": (replaced(b"labels", [1] * 3 + [10**5000] + [1] * 8), "label in row 3"),
}


@pytest.mark.parametrize("name", WRONG_BATCHES)
def test_a_pickle_that_is_not_a_batch_is_named(name, tmp_path):
    content, message = WRONG_BATCHES[name]
    path = write_all(tmp_path, FORMS["Python 2"]) / "data_batch_1"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        cifar10.load_data(tmp_path)
    assert str(path) in str(caught.value)
