"""Bad input: the right type of error, the layer's or argument's name, what to write instead, and nothing changed."""

import numpy as np
import pytest

import tinynn as nn
from tinynn import Sequential, losses, optim
from tinynn import layers as L

N, FEATURES, CLASSES = 24, 6, 3
rng = np.random.default_rng(5)
X = rng.standard_normal((N, FEATURES)).astype("float32")
LABELS = rng.integers(0, CLASSES, N)
ONE_HOT = np.eye(CLASSES, dtype="float32")[LABELS]


def classifier(loss="sparse_categorical_crossentropy", units=CLASSES, activation="softmax"):
    nn.set_seed(3)
    model = Sequential(
        [
            L.Dense(5, activation="relu", input_shape=(FEATURES,), name="hidden"),
            L.Dropout(0.2),
            L.Dense(units, activation=activation, name="out"),
        ]
    )
    model.compile(loss=loss, optimizer=optim.Adam(1e-2), metrics=["accuracy"])
    return model


def fingerprint(model):
    """The bytes of everything that training changes."""
    arrays = [*model.get_weights(), *model.optimizer.variables, model.stream.step]
    return [np.asarray(a).tobytes() for a in arrays]


def refused(model, call, kind, *words):
    """The call raises this error with these words in it, and leaves the model as it was."""
    before = fingerprint(model)
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    missing = [word for word in words if word not in message]
    assert not missing, f"{missing} not in: {message}"
    assert fingerprint(model) == before


def replaced(array, value, dtype=None):
    """A copy whose element 7 has another value."""
    copy = np.array(array, dtype=dtype or array.dtype)
    copy.reshape(-1)[7] = value
    return copy


BAD_X = {
    "rank": (lambda: X.reshape(N, 2, 3), ValueError, ["'hidden'", "(None, 6)", "(24, 2, 3)", "x.reshape(24, 6)"]),
    "one row without batch axis": (lambda: X[0], ValueError, ["'hidden'", "(6,)", "x[None]"]),
    "feature count": (lambda: X[:, :4], ValueError, ["'hidden'", "(None, 6)", "(24, 4)"]),
    "object": (lambda: X.astype(object), TypeError, ["x", "object", "numbers"]),
    "complex": (lambda: X.astype(complex), TypeError, ["x", "complex", ".real"]),
    "text": (lambda: X.astype(str), TypeError, ["x", "text has to become numbers"]),
    "ragged": (lambda: [[1.0, 2.0], [3.0]], ValueError, ["x", "one length"]),
    "empty": (lambda: X[:0], ValueError, ["x is empty", "(0, 6)"]),
    "none": (lambda: None, (TypeError, ValueError), ["x"]),
}


@pytest.mark.parametrize("case", BAD_X)
@pytest.mark.parametrize("method", ["fit", "evaluate", "predict", "train_on_batch", "predict_on_batch"])
def test_bad_x(case, method):
    make, kind, words = BAD_X[case]
    model, x = classifier(), make()
    arguments = (x,) if method.startswith("predict") else (x, LABELS)
    refused(model, lambda: getattr(model, method)(*arguments), kind, *words)


BAD_LABELS = {
    "too large": (lambda: replaced(LABELS, 3), ["3"]),
    "negative": (lambda: replaced(LABELS, -1), ["-1"]),
    "fraction": (lambda: replaced(LABELS, 1.5, "float32"), ["1.5"]),
    "nan": (lambda: replaced(LABELS, np.nan, "float32"), ["nan"]),
    "one-hot": (lambda: ONE_HOT, ["categorical_crossentropy"]),
    "too few": (lambda: LABELS[:-1], ["24", "23"]),
}


@pytest.mark.parametrize("case", BAD_LABELS)
@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_bad_sparse_labels(case, method):
    make, words = BAD_LABELS[case]
    model = classifier()
    refused(model, lambda: getattr(model, method)(X, make()), ValueError, "y", *words)


def test_integer_labels_for_the_dense_loss_name_the_other_loss():
    model = classifier("categorical_crossentropy")
    refused(model, lambda: model.fit(X, LABELS, verbose=0), ValueError, "'out'", "sparse_categorical_crossentropy")
    refused(model, lambda: model.fit(X, LABELS, verbose=0), ValueError, "to_categorical")


def test_bad_validation_data_are_refused_before_the_first_step():
    model = classifier()
    refused(model, lambda: model.fit(X, LABELS, validation_data=(X, replaced(LABELS, 9)), verbose=0), ValueError, "9")
    refused(model, lambda: model.fit(X, LABELS, validation_data=(X[:, :2], LABELS), verbose=0), ValueError, "hidden")
    refused(model, lambda: model.fit(X, LABELS, validation_data=X, verbose=0), ValueError, "(x, y)")


def test_minus_one_plus_one_labels_for_binary_crossentropy():
    model = classifier("binary_crossentropy", 1, "sigmoid")
    refused(model, lambda: model.fit(X, np.where(LABELS > 0, 1, -1), verbose=0), ValueError, "-1", "hinge")


def test_a_column_of_labels_is_squeezed_never_broadcast():
    columns, flat = classifier("mse", 1, "linear"), classifier("mse", 1, "linear")
    a = columns.fit(X, X[:, :1], verbose=0, shuffle=False, epochs=2).history["loss"]
    b = flat.fit(X, X[:, 0], verbose=0, shuffle=False, epochs=2).history["loss"]
    assert a == b
    reference = float(np.mean((flat.predict(X)[:, 0] - X[:, 0]) ** 2))
    assert flat.evaluate(X, X[:, 0], verbose=0)[0] == pytest.approx(reference, rel=1e-5)
    refused(flat, lambda: flat.fit(X, X[:, :2], verbose=0), ValueError, "'out'", "(24, 2)")


FIT_ARGUMENTS = {
    "batch_size=0": ({"batch_size": 0}, ValueError, ["batch_size", ">= 1"]),
    "batch_size=2.5": ({"batch_size": 2.5}, TypeError, ["batch_size", "integer"]),
    "epochs=-1": ({"epochs": -1}, ValueError, ["epochs", ">= 0"]),
    "steps_per_epoch=0": ({"steps_per_epoch": 0}, ValueError, ["steps_per_epoch", ">= 1"]),
    "validation_split=-0.1": ({"validation_split": -0.1}, ValueError, ["validation_split"]),
    "validation_split=1": ({"validation_split": 1.0}, ValueError, ["validation_split"]),
    "validation_freq=0": ({"validation_freq": 0, "validation_split": 0.5}, ValueError, ["validation_freq"]),
    "verbose=7": ({"verbose": 7}, ValueError, ["verbose"]),
    "sample_weight rows": ({"sample_weight": np.ones(5)}, ValueError, ["sample_weight", "(24,)"]),
    "sample_weight nan": ({"sample_weight": np.full(N, np.nan)}, ValueError, ["sample_weight", "finite"]),
    "class_weight list": ({"class_weight": [1, 2, 3]}, TypeError, ["class_weight", "dict"]),
    "class_weight negative": ({"class_weight": {0: -1.0}}, ValueError, ["class_weight", ">= 0"]),
    "callback": ({"callbacks": [print]}, TypeError, ["callbacks", "Callback"]),
}


@pytest.mark.parametrize("case", FIT_ARGUMENTS)
def test_bad_fit_arguments(case):
    arguments, kind, words = FIT_ARGUMENTS[case]
    model = classifier()
    refused(model, lambda: model.fit(X, LABELS, **({"verbose": 0} | arguments)), kind, *words)


CONSTRUCTORS = {
    "negative units": (lambda: L.Dense(-3), ValueError, ["Dense", "units", "-3"]),
    "zero units": (lambda: L.Dense(0, name="top"), ValueError, ["top", "units"]),
    "units 2.5": (lambda: L.Dense(2.5), TypeError, ["Dense", "units", "2.5"]),
    "activation": (lambda: L.Dense(3, activation="rulu"), ValueError, ["rulu", "relu"]),
    "initializer": (lambda: L.Dense(3, kernel_initializer="glorot"), ValueError, ["glorot", "glorot_uniform"]),
    "dropout rate": (lambda: L.Dropout(1.5), ValueError, ["Dropout", "rate", "1.5"]),
    "input_shape": (lambda: L.Dense(3, input_shape=(0,)), ValueError, ["input_shape", "positive"]),
    "negative learning rate": (lambda: optim.SGD(-0.1), ValueError, ["SGD", "learning_rate", "-0.1"]),
    "nan learning rate": (lambda: optim.Adam(float("nan")), ValueError, ["Adam", "learning_rate", "nan"]),
    "beta 1": (lambda: optim.Adam(beta_1=1.0), ValueError, ["Adam", "beta_1"]),
    "momentum above 1": (lambda: optim.SGD(momentum=1.1), ValueError, ["SGD", "momentum", "1.1"]),
    "negative clipnorm": (lambda: optim.SGD(clipnorm=-1.0), ValueError, ["SGD", "clipnorm", "-1.0"]),
    "unknown loss": (lambda: losses.get("categorical_crosentropy"), ValueError, ["categorical_crossentropy"]),
    "unknown optimizer": (lambda: optim.get("adm"), ValueError, ["adm", "adam"]),
    "unknown backend": (lambda: Sequential(backend="gpuu"), ValueError, ["gpuu", "gpu"]),
    "a class for a layer": (lambda: Sequential([L.Flatten]), TypeError, ["Flatten"]),
}


@pytest.mark.parametrize("case", CONSTRUCTORS)
def test_bad_constructor_arguments(case):
    make, kind, words = CONSTRUCTORS[case]
    with pytest.raises(kind) as caught:
        make()
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_compile_refuses_unknown_names_and_leaves_the_model_compiled():
    model = classifier()
    for arguments, word in (
        ({"loss": "mse", "optimizer": "sdg"}, "sgd"),
        ({"loss": "msee", "optimizer": "sgd"}, "mse"),
        ({"loss": "mse", "optimizer": "sgd", "metrics": ["acuracy"]}, "accuracy"),
        ({"loss": None, "optimizer": "sgd"}, "loss="),
    ):
        refused(model, lambda arguments=arguments: model.compile(**arguments), ValueError, word)
    refused(model, lambda: model.compile("sgd", "mse", metrics="accuracy"), TypeError, "['accuracy']")
    model.fit(X, LABELS, verbose=0)


def test_compile_forgotten():
    model = Sequential([L.Dense(2, input_shape=(FEATURES,))])
    for call in (model.fit, model.evaluate, model.train_on_batch):
        with pytest.raises(RuntimeError, match=r"compile\(optimizer=") as caught:
            call(X, LABELS)
        assert "'sequential'" in str(caught.value)


def test_two_layers_of_one_name():
    model = Sequential([L.Dense(2, name="twin", input_shape=(3,))])
    with pytest.raises(ValueError, match="two layers of the name 'twin'.*name="):
        model.add(L.Dense(2, name="twin"))
    assert len(model.layers) == 1


def test_the_same_layer_twice():
    layer = L.Dense(3, input_shape=(3,))
    with pytest.raises(ValueError, match="holds layer 'dense' already"):
        Sequential([layer, layer])


def test_get_layer_names_the_nearest():
    with pytest.raises(LookupError, match="did you mean 'hidden'"):
        classifier().get_layer("hiden")


def test_weights_that_do_not_fit_change_nothing():
    model = classifier()
    weights = model.get_weights()
    refused(model, lambda: model.set_weights([*weights[:-1], np.zeros(7)]), ValueError, "out/bias", "(3,)", "(7,)")
    refused(model, lambda: model.set_weights(weights[:-1]), ValueError, "4 weights", "3")
    refused(model, lambda: model.layers[0].set_weights(weights), ValueError, "'hidden'", "2 weights")


def test_a_refused_call_does_not_build_a_model_without_shapes():
    model = Sequential([L.Dense(4), L.Dense(CLASSES, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="9"):
        model.fit(X[:, :2], replaced(LABELS, 9), verbose=0)
    assert not model.built
    model.fit(X, LABELS, verbose=0)
    assert model.layers[0].kernel.shape == (FEATURES, 4)


# -- numbers that are not finite -------------------------------------------------------------------------------------


@pytest.mark.parametrize("verbose", [0, 2])
def test_nan_in_the_data_stops_with_the_layer_and_good_weights(verbose):
    model = classifier()
    with pytest.raises(ValueError, match="input of layer 'hidden' holds values that are not finite") as caught:
        model.fit(replaced(X, np.nan), LABELS, batch_size=8, verbose=verbose, shuffle=False)
    assert "batch 0" in str(caught.value)
    assert "row 1" in str(caught.value)
    assert all(np.isfinite(w).all() for w in model.get_weights())
    model.fit(X, LABELS, verbose=0)


def test_nan_does_not_reach_the_running_statistics():
    model = Sequential([L.BatchNormalization(input_shape=(FEATURES,)), L.Dense(CLASSES, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="not finite"):
        model.fit(replaced(X, np.nan), LABELS, batch_size=8, verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_a_loss_that_explodes_stops_with_the_layer_and_good_weights():
    nn.set_seed(1)
    model = Sequential([L.Dense(8, input_shape=(FEATURES,), name="first"), L.Dense(1, name="last")])
    model.compile(optim.SGD(10.0), "mse")
    with pytest.raises(ValueError, match="layer '(first|last)'.*learning rate"):
        model.fit(X * 100, X[:, 0], epochs=500, verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_ctrl_c_in_the_middle_of_fit_leaves_whole_weights():
    class Interrupt(nn.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                raise KeyboardInterrupt

    model = classifier()
    before = fingerprint(model)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, LABELS, batch_size=8, callbacks=[Interrupt()], verbose=0)
    assert fingerprint(model) != before
    assert all(np.isfinite(w).all() for w in model.get_weights())
    assert model.optimizer.iterations == 2
    model.fit(X, LABELS, verbose=0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "optimizer",
    [
        optim.SGD(3.0),
        optim.SGD(100.0),
        optim.SGD(0.5, momentum=0.9),
        optim.SGD(1e4, clipnorm=1e3),
        optim.Adam(1e6),
        optim.RMSprop(1e5, momentum=0.9),
        optim.Adagrad(1e5),
        optim.Nadam(1e5),
    ],
    ids=lambda o: type(o).__name__,
)
@pytest.mark.parametrize("activation", [None, "relu"])
def test_whatever_explodes_leaves_finite_weights_and_slots(optimizer, activation, seed):
    nn.set_seed(seed)
    model = Sequential([L.Dense(8, activation=activation, input_shape=(FEATURES,)), L.Dense(8), L.Dense(1)])
    model.compile(type(optimizer)(**optimizer.config()), "mse")
    try:
        history = model.fit(X * 10, X[:, 0], batch_size=8, epochs=60, verbose=0).history
    except ValueError as error:
        assert "weights are those of the last good step" in str(error)
    else:
        assert np.isfinite(history["loss"]).all()
    assert all(np.isfinite(w).all() for w in model.get_weights())
    assert all(np.isfinite(v).all() for v in model.optimizer.variables[1:])


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "mape", "log_cosh"])
def test_labels_that_are_not_finite_are_named_with_their_row(loss):
    y = X[:, 0].copy()
    y[5] = np.inf
    model = Sequential([L.Dense(1, input_shape=(FEATURES,), name="line")])
    model.compile("sgd", loss)
    before = fingerprint(model)[:2]
    with pytest.raises(ValueError, match=r"labels y for the output of layer 'line'.*row 5 of the data"):
        model.fit(X, y, verbose=0)
    assert fingerprint(model)[:2] == before


def test_a_schedule_that_gives_no_number_is_named():
    model = Sequential([L.Dense(1, input_shape=(FEATURES,))])
    for rate in (float("nan"), -1.0):
        model.compile(optim.SGD(lambda step, rate=rate: rate), "mse")
        before = model.get_weights()[0].tobytes()
        with pytest.raises(ValueError, match=f"schedule gave a learning rate of {rate}"):
            model.fit(X, X[:, 0], verbose=0)
        assert model.get_weights()[0].tobytes() == before


def test_a_frame_with_text_names_the_column_and_a_mixed_one_works():
    import pandas as pd

    model = Sequential([L.Dense(1, input_shape=(3,))])
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [True, False], "c": pd.array([3, 4], dtype="Int64")})
    expected = model.predict(np.array([[1.0, 1.0, 3.0], [2.0, 0.0, 4.0]]))
    assert np.array_equal(model.predict(frame), expected)
    with pytest.raises(TypeError, match="column town hold something else"):
        model.predict(frame.assign(town=["x", "y"]).drop(columns="c"))


# -- images ------------------------------------------------------------------------------------------------------------


def grey(channels=1):
    model = Sequential([L.Conv2D(2, 3, input_shape=(6, 6, channels)), L.Flatten(), L.Dense(3, activation="softmax")])
    model.compile(loss="sparse_categorical_crossentropy", optimizer="sgd")
    return model


@pytest.mark.parametrize(
    "channels, shape, words",
    [
        (1, (6, 6), "a single example needs a batch axis: write x.reshape(1, 6, 6, 1)"),
        (1, (6, 6, 1), "a single example needs a batch axis: write x[None]"),
        (1, (4, 6, 6), "write x.reshape(4, 6, 6, 1)"),
        (1, (4, 6, 6, 3), "write x.mean(axis=-1, keepdims=True)"),
        (3, (4, 6, 6), "write np.repeat(x[..., None], 3, axis=-1)"),
        (3, (4, 6, 6, 1), "write np.repeat(x, 3, axis=-1)"),
        (3, (4, 3, 6, 6), "write np.moveaxis(x, 1, -1)"),
    ],
)
def test_images_of_another_shape_say_what_to_write(channels, shape, words):
    model = grey(channels)
    refused(model, lambda: model.predict(np.zeros(shape)), ValueError, "conv2d", str(shape), words)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: L.Input(28, 28, 3), "put the sizes in parentheses"),
        (lambda: Sequential([L.Conv2D(2, 3, input_shape=(None, 6, 6, 1))]), "write input_shape=(6, 6, 1)"),
        (lambda: L.Conv2D(2, 3)([L.Input((6, 6, 1)), L.Input((6, 6, 2))]), "expects one input, got a list of 2"),
    ],
)
def test_image_layers_say_what_to_write(make, words):
    with pytest.raises((TypeError, ValueError)) as caught:
        make()
    assert words in str(caught.value)
