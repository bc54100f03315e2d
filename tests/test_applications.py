"""applications: shapes and counts of the papers, nothing allocated for a summary; pretrained ResNet-20 is PyTorch's."""

import io
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

import tinynn as nn
from tinynn import Graph, applications, losses
from tinynn.applications import weights
from tinynn.applications.resnet import PRETRAINED
from tinynn.datasets import cifar10

NPZ = PRETRAINED["cifar10"]


def counts(model):
    return [layer.count_params() for layer in model.layers if layer.count_params()]


def sides(model):
    """The sides of the images along the way, each once where it changes."""
    found = [layer.output_shape[0] for layer in model.layers if len(layer.output_shape) == 3]
    return [n for n, before in zip(found, [None, *found], strict=False) if n != before]


# -- shapes and counts ------------------------------------------------------------------------------------------------


def test_vgg16_row_by_row():
    model = applications.VGG16()
    convolutions = [1792, 36928, 73856, 147584, 295168, 590080, 590080, 1180160, *[2359808] * 5]
    assert counts(model) == [*convolutions, 102764544, 16781312, 4097000]
    assert model.count_params() == 138_357_544
    assert sides(model) == [224, 112, 56, 28, 14, 7]
    assert [model.get_layer(name).output_shape for name in ("block1_conv2", "block5_pool", "fc1", "predictions")] == [
        (224, 224, 64), (7, 7, 512), (4096,), (1000,),
    ]  # fmt: skip


def test_vgg19():
    model = applications.VGG19()
    assert model.count_params() == 143_667_240
    assert sum(type(layer).__name__ == "Conv2D" for layer in model.layers) == 16


def test_alexnet():
    model, halves = applications.AlexNet(), applications.AlexNet(groups=2)
    assert (model.count_params(), halves.count_params()) == (62_378_344, 60_965_224)
    found = [layer.output_shape[0] for layer in model.layers if len(layer.output_shape) == 3]
    assert found == [55, 27, 27, 13, 13, 13, 13, 6]
    assert [layer.output_shape for layer in halves.layers] == [layer.output_shape for layer in model.layers]


def test_lenet5():
    model = applications.LeNet5()
    assert counts(model) == [156, 2416, 48120, 10164, 850]
    assert model.count_params() == 61_706
    assert sides(model) == [28, 14, 10, 5]


def test_resnet20():
    model = nn.applications.ResNet20(input_shape=(32, 32, 3), classes=10)
    assert model.count_params() == 271098
    assert sum(v.size for v in model.non_trainable_weights) == 1376
    assert sides(model) == [32, 16, 8]
    assert sum(type(layer).__name__ in ("Conv2D", "Dense") for layer in model.layers) == 20
    assert applications.ResNet20((28, 28, 1), classes=3).output_shape == (3,)


def test_resnet50():
    model = applications.ResNet50()
    assert model.count_params() == 25_636_712
    assert sum(v.size for v in model.non_trainable_weights) == 53_120
    assert sides(model) == [230, 112, 114, 56, 28, 14, 7]
    assert model.get_layer("conv5_block3_out").output_shape == (7, 7, 2048)
    assert sum(type(layer).__name__ in ("Conv2D", "Dense") for layer in model.layers) == 50 + 4


@pytest.mark.parametrize("name", applications.__all__)
def test_a_summary_allocates_nothing(name):
    tracemalloc.start()
    try:
        model, lines = getattr(applications, name)(), []
        model.summary(print_fn=lines.append)
        assert f"Total params: {model.count_params():,}" in lines[0]
        assert not any(v.drawn for v in model.variables())
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", [name for name in applications.__all__ if name != "ResNet20"])
def test_weights_that_nobody_has_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} comes without pretrained weights: leave out weights='imagenet'"):
        getattr(applications, name)(weights="imagenet")


def test_applications_are_loaded_when_they_are_used():
    code = "import sys, tinynn; print('tinynn.applications' in sys.modules); print(tinynn.applications.LeNet5.__name__)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["False", "LeNet5"]


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: applications.LeNet5(classes=4), (32, 32, 1)),
        (lambda: applications.ResNet20((16, 12, 3), classes=4), (16, 12, 3)),
        (lambda: applications.ResNet20((16, 16, 1), classes=4), (16, 16, 1)),
    ],
)
def test_small_ones_learn(build, shape):
    nn.set_seed(3)
    model, random = build(), np.random.default_rng(0)
    y = np.arange(16) % 4
    x = (60 * y[:, None, None, None] + random.integers(0, 30, (16, *shape))).astype(np.uint8)
    model.compile(nn.optim.SGD(0.02, momentum=0.9), "sparse_categorical_crossentropy")
    x = x if "resnet" in model.name else x / 255
    losses = model.fit(x, y, batch_size=16, epochs=12, verbose=0).history["loss"]
    assert losses[-1] < 0.7 * losses[0]


# -- pretrained ResNet-20 ---------------------------------------------------------------------------------------------


def test_resnet20_classifies_9173_test_images(data_folder):
    if not (data_folder / "cifar10").is_dir():
        pytest.skip(f"no cifar10 in {data_folder}")
    x, y = cifar10.read_batch(data_folder / "cifar10", "test_batch")
    predicted = applications.ResNet20(weights="cifar10").predict(x, batch_size=250).argmax(axis=1)
    assert np.sum(predicted == y[:, 0]) == 9173


def theirs(torch, arrays, x, training):
    """The probabilities as PyTorch computes them from the arrays in the file, by its functions alone."""
    F = torch.nn.functional

    def norm(x, name):
        w, b, mean, variance = (arrays[f"{name}.{k}"] for k in ("weight", "bias", "running_mean", "running_var"))
        return F.batch_norm(x, mean.clone(), variance.clone(), w, b, training, 0.1, 1e-5)

    def block(x, name, filters, stride):
        y = F.relu(norm(F.conv2d(x, arrays[f"{name}.conv1.weight"], stride=stride, padding=1), f"{name}.bn1"))
        y = norm(F.conv2d(y, arrays[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
        if stride > 1:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, filters // 4, filters // 4))
        return F.relu(y + x)

    mean, stddev = (
        torch.tensor(v, dtype=x.dtype)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    y = (x.permute(0, 3, 1, 2) / 255 - mean) / stddev
    y = F.relu(norm(F.conv2d(y, arrays["conv1.weight"], padding=1), "bn1"))
    for stage, filters in enumerate((16, 32, 64), 1):
        for k in range(3):
            y = block(y, f"layer{stage}.{k}", filters, 2 if stage > 1 and k == 0 else 1)
    return F.linear(y.mean(dim=(2, 3)), arrays["linear.weight"], arrays["linear.bias"])


def pytorch_arrays(torch):
    with np.load(NPZ) as file:
        return {name: torch.tensor(file[name]).requires_grad_("running" not in name) for name in file.files}


PIXELS = np.random.default_rng(1).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)


@pytest.mark.oracle
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_resnet20_predicts_as_pytorch(backend):
    torch = pytest.importorskip("torch")
    model = applications.ResNet20(weights="cifar10", backend=backend)
    logits = theirs(torch, pytorch_arrays(torch), torch.tensor(PIXELS).float(), False)
    np.testing.assert_allclose(model.predict(PIXELS), torch.softmax(logits, 1).detach().numpy(), rtol=1e-3, atol=1e-5)


@pytest.mark.oracle
def test_resnet20_has_pytorchs_gradients():
    torch = pytest.importorskip("torch")
    arrays, y = pytorch_arrays(torch), np.array([0, 3, 9, 5])
    doubles = {k: v.detach().double().requires_grad_(v.requires_grad) for k, v in arrays.items()}
    loss = torch.nn.functional.cross_entropy(
        theirs(torch, doubles, torch.tensor(PIXELS).double(), True), torch.tensor(y)
    )
    loss.backward()
    model = applications.ResNet20(weights="cifar10", backend="reference")
    graph = Graph(backend="reference", dtype="float64", training=True)
    ours = losses.sparse_categorical_crossentropy(y, model(graph.tensor(PIXELS)))
    graph.backward(ours)
    assert float(ours.data) == pytest.approx(loss.item(), rel=1e-6)
    for layer in model.layers:
        for key, variable, order in weights.entries(layer):
            if "running" not in key:
                expected = doubles[key].grad.numpy().transpose(order)
                np.testing.assert_allclose(variable.grad, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_the_file_is_the_published_one(data_folder):
    original = data_folder / "pretrained" / "resnet20_cifar10.npz"
    if not original.exists():
        pytest.skip(f"no pretrained in {data_folder}")
    assert original.read_bytes() == NPZ.read_bytes()


# -- files of weights -------------------------------------------------------------------------------------------------


def test_a_path_of_weights(tmp_path):
    with np.load(NPZ) as file:
        arrays = {name: file[name] for name in file.files}
    path = tmp_path / "mine.npz"
    arrays["linear.bias"] = arrays["linear.bias"].astype(np.float64) + 1
    np.savez_compressed(path, **arrays)
    for given in (path, str(path)):
        model = applications.ResNet20(weights=given)
        np.testing.assert_allclose(model.get_layer("linear").bias.numpy(), arrays["linear.bias"], rtol=1e-6)
        kernel = model.get_layer("layer3_2_conv1").kernel.numpy()
        np.testing.assert_array_equal(kernel[1, 2, 5, 7], arrays["layer3.2.conv1.weight"][7, 5, 1, 2])


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def header(shape: str) -> bytes:
    """An array file that promises a shape and holds three bytes."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + b"abc"


def damaged(tmp_path):
    """Name -> (what a file holds, what the refusal says)."""
    with zipfile.ZipFile(NPZ) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    whole = NPZ.read_bytes()

    def changed(**files):
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w") as archive:
            for name, content in (members | files).items():
                if content is not None:
                    archive.writestr(name, content)
        return memory.getvalue()

    def array(value, **options):
        memory = io.BytesIO()
        np.save(memory, value, **options)
        return memory.getvalue()

    def bias(content):
        return changed(**{"linear.bias.npy": content})

    return {
        "empty": (b"", "not a zip file"),
        "a web page": (b"<html>404</html>", "not a zip file"),
        "truncated": (whole[:500_000], "not a zip file"),
        "a flipped byte": (whole[:500_000] + bytes([whole[500_000] ^ 1]) + whole[500_001:], "Bad CRC|invalid|Error"),
        "an array missing": (bias(None), "it has no array 'linear.bias'"),
        "an array too many": (changed(**{"extra.npy": b""}), "it holds an unknown array 'extra'"),
        "another shape": (bias(array(np.zeros(5, "f4"))), r"has shape \(5,\); expected \(10,\)"),
        "integers": (bias(array(np.zeros(10, "i4"))), "other values than finite"),
        "a NaN": (bias(array(np.full(10, np.nan, "f4"))), "other values than finite"),
        "objects": (bias(array(np.array([Touch(tmp_path / "touched")] * 10), allow_pickle=True)), "allow_pickle=False"),
        "no array": (bias(b"abc"), "does not hold the weights"),
        "a wild shape": (bias(header("(10000000000000,)")), "does not hold the weights"),
        "a negative shape": (bias(header("(-5,)")), "does not hold the weights"),
        "a bomb": (bias(header("(10,)") + bytes(100_000_000)), "too many for the shape"),
    }


@pytest.mark.parametrize("name", damaged(Path()))
def test_damaged_weights_are_named_and_change_nothing(name, tmp_path):
    content, message = damaged(tmp_path)[name]
    path = tmp_path / "weights.npz"
    path.write_bytes(content)
    model = applications.ResNet20(weights="cifar10")
    with pytest.raises(ValueError, match=message) as caught:
        weights.load(model, path)
    assert str(path) in str(caught.value)
    assert not (tmp_path / "touched").exists()
    with np.load(NPZ) as file:
        np.testing.assert_array_equal(
            model.get_layer("conv1").kernel.numpy().transpose(3, 2, 0, 1), file["conv1.weight"]
        )


def test_other_refusals(tmp_path):
    with pytest.raises(FileNotFoundError, match="ResNet20.*'imagenet'.*'cifar10' comes with tinynn"):
        applications.ResNet20(weights="imagenet")
    with pytest.raises(IsADirectoryError, match="is a directory"):
        applications.ResNet20(weights=tmp_path)
    with pytest.raises(ValueError, match="knows images of 3 channels and 10 classes, got 3 channels and classes=7"):
        applications.ResNet20(classes=7, weights="cifar10")
    with pytest.raises(ValueError, match="got 1 channels"):
        applications.ResNet20((32, 32, 1), weights="cifar10")
    with pytest.raises(ValueError, match=r"linear.weight.npy has shape \(10, 64\); expected \(7, 64\)"):
        applications.ResNet20(classes=7, weights=NPZ)
    with pytest.raises(ValueError, match="smaller"):
        applications.VGG16((20, 20, 3))
