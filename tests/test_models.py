"""Sequential and Model: structure, names, summary, weights, freezing, nesting, callbacks, History."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import tinynn as nn
from tinynn import Graph, Input, Model, Parameter, Sequential, losses, optim
from tinynn import layers as L

rng = np.random.default_rng(0)
X = rng.standard_normal((50, 4)).astype("float32")
Y = rng.integers(0, 3, 50)


def model_of(*layers, optimizer="sgd", loss="sparse_categorical_crossentropy", seed=7, **options):
    nn.set_seed(seed)
    model = Sequential(layers, **options)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def small(**options):
    return model_of(
        L.Dense(6, activation="relu", input_shape=(4,)), L.Dropout(0.3), L.Dense(3, activation="softmax"), **options
    )


# -- structure -------------------------------------------------------------------------------------------------------


def test_names_do_not_depend_on_what_else_was_made():
    for _ in range(2):
        model = Sequential([L.Dense(3, input_shape=(2,)), L.Dense(3), L.Dropout(0.1), L.Dense(1)])
        assert [layer.name for layer in model.layers] == ["dense", "dense_1", "dropout", "dense_2"]
        assert [v.name for v in model.variables()][:3] == ["dense/kernel", "dense/bias", "dense_1/kernel"]
        assert model.name == "sequential"


def test_summary_prints_keras_columns_and_allocates_nothing(capsys):
    model = Sequential(
        [
            L.Flatten(input_shape=(224, 224, 3)),
            L.Dense(4096, activation="relu"),
            L.BatchNormalization(),
            L.Dense(1000, activation="softmax"),
        ]
    )
    model.summary()
    text = capsys.readouterr().out
    first = 224 * 224 * 3 * 4096 + 4096
    assert 'Model: "sequential"' in text
    assert "Layer (type)" in text
    assert "Output Shape" in text
    assert f"{first:,}" in text
    assert "(None, 4096)" in text
    assert f"Total params: {first + 4 * 4096 + 4097000:,}" in text
    assert f"Non-trainable params: {2 * 4096:,}" in text
    assert not any(v.drawn for v in model.variables())
    assert model.count_params() == first + 4 * 4096 + 4097000


def test_summary_before_the_shapes_are_known_says_what_to_do():
    with pytest.raises(RuntimeError, match="input_shape"):
        Sequential([L.Dense(3)]).summary()


def test_input_in_a_sequential_and_a_deferred_build():
    with_input = Sequential([Input(shape=(4,)), L.Dense(3)])
    assert with_input.output_shape == (3,)
    deferred = Sequential([L.Dense(3)])
    deferred.build((None, 4))
    assert deferred.count_params() == 15


def test_a_layer_may_have_an_order_of_its_own():
    """Models find their inputs by the attribute of that name."""

    class Sorted(L.Layer):
        order = None

        def forward(self, x):
            return x

    for first in (L.LayerNormalization(), Sorted()):
        model = Sequential([Input((4,)), first, L.Dense(3)])
        assert model.predict(X).shape == (50, 3)


def test_pop_and_add_ask_for_compile_again():
    model = small()
    model.pop()
    model.add(L.Dense(2, activation="softmax"))
    with pytest.raises(RuntimeError, match="compile"):
        model.fit(X, Y % 2)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(X, Y % 2, verbose=0)
    assert model.predict(X).shape == (50, 2)


def test_config_round_trip_of_a_sequential():
    model = small()
    again = Sequential([getattr(L, c["class"])(**c["config"]) for c in model.config()["layers"]])
    again.set_weights(model.get_weights())
    assert np.array_equal(again.predict(X), model.predict(X))


# -- the functional form ---------------------------------------------------------------------------------------------


def test_functional_equals_sequential():
    stack = small()
    x = Input(shape=(4,))
    h = L.Dense(6, activation="relu")(x)
    y = L.Dense(3, activation="softmax")(L.Dropout(0.3)(h))
    model = Model(x, y)
    model.set_weights(stack.get_weights())
    assert np.array_equal(model.predict(X), stack.predict(X))
    assert model.name == "model"


def test_functional_shares_layers_and_nests_models():
    shared = L.Dense(4, activation="tanh")
    x = Input(shape=(4,))
    inner = Sequential([L.Dense(4, input_shape=(4,))])
    y = L.Dense(3, activation="softmax")(inner(shared(shared(x))))
    model = Model(x, y)
    assert [la.name for la in model.layers] == ["dense", "sequential", "dense_1"]
    assert [v.name for v in model.variables()] == [
        f"{layer}/{name}" for layer in ("dense", "sequential/dense", "dense_1") for name in ("kernel", "bias")
    ]
    model.compile("adam", "sparse_categorical_crossentropy")
    before = model.evaluate(X, Y, verbose=0)
    model.fit(X, Y, epochs=5, verbose=0)
    assert model.evaluate(X, Y, verbose=0) < before
    nn.gradcheck.check(model, X[:4], Y[:4])


def test_functional_says_which_input_is_missing():
    a, b = Input(shape=(2,), name="a"), Input(shape=(2,), name="b")
    y = L.Dense(1)(b)
    with pytest.raises(ValueError, match="not among the inputs"):
        Model(a, y)


# -- training --------------------------------------------------------------------------------------------------------


def test_a_second_fit_goes_on_where_the_first_stopped():
    once, twice = small(optimizer="adam"), small(optimizer="adam")
    a = once.fit(X, Y, epochs=4, batch_size=10, verbose=0).history["loss"]
    b = twice.fit(X, Y, epochs=2, batch_size=10, verbose=0).history["loss"]
    b += twice.fit(X, Y, epochs=2, batch_size=10, verbose=0).history["loss"]
    assert a == b
    assert all(np.array_equal(p, q) for p, q in zip(once.get_weights(), twice.get_weights(), strict=True))


def test_same_seed_same_bytes_on_every_backend_up_to_rounding():
    runs = {b: small(backend=b) for b in ("cpu", "reference")}
    histories = {b: m.fit(X, Y, epochs=3, batch_size=8, verbose=0).history for b, m in runs.items()}
    assert histories["cpu"]["loss"] == pytest.approx(histories["reference"]["loss"], rel=1e-4)
    again = small(backend="cpu").fit(X, Y, epochs=3, batch_size=8, verbose=0).history
    assert again == histories["cpu"]


def test_a_model_moves_between_numpy_backends_in_the_middle_of_training():
    model = small(optimizer="adam")
    model.fit(X, Y, verbose=0)
    weights, slots = model.get_weights(), [np.array(v) for v in model.optimizer.variables]
    model.backend = "reference"
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights(), strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(slots, model.optimizer.variables, strict=True))
    model.fit(X, Y, verbose=0)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_same_seed_same_bytes_for_one_two_and_three_threads(optimizer):
    from tinynn.backends.cpu import threads

    big_x, big_y = rng.standard_normal((300, 256)).astype("float32"), rng.integers(0, 10, 300)
    before, results = threads.get_num_threads(), []
    try:
        for n in (1, 2, 3, 1):
            threads.set_num_threads(n)
            model = model_of(
                L.Dense(300, activation="relu", input_shape=(256,)),
                L.BatchNormalization(),
                L.Dropout(0.2),
                L.Dense(10, activation="softmax"),
                optimizer=optimizer,
            )
            history = model.fit(big_x, big_y, batch_size=100, epochs=2, verbose=0).history
            results.append((str(history), b"".join(w.tobytes() for w in model.get_weights())))
    finally:
        threads.set_num_threads(before)
    assert len(set(results)) == 1


def test_training_by_hand_equals_fit():
    nn.set_seed(3)
    by_fit = Sequential([L.Dense(3, activation="softmax", input_shape=(4,))])
    by_fit.compile(optim.Adam(0.01), "sparse_categorical_crossentropy")
    by_fit.fit(X, Y, batch_size=50, epochs=3, shuffle=False, verbose=0)
    nn.set_seed(3)
    by_hand = Sequential([L.Dense(3, activation="softmax", input_shape=(4,))])
    optimizer = optim.Adam(0.01)
    optimizer.build(by_hand.parameters())
    for _ in range(3):
        g = Graph(training=True, backend="cpu")
        probabilities = by_hand(g.tensor(X))
        g.backward(losses.sparse_categorical_crossentropy(Y, probabilities))
        optimizer.step()
    assert all(np.array_equal(a, b) for a, b in zip(by_fit.get_weights(), by_hand.get_weights(), strict=True))


def test_regularizers_are_part_of_the_loss():
    plain = model_of(L.Dense(3, activation="softmax", input_shape=(4,)))
    penalised = model_of(L.Dense(3, activation="softmax", kernel_regularizer="l2", input_shape=(4,)))
    kernel = penalised.get_weights()[0]
    difference = penalised.evaluate(X, Y, verbose=0)[0] - plain.evaluate(X, Y, verbose=0)[0]
    assert difference == pytest.approx(0.01 * float((kernel**2).sum()), rel=1e-4)


def test_frozen_layers_keep_their_bytes_and_compile_says_when():
    model = small()
    first = model.layers[0]
    first.trainable = False
    with pytest.warns(UserWarning, match="compile again"):
        model.fit(X, Y, verbose=0)
    model.compile("sgd", "sparse_categorical_crossentropy")
    before = first.get_weights()
    model.fit(X, Y, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, first.get_weights(), strict=True))
    assert len(model.trainable_weights) == 2
    assert len(model.non_trainable_weights) == 2


def test_fit_on_batches_and_their_numbers():
    a, b = small(), small()
    losses_a = [a.train_on_batch(X[i : i + 10], Y[i : i + 10])[0] for i in range(0, 50, 10)]
    history = b.fit(X, Y, batch_size=10, shuffle=False, verbose=0).history
    assert np.mean(losses_a) == pytest.approx(history["loss"][0], rel=1e-6)
    assert a.test_on_batch(X, Y) == a.evaluate(X, Y, batch_size=50, verbose=0)
    assert np.array_equal(a.predict_on_batch(X), a.predict(X))
    assert a.evaluate(X, Y, verbose=0, return_dict=True).keys() == {"loss", "accuracy"}


def test_evaluate_is_the_trace_of_the_confusion_matrix_over_its_total():
    model = small()
    model.fit(X, Y, epochs=3, verbose=0)
    matrix = nn.metrics.confusion_matrix(Y, model.predict(X).argmax(axis=1))
    assert np.trace(matrix) / matrix.sum() == pytest.approx(model.evaluate(X, Y, verbose=0)[1])


def test_predict_does_not_depend_on_the_batch_size():
    model = small()
    assert np.array_equal(model.predict(X, batch_size=7), model.predict(X, batch_size=50))


def test_two_threads_predict_with_one_model():
    model, results = small(), [None, None]
    expected = model.predict(X)

    def work(i):
        results[i] = [model.predict(X) for _ in range(30)]

    workers = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(np.array_equal(r, expected) for rows in results for r in rows)


def test_a_users_own_layer_trains():
    class Scale(nn.Layer):
        def build(self, input_shape):
            self.scale = Parameter(input_shape[-1:], "ones")
            return input_shape

        def forward(self, x):
            return x * x.graph.parameter(self.scale)

    model = model_of(Scale(input_shape=(4,)), L.Dense(3, activation="softmax"))
    model.fit(X, Y, epochs=2, verbose=0)
    assert not np.array_equal(model.get_weights()[0], np.ones(4))
    nn.gradcheck.check(model, X[:4], Y[:4])


# -- callbacks -------------------------------------------------------------------------------------------------------


def test_callbacks_are_called_in_keras_order():
    calls = []

    class Recorder(nn.callbacks.Callback):
        def on_train_begin(self, logs=None):
            calls.append("train begin")
            assert self.params["steps"] == 2
            assert self.params["seed"] == 7
            assert self.model is model

        def on_epoch_begin(self, epoch, logs=None):
            calls.append(f"epoch {epoch}")

        def on_train_batch_begin(self, batch, logs=None):
            calls.append(f"batch {batch}")

        def on_train_batch_end(self, batch, logs=None):
            calls.append(f"batch {batch} end {sorted(logs)}")

        def on_test_begin(self, logs=None):
            calls.append("test")

        def on_epoch_end(self, epoch, logs=None):
            calls.append(f"epoch end {sorted(logs)}")
            self.model.stop_training = True

        def on_train_end(self, logs=None):
            calls.append("train end")

    model = small()
    history = model.fit(X, Y, batch_size=32, epochs=5, validation_data=(X, Y), callbacks=[Recorder()], verbose=0)
    inner = [f"batch {i}{end}" for i in (0, 1) for end in ("", " end ['accuracy', 'loss']")]
    last = "epoch end ['accuracy', 'loss', 'val_accuracy', 'val_loss']"
    assert calls == ["train begin", "epoch 0", *inner, "test", last, "train end"]
    assert history.epoch == [0]
    assert model.history is history


def test_progress_is_quiet_or_readable(capsys):
    model = small()
    model.fit(X, Y, verbose=0)
    model.evaluate(X, Y, verbose=0)
    model.predict(X)
    assert capsys.readouterr().out == ""
    for verbose in (1, 2):
        model.fit(X, Y, epochs=2, verbose=verbose, validation_data=(X, Y))
        lines = capsys.readouterr().out.strip().split("\n")
        assert lines[0] == "Epoch 1/2"
        assert lines[1].startswith("2/2 - ")
        assert all(word in lines[1] for word in ("/step", "loss: ", "accuracy: ", "val_loss: ", "val_accuracy: "))
        assert len(lines) == 4


# -- device arrays ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_fit_runs_on_arrays_that_refuse_to_be_read(optimizer):
    """The whole of fit, evaluate and predict over the stand-in for device arrays: no hidden copy to the host."""
    from tests.device import device_backend

    def run(backend):
        model = model_of(
            L.Dense(8, activation="relu", kernel_regularizer="l2", kernel_constraint="max_norm", input_shape=(4,)),
            L.BatchNormalization(),
            L.Dropout(0.3),
            L.GaussianNoise(0.1),
            L.Dense(5, activation="sigmoid"),
            L.LayerNormalization(),
            L.Dense(3, activation="softmax"),
            optimizer=optimizer,
            backend=backend,
        )
        history = model.fit(X, Y, batch_size=16, epochs=2, validation_split=0.2, class_weight={0: 2.0}, verbose=0)
        return history.history, model.predict(X), model.get_weights()

    there, here = run(device_backend()), run("reference")
    assert there[0] == here[0]
    assert np.array_equal(there[1], here[1])
    assert all(np.array_equal(a, b) for a, b in zip(there[2], here[2], strict=True))


FORKED = """
import os, sys
import numpy as np
import tinynn as nn
from tinynn import Sequential, layers as L
from tinynn.backends.cpu import threads

def losses():
    nn.set_seed(1)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((1600, 400)).astype("float32"), rng.integers(0, 10, 1600)
    layers = [L.Dense(600, activation="relu", input_shape=(400,)), L.BatchNormalization(), L.LayerNormalization()]
    model = Sequential([*layers, L.Dropout(0.2), L.Dense(10, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model.fit(x, y, batch_size=800, epochs=2, verbose=0).history["loss"]

threads.set_num_threads(2)
expected = losses()
child = os.fork()
if child == 0:
    os._exit(0 if threads.get_num_threads() == 1 and losses() == expected else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_train_fork_train():
    """A child forked after parallel kernels trains too, with one thread and the same bytes."""
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
