"""What a call may be given beside its inputs: training=..., mask=..., and options of a layer's own."""

import numpy as np
import pytest

from tinynn import Graph, Input, Model, Sequential
from tinynn import layers as L

X = np.random.default_rng(0).standard_normal((8, 5)).astype("float32")


class Scaled(L.Layer):
    def forward(self, x, by=2.0):
        return x * by


def test_training_false_keeps_the_statistics_of_a_base_while_the_rest_trains():
    base = Sequential([L.BatchNormalization(input_shape=(5,)), L.Dropout(0.5)])
    graph = Graph(training=True)
    y = base(graph.tensor(X), training=False)
    assert graph.training
    np.testing.assert_allclose(y.data, X / np.sqrt(1 + 1e-3), rtol=1e-5)
    np.testing.assert_array_equal(base.layers[0].moving_mean.numpy(), 0)
    base(graph.tensor(X))
    assert np.abs(base.layers[0].moving_mean.numpy()).min() > 0


def test_training_true_drops_in_a_graph_that_does_not_train():
    y = L.Dropout(0.5)(Graph().tensor(np.ones((50, 50))), training=True)
    assert 0.4 < np.mean(y.data == 0) < 0.6


def test_training_false_is_written_down_with_a_symbol():
    base = Sequential([L.BatchNormalization(momentum=0.5, input_shape=(5,))])
    inputs = Input((5,))
    model = Model(inputs, L.Dense(1)(base(inputs, training=False)))
    model.compile("sgd", "mse")
    model.fit(X, X[:, :1], verbose=0)
    np.testing.assert_array_equal(base.layers[0].moving_mean.numpy(), 0)


def test_the_mode_comes_back_after_a_refusal():
    graph = Graph()
    layer = L.Dense(3)
    layer(graph.tensor(X))
    with pytest.raises(ValueError, match="built for"):
        layer(graph.tensor(X[:, :4]), training=True)
    assert not graph.training


def test_options_reach_forward_of_tensors_and_symbols():
    graph = Graph()
    np.testing.assert_array_equal(Scaled()(graph.tensor(X), by=3.0).data, X * 3)
    inputs = Input((5,))
    model = Model(inputs, Scaled()(inputs, by=4.0))
    np.testing.assert_array_equal(model.predict(X, verbose=0), X * 4)
    with pytest.raises(TypeError, match="unknown"):
        Scaled()(graph.tensor(X), unknown=1)


def test_a_block_of_layers_is_not_fused_over_a_call_with_options():
    inputs = Input((8, 8, 3))
    y = L.Conv2D(4, 3)(inputs)
    y = L.BatchNormalization(momentum=0.5)(y, training=False)
    model = Model(inputs, L.GlobalAveragePooling2D()(L.ReLU()(y)))
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 8, 8, 3)), np.ones((4, 4)), verbose=0)
    np.testing.assert_array_equal(model.get_layer("batch_normalization").moving_mean.numpy(), 0)


def test_a_mask_for_one_call():
    graph = Graph()
    x = graph.tensor(np.ones((2, 3, 5)))
    mask = np.array([[1, 1, 0], [1, 0, 0]], bool)
    y = L.Dense(4)(x, mask=mask)
    np.testing.assert_array_equal(y.mask, mask)
    assert x.mask is None
    with pytest.raises(ValueError, match=r"expects a mask of the leading axes of its input \(2, 3, 5\)"):
        L.Dense(4)(x, mask=np.ones((3, 2), bool))
    with pytest.raises(TypeError, match="a mask comes with its tensor"):
        L.Dense(4)(Input((3, 5)), mask=mask)


def test_a_layer_that_does_not_know_masks_drops_them_and_says_so_once():
    graph = Graph()
    layer = Scaled()
    x = graph.tensor(np.ones((2, 3, 5)))
    with pytest.warns(UserWarning, match="layer 'scaled' drops the mask of its input"):
        assert layer(x, mask=np.ones((2, 3), bool)).mask is None
    layer(x, mask=np.ones((2, 3), bool))  # and warnings are errors here
