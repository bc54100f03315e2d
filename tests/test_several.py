"""Models of several inputs and outputs: data by list and by name, a loss for each output, what the logs say."""

import numpy as np
import pytest

import tinynn as nn
from tinynn import Graph, Input, Model, Sequential, losses, optim
from tinynn import layers as L

RNG = np.random.default_rng(0)
N = 40
A, B = (RNG.standard_normal((N, n)).astype("float32") for n in (4, 3))
PRICE = A[:, :1] * B[:, :1]
KIND = RNG.integers(0, 3, N)
LOSSES = {"price": "mse", "kind": "sparse_categorical_crossentropy"}


def wired(names=True):
    """Two inputs, two outputs."""
    nn.set_seed(4)
    a, b = (Input((n,), name=name if names else None) for n, name in ((4, "a"), (3, "b")))
    h = L.Dense(8, activation="relu")(L.Concatenate()([a, b]))
    price, kind = L.Dense(1, name="price")(h), L.Dense(3, activation="softmax", name="kind")(h)
    return Model([a, b], [price, kind])


def compiled(loss=None, **options):
    model = wired()
    model.compile("adam", loss or LOSSES, **options)
    return model


def weights_of(model):
    return [w.tobytes() for w in model.get_weights()]


# -- data --------------------------------------------------------------------------------------------------------------

SHAPES_OF_DATA = {
    "lists": ([A, B], [PRICE, KIND]),
    "tuples": ((A, B), (PRICE, KIND)),
    "dicts": ({"b": B, "a": A}, {"kind": KIND, "price": PRICE}),
    "a column without its axis": ([A, B], [PRICE[:, 0], KIND]),
    "lists of rows": ([A.tolist(), B], [PRICE, KIND.tolist()]),
}


@pytest.mark.parametrize("x, y", SHAPES_OF_DATA.values(), ids=SHAPES_OF_DATA)
def test_data_in_any_container_train_alike(x, y):
    one, other = compiled(), compiled()
    history = one.fit(x, y, batch_size=16, epochs=2, validation_split=0.25, verbose=0).history
    assert other.fit([A, B], [PRICE, KIND], 16, 2, validation_split=0.25, verbose=0).history == history
    assert weights_of(one) == weights_of(other)
    assert one.evaluate(x, y, verbose=0) == other.evaluate([A, B], [PRICE, KIND], verbose=0)
    for p, q in zip(one.predict(x), other.predict([A, B], batch_size=7), strict=True):
        np.testing.assert_array_equal(p, q)


def test_history_has_keras_names_in_order():
    metrics = {"price": ["mae", "mse"], "kind": "accuracy"}
    model = compiled(metrics=metrics, weighted_metrics={"kind": ["accuracy"]})
    history = model.fit([A, B], [PRICE, KIND], validation_data=([A, B], [PRICE, KIND]), verbose=0).history
    names = [
        *("loss", "price_loss", "kind_loss", "price_mae", "price_mse", "kind_accuracy", "kind_weighted_accuracy"),
    ]
    assert list(history) == [*names, *(f"val_{name}" for name in names)]
    assert model.metrics_names == names
    assert list(model.evaluate([A, B], [PRICE, KIND], return_dict=True, verbose=0)) == names
    assert history["price_loss"] == pytest.approx(history["price_mse"], rel=1e-6)


def test_the_loss_is_the_weighted_sum():
    model = compiled(loss_weights={"price": 0.25, "kind": 2.0})
    logs = model.evaluate([A, B], [PRICE, KIND], verbose=0, return_dict=True)
    price, kind = model.predict([A, B])
    assert logs["price_loss"] == pytest.approx(((price - PRICE) ** 2).mean(), rel=1e-5)
    assert logs["kind_loss"] == pytest.approx(-np.log(kind[np.arange(N), KIND]).mean(), rel=1e-5)
    assert logs["loss"] == pytest.approx(0.25 * logs["price_loss"] + 2 * logs["kind_loss"], rel=1e-6)
    listed = compiled(["mse", "sparse_categorical_crossentropy"], loss_weights=[0.25, 2])
    assert listed.evaluate([A, B], [PRICE, KIND], verbose=0, return_dict=True) == logs


def test_one_loss_for_all_outputs():
    a = Input((4,))
    model = Model(a, [L.Dense(2, name="u")(a), L.Dense(2, name="v")(a)])
    model.compile("sgd", "mse", metrics=["mae", ["mae", "mse"]])
    history = model.fit(A, [A[:, :2], A[:, 2:]], verbose=0).history
    assert list(history) == ["loss", "u_loss", "v_loss", "u_mae", "v_mae", "v_mse"]


def test_an_output_without_a_loss_is_not_trained_and_needs_no_target():
    for loss in ({"price": "mse"}, ["mse", None]):
        model = compiled(loss)
        before = model.get_layer("kind").get_weights()
        history = model.fit([A, B], {"price": PRICE}, verbose=0).history
        assert list(history) == ["loss"]
        assert model.fit([A, B], [PRICE], verbose=0).history.keys() == {"loss"}
        assert all(np.array_equal(p, q) for p, q in zip(before, model.get_layer("kind").get_weights(), strict=True))
    measured = compiled({"price": "mse"}, metrics={"kind": ["sparse_categorical_accuracy"]})
    logs = measured.evaluate([A, B], [PRICE, KIND], verbose=0, return_dict=True)
    assert logs["kind_sparse_categorical_accuracy"] == np.mean(measured.predict([A, B])[1].argmax(1) == KIND)
    with pytest.raises(ValueError, match=r"y\['kind'\] is missing"):
        measured.fit([A, B], {"price": PRICE}, verbose=0)


def test_sample_weights_for_each_output_or_for_all():
    w, v = RNG.random(N).astype("float32"), RNG.random(N).astype("float32")

    def loss_with(weights):
        return compiled().evaluate([A, B], [PRICE, KIND], sample_weight=weights, verbose=0, return_dict=True)

    plain, both = loss_with(None), loss_with([w, v])
    assert loss_with({"price": w, "kind": v}) == both
    assert loss_with({"price": w})["kind_loss"] == plain["kind_loss"]
    assert loss_with({"price": w})["price_loss"] == both["price_loss"]
    assert loss_with(w) == loss_with((w, w))
    price = compiled().predict([A, B])[0]
    assert both["price_loss"] == pytest.approx(float((w * ((price - PRICE) ** 2)[:, 0]).mean()), rel=1e-5)


def test_training_equals_a_loop_by_hand():
    by_fit, by_hand = compiled(), wired()
    by_fit.fit([A, B], [PRICE, KIND], batch_size=N, epochs=3, shuffle=False, verbose=0)
    optimizer = optim.Adam()
    optimizer.build(by_hand.parameters())
    for _ in range(3):
        g = Graph(training=True)
        price, kind = by_hand([g.tensor(A), g.tensor(B)])
        g.backward(losses.mean_squared_error(PRICE, price) + losses.sparse_categorical_crossentropy(KIND, kind))
        optimizer.step()
    for p, q in zip(by_fit.get_weights(), by_hand.get_weights(), strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-6, atol=1e-7)


def test_gradients_of_all_outputs():
    nn.gradcheck.check(compiled(loss_weights=[0.5, 2.0]), [A[:4], B[:4]], [PRICE[:4], KIND[:4]], verbose=0)


def test_batches_by_hand():
    one, other = compiled(metrics={"kind": "accuracy"}), compiled(metrics={"kind": "accuracy"})
    logs = one.train_on_batch([A, B], [PRICE, KIND], return_dict=True)
    assert list(logs) == ["loss", "price_loss", "kind_loss", "kind_accuracy"]
    history = other.fit({"a": A, "b": B}, [PRICE, KIND], batch_size=N, shuffle=False, verbose=0).history
    assert {name: values[0] for name, values in history.items()} == logs
    assert one.test_on_batch([A, B], [PRICE, KIND]) == other.evaluate([A, B], [PRICE, KIND], batch_size=N, verbose=0)
    np.testing.assert_array_equal(one.predict_on_batch([A, B])[1], other.predict([A, B])[1])


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_dict_of_outputs_names_them_and_comes_back(tmp_path, backend):
    a = Input((4,))
    h = L.Dense(5, activation="tanh")(a)
    model = Model({"x": a}, {"up": L.Dense(1)(h), "down": L.Dense(1)(h)}, backend=backend)
    model.compile("sgd", "mse", metrics={"down": ["mae"]}, loss_weights={"up": 2})
    model.fit({"x": A}, {"up": PRICE, "down": -PRICE}, epochs=2, verbose=0)
    predicted = model.predict(A)
    assert list(predicted) == ["up", "down"] and predicted["up"].shape == (N, 1)
    model.save(tmp_path / "model.tinynn")
    again = nn.load_model(tmp_path / "model.tinynn")
    assert again.output_names == ["up", "down"] and again.input_names == ["x"]
    np.testing.assert_allclose(again.predict(A)["down"], predicted["down"], rtol=1e-5, atol=1e-6)
    assert list(again.fit(A, [PRICE, -PRICE], verbose=0).history) == ["loss", "up_loss", "down_loss", "down_mae"]


def test_names_where_nobody_gave_any():
    model = wired(names=False)
    assert model.input_names == ["input_layer", "input_layer_1"]
    assert model.output_names == ["price", "kind"]
    a = Input((4,))
    shared = L.Dense(2, name="head")
    assert Model(a, [shared(a), shared(L.ReLU()(a)), a]).output_names == ["head", "head_1", "input_layer"]


def test_saved_and_resumed_in_the_middle(tmp_path):
    class Stop(Exception):
        pass

    def stop(batch, logs):
        if batch == 1:
            raise Stop

    def fit(model, *callbacks):
        given = {"metrics": {"kind": ["accuracy"]}}
        model.compile("adam", LOSSES, loss_weights=[0.5, 1.0], **given)
        return model.fit([A, B], [PRICE, KIND], batch_size=10, epochs=2, callbacks=list(callbacks), verbose=0)

    whole, again = wired(), wired()
    expected = fit(whole).history
    with pytest.raises(Stop):
        fit(
            wired(),
            nn.callbacks.BackupAndRestore(tmp_path, save_freq=1),
            nn.callbacks.LambdaCallback(on_train_batch_end=stop),
        )
    idle = nn.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    assert fit(again, nn.callbacks.BackupAndRestore(tmp_path, save_freq=1), idle).history == expected
    assert weights_of(again) == weights_of(whole)
    whole.save(tmp_path / "model.tinynn")
    loaded = nn.load_model(tmp_path / "model.tinynn")
    for model in (whole, loaded):
        model.fit([A, B], [PRICE, KIND], verbose=0)
    assert weights_of(loaded) == weights_of(whole)
    assert loaded.history.history == whole.history.history


def test_ids_and_numbers_side_by_side():
    ids, x = Input((3,), name="ids"), Input((4,), name="x")
    y = L.Dense(1)(L.Concatenate()([L.Flatten()(L.Embedding(10, 2)(ids)), x]))
    model = Model([ids, x], y)
    model.compile("sgd", "mse")
    words = RNG.integers(0, 10, (N, 3))
    model.fit([words, A], PRICE, verbose=0)
    with pytest.raises(IndexError, match=r"x\['ids'\] from 0 to 9, got 10"):
        model.fit([words + (words == 9), A], PRICE, verbose=0)


def test_masks_of_each_output():
    ids = Input((4,))
    h = L.LSTM(3, return_sequences=True)(L.Embedding(5, 2, mask_zero=True)(ids))
    model = Model(ids, [L.Dense(1, name="tag")(h), L.Dense(1, name="whole")(L.GlobalAveragePooling1D()(h))])
    model.compile("sgd", "mse", metrics={"tag": ["mse"]})
    x = np.array([[1, 2, 0, 0], [3, 4, 1, 2]])
    tags = RNG.standard_normal((2, 4, 1)).astype("float32")
    logs = model.evaluate(x, [tags, np.zeros((2, 1))], verbose=0, return_dict=True)
    expected = ((model.predict(x)[0] - tags) ** 2)[x > 0].mean()
    assert logs["tag_loss"] == pytest.approx(expected, rel=1e-5)
    assert logs["tag_mse"] == pytest.approx(expected, rel=1e-5)


def test_arrays_that_refuse_to_be_read():
    """No hidden copy to the host, as for one output."""
    from tests.device import device_backend

    def run(backend):
        nn.set_seed(4)
        a, b = Input((4,)), Input((3,))
        h = L.Dense(5, activation="tanh")(L.Concatenate()([a, b]))
        model = Model([a, b], [L.Dense(1, name="u")(h), L.Dense(3, activation="softmax", name="v")(h)], backend=backend)
        model.compile("adam", ["mse", "sparse_categorical_crossentropy"], loss_weights=[0.5, 1], metrics={"v": "acc"})
        weights = {"u": np.linspace(0, 1, N)}
        history = model.fit([A, B], [PRICE, KIND], epochs=2, sample_weight=weights, validation_split=0.2, verbose=0)
        return history.history, [p.tobytes() for p in model.predict([A, B])]

    assert run(device_backend()) == run("reference")


# -- models written as classes -----------------------------------------------------------------------------------------


class Towers(Model):
    """A tower of layers for each input, in a list; two heads."""

    def __init__(self, width=6):
        super().__init__()
        self.towers = [[L.Dense(width, activation="relu"), L.Dense(width)] for _ in range(2)]
        self.price, self.kind = L.Dense(1), L.Dense(3, activation="softmax")

    def forward(self, x):
        parts = []
        for tower, part in zip(self.towers, x, strict=True):
            for layer in tower:
                part = layer(part)
            parts.append(part)
        h = parts[0] + parts[1]
        return self.price(h), self.kind(h)


def test_a_class_with_several_inputs_and_outputs(tmp_path):
    nn.set_seed(1)
    model = Towers()
    model.compile("adam", ["mse", "sparse_categorical_crossentropy"], metrics=[[], ["accuracy"]])
    history = model.fit([A, B], [PRICE, KIND], epochs=30, validation_split=0.2, verbose=0).history
    assert list(history)[:4] == ["loss", "output_1_loss", "output_2_loss", "output_2_accuracy"]
    assert history["loss"][-1] < history["loss"][0]
    assert len(model.parameters()) == 12
    assert next(iter(model.named_variables())) == "towers_0_0/kernel"
    price, kind = model.predict((A, B))
    assert price.shape == (N, 1) and kind.shape == (N, 3)
    nn.gradcheck.check(model, [A[:4], B[:4]], [PRICE[:4], KIND[:4]], verbose=0)
    model.save_weights(tmp_path / "w.safetensors")
    again = Towers()
    again.predict([A, B])
    again.load_weights(tmp_path / "w.safetensors")
    np.testing.assert_array_equal(again.predict([A, B])[0], price)


def test_a_class_may_name_its_ports():
    class Named(Towers):
        def __init__(self):
            super().__init__()
            self.input_names, self.output_names = ["a", "b"], ["price", "kind"]

    model = Named()
    model.compile("adam", LOSSES, metrics={"kind": ["accuracy"]})
    history = model.fit({"b": B, "a": A}, {"kind": KIND, "price": PRICE}, verbose=0).history
    assert list(history) == ["loss", "price_loss", "kind_loss", "kind_accuracy"]
    assert model.predict({"a": A, "b": B})[0].shape == (N, 1)


def test_a_class_around_models_that_are_built():
    class Ensemble(Model):
        def __init__(self, members):
            super().__init__()
            self.members = members

        def forward(self, x):
            return sum(member(x) for member in self.members) / len(self.members)

    members = [Sequential([L.Dense(2, input_shape=(4,))]) for _ in range(3)]
    model = Ensemble(members)
    mean = np.mean([member.predict(A) for member in members], axis=0)
    np.testing.assert_allclose(model.predict(A), mean, rtol=1e-5, atol=1e-6)
    assert model.output_shape == (2,)


# -- refusals ----------------------------------------------------------------------------------------------------------

REFUSED = {
    "too few inputs": (
        lambda m: m.fit([A], [PRICE, KIND]),
        "x expects 2 entries, one for each input ('a', 'b'), got 1",
    ),
    "one array": (lambda m: m.fit(A, [PRICE, KIND]), "got one array of shape (40, 4)"),
    "unknown input": (lambda m: m.predict({"a": A, "bb": B}), "x names an input 'bb'"),
    "missing input": (lambda m: m.predict({"a": A}), "x has nothing for the input 'b'"),
    "wrong shape": (lambda m: m.predict([A, B[:, :2]]), "'model' expects x['b'] of shape (None, 3), got (40, 2)"),
    "rows of x": (lambda m: m.predict([A, B[:5]]), "x['a'] has 40, x['b'] has 5"),
    "rows of y": (lambda m: m.fit([A, B], [PRICE, KIND[:5]]), "y['kind'] expects one row for each of the 40 rows"),
    "one target": (lambda m: m.fit([A, B], PRICE), "y expects a list of 2 entries, one for each output"),
    "unknown output": (lambda m: m.fit([A, B], {"prise": PRICE}), "did you mean 'price'?"),
    "bad label": (lambda m: m.fit([A, B], [PRICE, KIND + 1]), "y['kind'] (output of 'kind')"),
    "weights": (lambda m: m.fit([A, B], [PRICE, KIND], sample_weight=[None, np.ones(3)]), "sample_weight['kind']"),
    "class weights": (lambda m: m.fit([A, B], [PRICE, KIND], class_weight={0: 2.0}), "models of one output"),
    "validation": (lambda m: m.fit([A, B], [PRICE, KIND], validation_data=([A], [PRICE, KIND])), "validation x"),
    "no y": (lambda m: m.evaluate([A, B]), "y is missing"),
    "loss": (lambda m: m.compile("sgd", {"prise": "mse"}), "did you mean 'price'?"),
    "losses": (lambda m: m.compile("sgd", ["mse"]), "expects 2 entries, one for each output"),
    "no loss": (lambda m: m.compile("sgd", [None, None]), "a loss for one output at least"),
    "metrics": (lambda m: m.compile("sgd", "mse", metrics=["mae"]), "[['accuracy'], ['mae']]"),
    "metric": (lambda m: m.compile("sgd", "mse", metrics={"price": ["maee"]}), "did you mean 'mae'?"),
    "loss weights": (lambda m: m.compile("sgd", "mse", loss_weights=[1]), "expects 2 entries"),
    "no number": (lambda m: m.compile("sgd", "mse", loss_weights=[1, "b"]), "expects numbers, got 'b'"),
    "shared metric": (
        lambda m: m.compile("sgd", "mse", metrics=[[metric := nn.metrics.MeanSquaredError()], [metric]]),
        "cannot count for two outputs",
    ),
}


@pytest.mark.parametrize("call, words", REFUSED.values(), ids=REFUSED)
def test_refused_and_nothing_changed(call, words):
    model = compiled()
    before = weights_of(model), model.compiled
    with pytest.raises((ValueError, TypeError)) as caught:
        call(model)
    assert words in str(caught.value)
    assert (weights_of(model), model.compiled) == before
    model.fit([A, B], [PRICE, KIND], verbose=0)


def test_numbers_that_are_not_finite_are_named_with_their_port():
    bad = B.copy()
    bad[7, 1] = np.nan
    with pytest.raises(ValueError, match="the input 'b' holds values that are not finite.*row 7 of the data"):
        compiled().fit([A, bad], [PRICE, KIND], verbose=0)
    wrong = PRICE.copy()
    wrong[5] = np.inf
    with pytest.raises(ValueError, match="labels y for the output 'price'.*row 5 of the data"):
        compiled().fit([A, B], [wrong, KIND], verbose=0)


def test_a_sequential_keeps_to_its_input():
    layer = Sequential([L.LSTM(3, input_shape=(None, 4))]).layers[0]
    model = Sequential([Input((5, 4)), layer])
    assert model.built_for == (5, 4)
    assert model.predict(np.zeros((2, 5, 4))).shape == (2, 3)
    with pytest.raises(ValueError, match=r"\(None, 5, 4\), got \(2, 6, 4\)"):
        model.predict(np.zeros((2, 6, 4)))
    with pytest.raises(ValueError, match="was built for sequences of shape"):
        Sequential([Input((5, 3)), layer])
