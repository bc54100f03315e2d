"""The public surface by example: these lines are a contract and run as written (tests/test_listings.py)."""

import numpy as np

import tinynn as nn
from tinynn import Graph, Input, Model, Sequential, datasets, gradcheck, losses, optim, plots, utils
from tinynn import layers as L

assert all((Input, Model, plots))

nn.set_seed(1)
(x_train, y_train), (x_test, y_test) = datasets.mnist.load_data()
x_train = x_train.reshape(60000, 784).astype("float32") / 255

model = Sequential()
model.add(L.Dense(512, activation="relu", input_shape=(784,)))
model.add(L.Dense(10, activation="softmax"))
model.summary()
assert model.count_params() == 407050
model.compile(loss="categorical_crossentropy", optimizer="sgd", metrics=["accuracy"])
history = model.fit(x_train, utils.to_categorical(y_train, num_classes=10), batch_size=100, epochs=1, verbose=1)
assert len(history.history["loss"]) == len(history.history["accuracy"]) == 1
loss, accuracy = model.evaluate(x_test.reshape(-1, 784) / 255.0, utils.to_categorical(y_test), verbose=0)
assert accuracy > 0.8
probabilities = model.predict(x_test.reshape(-1, 784) / 255.0)
assert probabilities.shape == (10000, 10)
assert probabilities.dtype == np.float32
assert abs(probabilities[11].sum() - 1) < 1e-5
assert probabilities[11].argmax() == 6
model.compile(
    optimizer=optim.SGD(learning_rate=0.01, momentum=0.9, nesterov=True), loss="sparse_categorical_crossentropy"
)

g = Graph(dtype="float64")
x, y, z = (g.tensor(np.array(v), requires_grad=True) for v in (-2.0, 5.0, -4.0))
f = (x + y) * z
g.backward(f)
assert (float(f.data), float(x.grad), float(z.grad)) == (-12.0, -4.0, 3.0)

model = Sequential([L.Dense(10, activation="softmax", input_shape=(784,))])
optimizer = optim.Adam(1e-3)
optimizer.build(model.parameters())
g = Graph(training=True, backend="cpu")
probs = model(g.tensor(x_train[:32]))
loss = losses.sparse_categorical_crossentropy(y_train[:32], probs)
g.backward(loss)
optimizer.step()

model.compile(loss="categorical_crossentropy", optimizer="sgd")
gradcheck.check(model, x_train[:4], utils.to_categorical(y_train[:4], 10))

assert nn.applications.ResNet20(input_shape=(32, 32, 3), classes=10).count_params() == 271098

# Old Keras spellings that the courses print.
assert optim.SGD(lr=0.01, decay=1e-6).decay == 1e-6
assert L.Dense(4, input_dim=20).input_shape == (20,)
model.compile(loss="categorical_crossentropy", optimizer="sgd", metrics=["acc"])
assert model.metrics_names == ["loss", "acc"]

from tinynn.compat.keras.layers.core import Activation, Dense  # noqa: E402
from tinynn.compat.keras.layers.merge import add, concatenate  # noqa: E402
from tinynn.compat.keras.layers.pooling import GlobalAveragePooling2D, MaxPooling2D  # noqa: E402
from tinynn.compat.keras.models import Sequential as OldSequential  # noqa: E402
from tinynn.compat.keras.optimizers import SGD  # noqa: E402
from tinynn.compat.keras.preprocessing.sequence import pad_sequences  # noqa: E402
from tinynn.compat.keras.preprocessing.text import Tokenizer  # noqa: E402
from tinynn.compat.keras.utils.np_utils import to_categorical  # noqa: E402

assert (Dense, OldSequential, SGD, to_categorical) == (L.Dense, Sequential, optim.SGD, utils.to_categorical)
assert Activation is L.Activation

images = Input((32, 32, 3))
x = MaxPooling2D(pool_size=(2, 2), strides=2, padding="same")(images)
x = concatenate([add([x, x]), L.AveragePooling2D()(images)])
assert Model(images, GlobalAveragePooling2D()(x)).output_shape == (6,)
assert L.MaxPool2D is MaxPooling2D
assert nn.optimizers.schedules.ExponentialDecay is nn.schedules.ExponentialDecay

tokenizer = Tokenizer(num_words=100)
tokenizer.fit_on_texts(["my dog barks", "my cat"])
assert pad_sequences(tokenizer.texts_to_sequences(["my cat barks"]), maxlen=4).tolist() == [[0, 1, 4, 3]]
assert (Tokenizer, pad_sequences) == (nn.text.Tokenizer, utils.pad_sequences)
dataset = utils.timeseries_dataset_from_array(np.arange(20.0), np.arange(20.0)[5:], sequence_length=5, batch_size=8)
assert [inputs.shape for inputs, targets in dataset] == [(8, 5), (7, 5)]
