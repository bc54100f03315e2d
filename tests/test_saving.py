"""Models on disk: what comes back is what was saved and goes on as it would have; what is damaged is refused."""

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import tinynn as nn
from tinynn import Graph, Input, Model, Parameter, Sequential, files, optim, schedules
from tinynn import layers as L

RNG = np.random.default_rng(0)
X = RNG.standard_normal((48, 6)).astype("float32")
Y = RNG.integers(0, 3, 48)
OPTIMIZERS = {
    "sgd": lambda: optim.SGD(0.1),
    "momentum": lambda: optim.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: optim.Adam(0.01),
    "adamw": lambda: optim.AdamW(schedules.CosineDecay(0.01, 40), weight_decay=0.01),
    "nadam": lambda: optim.Nadam(0.01),
    "adamax": lambda: optim.Adamax(0.01),
    "rmsprop": lambda: optim.RMSprop(0.01, centered=True, momentum=0.9),
    "adagrad": lambda: optim.Adagrad(0.1),
    "adadelta": lambda: optim.Adadelta(1.0),
    "clipped": lambda: optim.Adam(0.01, global_clipnorm=0.5, weight_decay=0.01),
}


def stack(optimizer="adam"):
    """Everything with a state: random numbers, running statistics, slots."""
    nn.set_seed(3)
    model = Sequential(
        [
            L.Dense(8, activation="relu", kernel_regularizer="l2", input_shape=(6,)),
            L.BatchNormalization(),
            L.Dropout(0.3),
            L.Dense(3, activation="softmax"),
        ]
    )
    model.compile(OPTIMIZERS[optimizer](), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def branches():
    """Shared layers, a nested model that is called twice, a merge, an option of a call."""
    nn.set_seed(3)
    x = Input((6,), name="features")
    shared = L.Dense(6, activation="tanh")
    inner = Sequential([L.Dense(5), L.LeakyReLU(negative_slope=0.1)], name="inner")
    y = L.Add()([shared(shared(x)), x])
    y = L.Concatenate()([inner(y), inner(x), L.Dropout(0.2)(x, training=False)])
    model = Model(x, L.Dense(3, activation="softmax")(y))
    model.compile(optim.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def train(model, first, last):
    return model.fit(X, Y, batch_size=20, epochs=last, initial_epoch=first, verbose=0).history


def everything(model):
    """All bytes that decide how it goes on."""
    arrays = [*model.get_weights(), *(np.array(a) for a in model.optimizer.variables)]
    return [a.tobytes() for a in arrays] + [model.stream.step.tobytes(), model.shuffles]


# -- going on ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [*(lambda name=name: stack(name) for name in OPTIMIZERS), branches], ids=[*OPTIMIZERS, "branches"]
)
def test_a_resumed_run_equals_an_uninterrupted_one_byte_for_byte(tmp_path, make):
    whole, part = make(), make()
    train(whole, 0, 4)
    train(part, 0, 2)
    part.save(tmp_path / "model.tinynn")
    loaded = nn.load_model(tmp_path / "model.tinynn")
    assert everything(loaded) == everything(part)
    assert train(loaded, 2, 4)["loss"] == train(part, 2, 4)["loss"]
    assert everything(loaded) == everything(part) == everything(whole)


def test_what_is_loaded_looks_like_what_was_saved(tmp_path, capsys):
    for make in (stack, branches):
        model = make()
        train(model, 0, 1)
        model.save(tmp_path / "model.tinynn")
        loaded = nn.load_model(tmp_path / "model.tinynn")
        np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
        assert list(loaded.named_variables()) == list(model.named_variables())
        assert loaded.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)
        model.summary()
        before = capsys.readouterr().out
        loaded.summary()
        assert capsys.readouterr().out == before


def test_shared_layers_are_shared_again(tmp_path):
    model = branches()
    model.save(tmp_path / "model.tinynn")
    loaded = nn.load_model(tmp_path / "model.tinynn")
    assert loaded.count_params() == model.count_params()
    assert len(loaded.layers) == len(model.layers)


def test_the_same_content_gives_the_same_bytes(tmp_path):
    model = stack()
    model.save(tmp_path / "a.tinynn")
    model.save(tmp_path / "b.tinynn")
    nn.load_model(tmp_path / "a.tinynn").save(tmp_path / "c.tinynn")
    assert (tmp_path / "a.tinynn").read_bytes() == (tmp_path / "b.tinynn").read_bytes()
    assert (tmp_path / "a.tinynn").read_bytes() == (tmp_path / "c.tinynn").read_bytes()


def test_frozen_layers_stay_frozen_as_compile_found_them(tmp_path):
    model = stack()
    model.layers[0].trainable = False
    model.compile("adam", "sparse_categorical_crossentropy")
    model.layers[0].trainable = True  # not compiled yet
    model.save(tmp_path / "model.tinynn")
    loaded = nn.load_model(tmp_path / "model.tinynn")
    assert loaded.layers[0].trainable
    frozen = loaded.layers[0].get_weights()[0]
    with pytest.warns(UserWarning, match="trainable was changed after compile"):
        train(loaded, 0, 1)
    np.testing.assert_array_equal(loaded.layers[0].get_weights()[0], frozen)


def test_states_that_a_recurrent_layer_carries_on(tmp_path):
    model = Sequential([L.LSTM(4, stateful=True, input_shape=(5, 2)), L.Dense(1)])
    model.compile("adam", "mse")
    x = RNG.standard_normal((3, 5, 2)).astype("float32")
    model.predict(x, batch_size=3)
    model.save(tmp_path / "model.tinynn")
    loaded = nn.load_model(tmp_path / "model.tinynn")
    np.testing.assert_array_equal(loaded.predict(x, batch_size=3), model.predict(x, batch_size=3))


def test_models_that_are_not_compiled_or_only_loaded_to_predict(tmp_path):
    model = stack()
    model.save(tmp_path / "model.tinynn")
    assert nn.load_model(tmp_path / "model.tinynn", compile=False).compiled is None
    plain = Sequential([L.Dense(2, input_shape=(3,))])
    plain.save(tmp_path / "plain.tinynn")
    assert nn.load_model(tmp_path / "plain.tinynn").compiled is None


def test_architecture_alone():
    model = branches()
    again = nn.models.model_from_json(model.to_json())
    assert again.to_json() == model.to_json()
    twin = nn.models.clone_model(model)
    assert twin.count_params() == model.count_params()
    assert not np.array_equal(twin.get_weights()[0], model.get_weights()[0])


# -- what is the user's own --------------------------------------------------------------------------------------------


class Scale(L.Layer):
    def __init__(self, start=2.0, **base):
        super().__init__(**base)
        self.start = start

    def build(self, input_shape):
        self.scale = Parameter(input_shape[-1:], nn.initializers.Constant(self.start))
        return input_shape

    def forward(self, x):
        return x * x.graph.parameter(self.scale)


class Pair(Model):
    def __init__(self, units):
        super().__init__()
        self.units = units
        self.first, self.second = L.Dense(units, activation="relu"), L.Dense(3, activation="softmax")

    def forward(self, x):
        return self.second(self.first(x))


def squares(y_true, y_pred):
    return nn.ops.mean((y_pred - y_true) ** 2, axis=-1)


def doubled(x):
    return x * 2.0


def test_layers_models_losses_and_functions_of_ones_own(tmp_path):
    model = Sequential([Scale(3.0, input_shape=(6,)), L.Dense(2, activation=doubled)])
    model.compile("sgd", squares)
    model.fit(X, X[:, :2], verbose=0)
    model.save(tmp_path / "own.tinynn")
    own = {"Scale": Scale, "doubled": doubled, "squares": squares}
    loaded = nn.load_model(tmp_path / "own.tinynn", custom_objects=own)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    for missing in own:
        some = {name: value for name, value in own.items() if name != missing}
        with pytest.raises(ValueError, match=missing):
            nn.load_model(tmp_path / "own.tinynn", custom_objects=some)


class Leaky(L.Layer):
    """A cell."""

    def __init__(self, units, keep=0.9, **base):
        super().__init__(**base)
        self.units, self.keep = units, keep

    @property
    def state_size(self):
        return self.units

    def build(self, input_shape):
        self.kernel = self.add_weight((input_shape[-1], self.units))
        return (self.units,)

    def forward(self, x, states):
        h = self.keep * states[0] + x @ x.graph.parameter(self.kernel)
        return h, [h]


class Shrink(nn.regularizers.L2):
    """An L2 under another name."""


OWN_INSIDE = {
    "cell": lambda: L.RNN(Leaky(3, keep=0.5)),
    "cells": lambda: L.RNN([Leaky(3, keep=0.5), L.GRUCell(2)], return_sequences=True),
    "both ways": lambda: L.Bidirectional(L.RNN(Leaky(3, keep=0.5), return_sequences=True)),
    "every step": lambda: L.TimeDistributed(Scale(3.0)),
    "penalty": lambda: L.Dense(3, kernel_regularizer=Shrink(0.25)),
}


@pytest.mark.parametrize("name", OWN_INSIDE)
def test_objects_of_ones_own_inside_layers_of_ours(tmp_path, name):
    model = Sequential([Input((5, 2)), OWN_INSIDE[name]()])
    model.compile("sgd", "mse")
    x = RNG.standard_normal((4, 5, 2)).astype("float32")
    model.save(tmp_path / "own.tinynn")
    own = {"Leaky": Leaky, "Scale": Scale, "Shrink": Shrink}
    loaded = nn.load_model(tmp_path / "own.tinynn", custom_objects=own)
    assert loaded.to_json() == model.to_json()
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    y = np.ones_like(model.predict(x))
    assert loaded.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
    with pytest.raises(ValueError, match="own.tinynn.*unknown"):
        nn.load_model(tmp_path / "own.tinynn")


class Attention(L.Layer):
    """Another one than ours, with a layer of ones own among its arguments, and made by a method of its own."""

    made_by = "the constructor"

    def __init__(self, inner, **base):
        super().__init__(**base)
        self.first = inner

    def forward(self, x):
        return self.first(x)

    def get_config(self):
        return {"name": self.name, "inner": self.first}

    @classmethod
    def from_config(cls, config):
        layer = cls(**config)
        layer.made_by = "from_config"
        return layer


def test_a_layer_of_ones_own_with_the_name_of_one_of_ours(tmp_path):
    a, b = Input((6,)), Input((5, 2))
    y = Attention(Scale(3.0))(a)
    model = Model([a, b], [y, L.Attention()([b, b])])
    model.save(tmp_path / "own.tinynn")
    loaded = nn.load_model(tmp_path / "own.tinynn", custom_objects={"Attention": Attention, "Scale": Scale})
    assert {type(layer) for layer in loaded.layers} == {Attention, L.Attention}
    assert loaded.layers[0].made_by == "from_config" and type(loaded.layers[0].first) is Scale
    data = [X, RNG.standard_normal((48, 5, 2))]
    for mine, theirs in zip(model.predict(data), loaded.predict(data), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    with pytest.raises(ValueError, match="Attention, which is none of tinynn's: give it, as in custom_objects="):
        nn.load_model(tmp_path / "own.tinynn", custom_objects={"Scale": Scale})


class Block(L.Layer):
    """Makes layers that its constructor's arguments say nothing of."""

    def __init__(self):
        super().__init__()
        self.first, self.second = L.Dense(4), L.Dense(3)

    def forward(self, x):
        return self.second(self.first(x))


def test_layers_inside_a_layer_of_ones_own_come_back_frozen(tmp_path):
    model = Sequential([Input((6,)), Block(), L.Dense(3, activation="softmax")])
    model.layers[0].first.trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.save(tmp_path / "block.tinynn")
    loaded = nn.load_model(tmp_path / "block.tinynn", custom_objects={"Block": Block})
    assert not loaded.layers[0].first.trainable
    assert [w.name for w in loaded.trainable_weights] == [w.name for w in model.trainable_weights]
    before = loaded.layers[0].first.get_weights()
    loaded.compile("sgd", "sparse_categorical_crossentropy")
    loaded.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(before[0], loaded.layers[0].first.get_weights()[0])


def test_a_subclassed_model(tmp_path):
    model = Pair(7)
    model.compile("adam", "sparse_categorical_crossentropy")
    train(model, 0, 2)
    model.save(tmp_path / "pair.tinynn")
    loaded = nn.load_model(tmp_path / "pair.tinynn", custom_objects={"Pair": Pair})
    train(model, 2, 3)
    train(loaded, 2, 3)
    assert everything(loaded) == everything(model)


def test_what_cannot_be_saved_says_so_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "model.tinynn"
    path.write_bytes(b"old")
    model = Sequential([L.Lambda(lambda x: x * 2, input_shape=(3,))])
    with pytest.raises(TypeError, match="Lambda 'lambda' cannot be saved"):
        model.save(path)
    nameless = Sequential([L.Dense(2, activation=lambda x: x, input_shape=(3,))])
    with pytest.raises(TypeError, match="holds a function without a name"):
        nameless.save(path)
    with pytest.raises(RuntimeError, match="no weights yet"):
        Sequential([L.Dense(2)]).save(path)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        stack().save(path, overwrite=False)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["model.tinynn"]


# -- weights -----------------------------------------------------------------------------------------------------------


def test_weights_by_name(tmp_path):
    model, other = stack(), stack()
    train(model, 0, 1)
    model.save_weights(tmp_path / "w.safetensors")
    assert set(load_file(tmp_path / "w.safetensors")) == set(model.named_variables())
    other.load_weights(tmp_path / "w.safetensors")
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    model.save(tmp_path / "model.tinynn")
    third = stack()
    third.load_weights(tmp_path / "model.tinynn")
    np.testing.assert_array_equal(third.predict(X), model.predict(X))


def test_weights_that_do_not_fit_are_all_listed_and_nothing_changes(tmp_path):
    model = stack()
    arrays = {name: v.numpy() for name, v in model.named_variables().items()}
    arrays["dense/kernel"] = np.ones((6, 9), "float32")
    arrays["dense/gain"] = np.ones(3, "float32")
    del arrays["dense_1/bias"]
    save_file(arrays, tmp_path / "w.safetensors")
    before = everything(model)
    with pytest.raises(ValueError, match="w.safetensors") as caught:
        model.load_weights(tmp_path / "w.safetensors")
    for part in (
        "missing: dense_1/bias",
        "not in the model: dense/gain",
        "dense/kernel is (6, 8), the file has (6, 9)",
    ):
        assert part in str(caught.value)
    assert everything(model) == before
    arrays["dense_1/kernel"] = np.full((8, 3), 5, "float32")
    save_file(arrays, tmp_path / "w.safetensors")
    with pytest.warns(UserWarning, match="missing: dense_1/bias"):
        model.load_weights(tmp_path / "w.safetensors", strict=False)
    np.testing.assert_array_equal(model.layers[3].kernel.numpy(), 5)


def test_arrays_that_do_not_lie_row_by_row(tmp_path):
    turned = np.arange(6.0).reshape(2, 3).T
    files.write(
        tmp_path / "a", {"k": [1, None, "x"]}, {"turned": turned, "number": np.float64(3), "none": np.zeros((0, 2))}
    )
    record, arrays = files.read(tmp_path / "a")
    assert record == {"k": [1, None, "x"]}
    np.testing.assert_array_equal(arrays["turned"], turned)
    assert arrays["number"].shape == () and arrays["none"].shape == (0, 2)


# -- damaged and hostile files -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The bytes of a small model."""
    model = Sequential([L.Dense(2, input_shape=(3,))])
    model.compile("adam", "mse")
    path = tmp_path_factory.mktemp("saved") / "model.tinynn"
    model.save(path)
    return path.read_bytes()


def refused(path):
    with pytest.raises((ValueError, OSError), match=path.name):
        nn.load_model(path)


def test_every_changed_byte_is_noticed(tmp_path, saved):
    path, rng = tmp_path / "model.tinynn", np.random.default_rng(1)
    for k in range(1000):
        data = bytearray(saved)
        place = k if k < 300 else int(rng.integers(len(data)))
        data[place] ^= int(rng.integers(1, 256))
        path.write_bytes(data)
        refused(path)


def test_every_truncated_file_is_refused(tmp_path, saved):
    path, rng = tmp_path / "model.tinynn", np.random.default_rng(2)
    for length in [*range(200), *rng.integers(0, len(saved), 800)]:
        path.write_bytes(saved[:length])
        refused(path)


def test_noise_zeros_and_longer_files(tmp_path, saved):
    path = tmp_path / "model.tinynn"
    for data in (b"", b"PK\x03\x04" + bytes(100), bytes(5000), np.random.default_rng(3).bytes(5000), saved + b"x"):
        path.write_bytes(data)
        refused(path)


def test_declared_sizes_that_the_file_does_not_hold(tmp_path):
    path = tmp_path / "model.tinynn"
    for header in ({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}, {"a": 3}, [], "x"):
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text)
        refused(path)
    path.write_bytes((1 << 62).to_bytes(8, "little") + b"{}")
    refused(path)


def with_record(path, change):
    """A file whose checksum is right and whose record is not."""
    model = Sequential([L.Dense(2, input_shape=(3,))])
    model.save(path)
    record, arrays = files.read(path)
    change(record)
    files.write(path, record, arrays)


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r["architecture"]["layers"][0].update({"class": "os.system"}),
        lambda r: r["architecture"]["layers"][0].update({"class": "Model"}),
        lambda r: r["architecture"]["layers"][0]["config"].update(units=10**12),
        lambda r: r["architecture"]["layers"][0]["config"].update(units=-1),
        lambda r: r["architecture"]["layers"][0]["config"].update(kernel_initializer={"function": "eval"}),
        lambda r: r["architecture"]["layers"][0]["config"].update(nonsense=1),
        lambda r: r["architecture"].update(model=7),
        lambda r: r["architecture"].update(model=0),
        lambda r: r.pop("architecture"),
        lambda r: r.update(format=99),
        lambda r: r.update(stream=["a", 0, 0, 0]),
        lambda r: r["architecture"]["layers"][1].update(stack=[0, 0]),
    ],
)
def test_a_record_that_makes_no_sense_is_a_value_error_with_the_path(tmp_path, change):
    path = tmp_path / "model.tinynn"
    with_record(path, change)
    with pytest.raises(ValueError, match="model.tinynn"):
        nn.load_model(path)


def test_folders_pipes_and_devices(tmp_path):
    refused_quickly = [tmp_path, Path("/dev/null"), Path("/dev/zero")]
    pipe = tmp_path / "pipe"
    if hasattr(os, "mkfifo"):
        os.mkfifo(pipe)
        refused_quickly.append(pipe)
    for path in refused_quickly:
        if path.exists():
            with pytest.raises((ValueError, OSError), match=path.name):
                nn.load_model(path)
    with pytest.raises(FileNotFoundError):
        nn.load_model(tmp_path / "nothing.tinynn")


def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path):
    """Kill -9 in the middle of many writes: what bears the name can always be loaded."""
    path = tmp_path / "model.tinynn"
    program = (
        "import numpy as np, sys\nfrom tinynn import files\n"
        "for k in range(10**6):\n    files.write(sys.argv[1], {'k': k}, {'a': np.full(200_000, k)})\n"
    )
    env = os.environ | {"PYTHONPATH": str(Path(nn.__file__).parent.parent)}
    for delay in (0.3, 0.55, 0.8):
        process = subprocess.Popen([sys.executable, "-c", program, str(path)], env=env)
        for _ in range(600):
            if path.exists() or process.poll() is not None:
                break
            threading.Event().wait(0.05)
        threading.Event().wait(delay)
        process.kill()
        process.wait()
        record, arrays = files.read(path)
        assert (arrays["a"] == record["k"]).all()


def test_permissions_are_those_of_a_new_file_or_of_the_old_one(tmp_path):
    path = tmp_path / "a"
    files.write(path, {}, {})
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~files.umask()
    path.chmod(0o640)
    files.write(path, {}, {})
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_stays_a_link(tmp_path):
    files.write(tmp_path / "target", {"k": 1}, {})
    (tmp_path / "link").symlink_to(tmp_path / "target")
    files.write(tmp_path / "link", {"k": 2}, {})
    assert (tmp_path / "link").is_symlink() and files.read(tmp_path / "target")[0] == {"k": 2}


def test_a_full_disk_or_a_missing_folder_leaves_no_rest(tmp_path, monkeypatch):
    files.write(tmp_path / "a", {"k": 1}, {})

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="No space left"):
        files.write(tmp_path / "a", {"k": 2}, {})
    monkeypatch.undo()
    assert files.read(tmp_path / "a")[0] == {"k": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    with pytest.raises(FileNotFoundError):
        files.write(tmp_path / "no" / "a", {}, {})


def test_graph_by_hand_goes_on_too(tmp_path):
    """A training loop of one's own: the optimizer is the model's."""
    model = stack()
    model.save(tmp_path / "m")
    runs = []
    for m in (model, nn.load_model(tmp_path / "m")):
        for _ in range(3):
            g = Graph(training=True)
            loss = nn.losses.sparse_categorical_crossentropy(Y, m(g.tensor(X)))
            g.backward(loss)
            m.optimizer.step()
        runs.append(everything(m))
    assert runs[0] == runs[1]
