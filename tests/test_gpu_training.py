"""Training on the gpu backend: what travels, what is recorded, what is said when memory ends, and moving to and fro.

On a card, or over the stand-in of tests/cuda with emulated kernels.
"""

from __future__ import annotations

import types
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tinynn as nn
from tests import device
from tests.cuda.standin import CapturedGraph, StandIn, gpu_backend
from tests.device import DeviceArray
from tinynn import layers as L
from tinynn.backends import host
from tinynn.models import Model, Sequential

GPU: Any = gpu_backend()
EMULATED = GPU is not None and GPU.array_type is DeviceArray
pytestmark = pytest.mark.skipif(GPU is None, reason="no card, and no C++ compiler for the emulator")
only_emulated = pytest.mark.skipif(not EMULATED, reason="counts what the stand-in does")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((70, 6)).astype("float32")
Y = RNG.integers(0, 3, 70)
IMAGES = RNG.standard_normal((20, 8, 8, 3)).astype("float32")
STEPS = RNG.standard_normal((20, 5, 4)).astype("float32")
WORDS = RNG.integers(1, 30, (20, 6))


def dense(backend: Any, **options: Any) -> Model:
    model = Sequential(
        [
            L.Dense(8, activation="relu", input_shape=(6,)),
            L.Dropout(0.3),
            L.BatchNormalization(),
            L.Dense(3, activation="softmax"),
        ],
        backend=backend,
    )
    options = {"optimizer": nn.optim.Adam(0.01), "metrics": ["accuracy"], **options}
    model.compile(loss="sparse_categorical_crossentropy", **options)
    return model


def images(backend: Any, **options: Any) -> Model:
    inputs = nn.Input((8, 8, 3))
    h = L.Conv2D(4, 3, padding="same", use_bias=False)(inputs)
    h = L.MaxPooling2D()(L.ReLU()(L.BatchNormalization()(h)))
    h = L.ReLU()(L.Add()([L.Conv2D(4, 3, padding="same")(h), h]))
    outputs = L.Dense(3)(L.Flatten()(L.AveragePooling2D()(h)))
    model = Model(inputs, outputs, backend=backend)
    loss = nn.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(nn.optim.SGD(0.05, momentum=0.9), loss, metrics=["accuracy"], fast_math=False, **options)
    return model


def sequences(layer: Any) -> Any:
    def make(backend: Any, **options: Any) -> Model:
        model = Sequential([nn.Input((5, 4)), layer(), L.Dense(3, activation="softmax")], backend=backend)
        model.compile("rmsprop", "sparse_categorical_crossentropy", **options)
        return model

    return make


def words(backend: Any, **options: Any) -> Model:
    inputs = nn.Input((6,), dtype="int32")
    h = L.Embedding(30, 8, mask_zero=True)(inputs)
    h = L.LayerNormalization()(L.Add()([L.MultiHeadAttention(2, 4)(h, h), h]))
    model = Model(inputs, L.Dense(3, activation="softmax")(L.GlobalAveragePooling1D()(h)), backend=backend)
    model.compile("adam", "sparse_categorical_crossentropy", **options)
    return model


KINDS: dict[str, tuple[Any, np.ndarray]] = {
    "dense": (dense, X),
    "images": (images, IMAGES),
    "lstm": (sequences(lambda: L.LSTM(6)), STEPS),
    "gru": (sequences(lambda: L.GRU(6, recurrent_dropout=0.2)), STEPS),
    "rnn": (sequences(lambda: L.Bidirectional(L.SimpleRNN(6))), STEPS),
    "words": (words, WORDS),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def trained(kind: str, backend: Any, epochs: int = 3, batch_size: int = 4, **options: Any) -> tuple[Any, Model]:
    make, x = KINDS[kind]
    nn.set_seed(3)
    model = make(backend, **options)
    history = model.fit(x, Y[: len(x)], batch_size=batch_size, epochs=epochs, verbose=0)
    return history.history, model


def weights(model: Model) -> list[np.ndarray]:
    return [np.array(host(v.data)) for v in model.variables()]


def close(got: Model, want: Model, tolerance: float = 2e-4) -> None:
    for a, b in zip(weights(got), weights(want), strict=True):
        assert np.abs(a - b).max() <= tolerance * max(np.abs(b).max(), 1e-2)


def same(got: Model, want: Model) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(weights(got), weights(want), strict=True))


@every_kind
def test_a_network_learns_as_on_the_cpu(kind: str) -> None:
    logs, model = trained(kind, GPU)
    wanted, other = trained(kind, "cpu")
    np.testing.assert_allclose(logs["loss"], wanted["loss"], rtol=1e-4)
    close(model, other)


@every_kind
def test_two_runs_give_the_same_bytes(kind: str) -> None:
    assert same(trained(kind, GPU, 2)[1], trained(kind, GPU, 2)[1])


# -- recorded steps --------------------------------------------------------------------------------------------------


@every_kind
def test_recorded_steps_give_the_same_bytes(kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logs, model = trained(kind, GPU, jit=True)
    wanted, other = trained(kind, GPU)
    assert logs == wanted
    assert same(model, other)
    assert model.stream.step == other.stream.step
    assert host(model.optimizer.state).tolist() == host(other.optimizer.state).tolist()


@only_emulated
def test_what_is_recorded_is_launched_once_a_step() -> None:
    before = CapturedGraph.launches
    trained("dense", GPU, epochs=4, batch_size=16, jit=True)  # 4 whole batches and one of 6 rows in an epoch
    assert CapturedGraph.launches - before == 4 * 5 - 2 * 2  # two steps of each shape warm up


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": nn.optim.schedules.CosineDecay},
        {"clipnorm": 0.5},
        {"global_clipnorm": 0.5},
        {"weight_decay": 0.01},
    ],
    ids=str,
)
def test_what_changes_from_step_to_step_is_on_the_device(options: dict[str, Any]) -> None:
    def optimizer() -> Any:
        given = dict(options)
        schedule = given.pop("optimizer", None)
        return nn.optim.AdamW(0.01 if schedule is None else schedule(0.05, 12), **given)

    assert same(
        trained("dense", GPU, optimizer=optimizer(), jit=True)[1], trained("dense", GPU, optimizer=optimizer())[1]
    )


def test_a_learning_rate_set_between_epochs_counts() -> None:
    def run(jit: bool) -> Model:
        nn.set_seed(1)
        model = dense(GPU, jit=jit)
        halve = nn.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
        model.fit(X, Y, batch_size=10, epochs=3, verbose=0, callbacks=[halve])
        return model

    assert same(run(True), run(False))


def test_a_step_that_is_not_finite_is_skipped_and_named() -> None:
    x = X.copy()
    x[45, 2] = np.inf
    nn.set_seed(1)
    model = dense(GPU, jit=True)
    with pytest.raises(ValueError, match="the input of layer 'dense' holds values that are not finite"):
        model.fit(x, Y, batch_size=5, epochs=2, verbose=0, shuffle=False)
    assert all(np.isfinite(w).all() for w in weights(model))


class Peak(nn.metrics.Metric):
    """A metric that makes a new array in each update: it cannot be part of a recording."""

    default_name = "peak"

    def reset_state(self) -> None:
        self.most: Any = None

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        x = y_pred.max()
        self.most = x if self.most is None else np.maximum(self.most, x)

    def result(self) -> float:
        return float(host(self.most))


def test_a_metric_that_counts_otherwise_is_measured_beside_the_recording() -> None:
    logs, model = trained("dense", GPU, jit=True, metrics=["accuracy", Peak()])
    wanted, other = trained("dense", GPU, metrics=["accuracy", Peak()])
    assert logs == wanted
    assert same(model, other)


class FromTheHost(L.Layer):
    """Adds an array of the host in each step."""

    def forward(self, x: Any) -> Any:
        return x + np.ones(x.shape[-1], "float32")


def test_what_cannot_be_recorded_runs_and_says_why() -> None:
    def make(layer: Any) -> Model:
        nn.set_seed(1)
        model = Sequential([nn.Input((5, 4)), layer, L.Flatten(), L.Dense(3)], backend=GPU)
        model.compile("sgd", nn.losses.SparseCategoricalCrossentropy(from_logits=True), jit=True)
        return model

    y = Y[:20]
    with pytest.warns(UserWarning, match=r"in spite of jit=True: a step that takes an array of shape \(4,\) from the"):
        make(FromTheHost()).fit(STEPS, y, batch_size=4, verbose=0)
    stateful = make(L.LSTM(3, stateful=True, return_sequences=True))
    with pytest.warns(UserWarning, match="layer 'lstm' is stateful"):
        stateful.fit(STEPS, y, batch_size=4, shuffle=False, verbose=0)


def test_batches_of_many_shapes_run_kernel_by_kernel_from_the_fifth_on() -> None:
    def batches() -> Iterator[Any]:
        for rows in (2, 3, 4, 5, 6) * 4:
            yield X[:rows], Y[:rows]

    nn.set_seed(1)
    model, other = dense(GPU, jit=True), None
    with pytest.warns(UserWarning, match=r"4 shapes of batches are recorded.*\(6, 6\)"):
        model.fit(batches(), steps_per_epoch=20, verbose=0)
    nn.set_seed(1)
    other = dense(GPU)
    other.fit(batches(), steps_per_epoch=20, verbose=0)
    assert same(model, other)


def test_jit_changes_nothing_on_the_cpu_and_is_saved(tmp_path: Any) -> None:
    _, model = trained("dense", "cpu", jit=True)
    assert same(model, trained("dense", "cpu")[1])
    model.save(tmp_path / "model.tinynn")
    assert nn.load_model(tmp_path / "model.tinynn").compiled.jit is True


# -- what travels ----------------------------------------------------------------------------------------------------


@only_emulated
@pytest.mark.parametrize("jit", [False, True])
def test_a_step_takes_its_batch_from_the_host_and_nothing_else(jit: bool) -> None:
    def sent(epochs: int) -> int:
        before = StandIn.sent
        trained("dense", GPU, epochs=epochs, jit=jit)
        return StandIn.sent - before

    assert sent(6) == sent(1)  # weights at the beginning; batches go through page-locked memory


@only_emulated
def test_nothing_is_read_back_but_for_the_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    original = DeviceArray.get
    monkeypatch.setattr(DeviceArray, "get", lambda self: reads.append(self.nbytes) or original(self))

    def count(rows: int) -> int:
        nn.set_seed(1)
        model = dense(GPU)
        reads.clear()
        model.fit(np.resize(X, (rows, 6)), np.resize(Y, rows), batch_size=2, epochs=1, verbose=0)
        return len(reads)

    assert count(8) == count(64)


def test_batches_of_changing_size_arrive_whole() -> None:
    model = Sequential([nn.Input((6,)), L.Activation("linear")], backend=GPU)
    for size in (1, 3, 16, 64, 70):
        np.testing.assert_array_equal(model.predict(X, batch_size=size), X)


def test_staging_keeps_two_batches_apart() -> None:
    staging = GPU.staging()
    last, seen = None, []
    for k in range(6):
        staging.turn()
        array = staging.put(0, (3,), "float32", lambda out, k=k: out.fill(k))
        assert host(array).tolist() == [k] * 3
        if last is not None:
            assert host(last).tolist() == [k - 1] * 3
        seen.append(id(array))
        last = array
    assert seen == seen[:2] * 3


def test_staging_leaves_alone_what_somebody_keeps() -> None:
    staging = GPU.staging()
    arrays, rows = [], []
    for k in range(6):
        staging.turn()
        arrays.append(staging.put(0, (3,), "float32", lambda out, k=k: out.fill(k)))
        rows.append(staging.put(1, (2, 3), "float32", lambda out, k=k: out.fill(k))[1])
    assert [host(array).tolist() for array in arrays] == [[k] * 3 for k in range(6)]
    assert [host(row).tolist() for row in rows] == [[k] * 3 for k in range(6)]


# -- moving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_a_model_moves_to_and_fro_with_its_optimizer(optimizer: str) -> None:
    nn.set_seed(1)
    model = dense("cpu", optimizer=optimizer)
    model.fit(X, Y, verbose=0)
    arrays = [np.array(host(a)) for a in (*(v.data for v in model.variables()), *model.optimizer.variables)]
    for backend in (GPU, "reference", GPU, "cpu"):
        model.backend = backend
        now = [*(v.data for v in model.variables()), *model.optimizer.variables]
        assert all(isinstance(a, model.backend.array_type) for a in now)
        assert [host(a).tobytes() for a in now] == [a.tobytes() for a in arrays]


def test_training_goes_on_where_it_was_on_another_backend() -> None:
    def run(*places: Any) -> Model:
        nn.set_seed(1)
        model = dense(places[0])
        for place in places:
            model.backend = place
            model.fit(X, Y, batch_size=10, epochs=2, verbose=0)
        return model

    close(run("cpu", GPU, "cpu"), run("cpu", "cpu", "cpu"))


def test_states_of_recurrent_layers_move_along() -> None:
    model = Sequential([nn.Input(batch_shape=(4, 5, 4)), L.LSTM(3, stateful=True)], backend="cpu")
    model.predict(STEPS[:4], batch_size=4)
    before = model.layers[0].states
    model.backend = GPU
    for a, b in zip(model.layers[0].states, before, strict=True):
        np.testing.assert_array_equal(a, b)
    model.predict(STEPS[:4], batch_size=4)


def test_weights_in_the_buffer_of_another_model_do_not_move() -> None:
    inner = dense("cpu")
    outer = Sequential([nn.Input((6,)), inner], backend="cpu")
    outer.predict(X[:2])
    inner.fit(X, Y, verbose=0)
    with pytest.raises(RuntimeError, match="lies in the buffer of an optimizer that another model was compiled with"):
        outer.backend = GPU


# -- errors ----------------------------------------------------------------------------------------------------------


@only_emulated
def test_where_memory_ends_the_layer_and_a_batch_that_fits_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    nn.set_seed(1)
    model = Sequential([L.Dense(300, activation="relu", input_shape=(6,)), L.Dense(3)], backend=GPU)
    model.compile("sgd", "mse")
    y = np.zeros((64, 3))
    model.fit(X[:2], y[:2], verbose=0)
    before, step = weights(model), model.stream.step.copy()
    monkeypatch.setattr(device.MEMORY, "limit", device.MEMORY.used + 60_000)
    with pytest.raises(MemoryError) as caught:
        model.fit(X[:64], y, batch_size=64, verbose=0)
    message = str(caught.value)
    assert "layer 'dense' (" in message
    assert "Out of memory allocating 76,800 bytes" in message
    size = int(message.rpartition("use batch_size=")[2])
    assert "A batch of 64 rows does not fit into memory" in message
    assert [a.tobytes() for a in weights(model)] == [a.tobytes() for a in before]
    assert model.stream.step >= step
    model.fit(X[:64], y, batch_size=size, verbose=0)
    assert size >= 16
    with pytest.raises(MemoryError, match="layer 'dense"):
        model.fit(X[:64], y, batch_size=2 * size, verbose=0)
    for call in (lambda: model.predict(X[:64], batch_size=64), lambda: model.evaluate(X[:64], y, 64, verbose=0)):
        with pytest.raises(MemoryError, match="use batch_size="):
            call()
    monkeypatch.setattr(device.MEMORY, "limit", device.MEMORY.used + 100)
    with pytest.raises(MemoryError, match="Not even a batch of one row"):
        model.fit(X[:8], y[:8], verbose=0)


def test_indices_out_of_range_are_refused() -> None:
    model = words(GPU)
    bad = WORDS.copy()
    bad[3, 2] = 30
    with pytest.raises((ValueError, IndexError), match="30"):
        model.fit(bad, Y[:20], verbose=0)
    with pytest.raises((ValueError, IndexError)):
        dense(GPU).fit(X, Y + 1, verbose=0)


@only_emulated
@pytest.mark.parametrize("way", ["forward", "backward"])
def test_debug_names_the_layer_of_a_failing_kernel(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card reports an illegal address when it is next waited for: at the end of the node, with TINYNN_DEBUG=1."""
    model = dense(GPU)
    kernels, late = GPU.dense, []
    broken = types.SimpleNamespace(forward=kernels.forward, backward=kernels.backward)

    def fails(*arguments: Any) -> None:
        getattr(kernels, way)(*arguments)
        if len(late) == (1 if way == "forward" else 0):  # the second layer forward, the first one reached backward
            late.append("cudaErrorIllegalAddress: an illegal memory access was encountered")
        elif not late:
            late.append("")

    def synchronize() -> None:
        if late and late[-1]:
            raise RuntimeError(late[-1])

    setattr(broken, way, fails)
    model.backend = replace(GPU, dense=broken, synchronize=synchronize)
    monkeypatch.setenv("TINYNN_DEBUG", "1")
    with pytest.raises(RuntimeError, match="illegal memory access") as caught:
        model.fit(X, Y, verbose=0)
    assert any(f"layer 'dense_1' (Affine {way}" in note for note in caught.value.__notes__)
