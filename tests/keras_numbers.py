"""What Keras 3 computes for sequences, stored in ``keras_numbers.npz``: outputs and gradients of layers and options.

``test_keras_numbers.py`` reads the file. To write it again, in an environment with Keras 3 and PyTorch:

    KERAS_BACKEND=torch python -m tests.keras_numbers

A case is one layer, or several in a row, with weights, inputs, masks and states of random 64ths (which float16 holds);
results are float64. Gradients are those of the sum of all outputs, each multiplied with random numbers.

What Keras computes otherwise than tinynn, and is therefore left out:

* Outputs before the first step that counts, where there is an initial state: Keras's are 0, ours are the initial
  state, as the states that both return are. Likewise the output of a sequence of which no step counts.
* The output's mask with ``go_backwards`` and ``return_sequences``: Keras turns the outputs around and leaves the mask.
* A query that no key is there for: Keras's MultiHeadAttention spreads it evenly over the keys that it may not see
  (adding -3e38 to all scores changes nothing), ours gives it a row of zeros.
* GlobalAveragePooling1D of a sequence of which no step counts: Keras divides 0 by 0.
* Averages over windows with padding "same" where one more step is added behind than in front: Keras on PyTorch counts
  the last step twice, ours (and Keras on TensorFlow) do not count what is not there.
* Dropout: the random numbers are others.

Two places where it falls short of float64 are mended below: Keras's types give float32 for most operations on float64,
and PyTorch's derivative of the hard sigmoid knows 1/6 in float32 only.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("keras_numbers.npz")
KINDS = {"drawn": np.float16, "result": np.float64, "ids": np.int16, "mask": np.bool_}

Spec = dict[str, Any]
"""{"class": ..., "config": {...}}, and so for the layers inside."""


# -- the file --------------------------------------------------------------------------------------------------------


def write(cases: list[dict[str, Any]], path: Path = FILE) -> None:
    """Everything of one kind in one flat array; the cases, with names, kinds and shapes of their arrays, as JSON."""
    flat: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    index = []
    for case in cases:
        listing = []
        for name, (kind, array) in case["arrays"].items():
            flat[kind].append(np.ravel(array).astype(KINDS[kind]))
            listing.append([name, kind, list(np.shape(array))])
        index.append({**case, "arrays": listing})
    text = np.frombuffer(json.dumps(index, separators=(",", ":")).encode(), np.uint8)
    np.savez_compressed(path, index=text, **{kind: np.concatenate(arrays) for kind, arrays in flat.items()})


def read(path: Path = FILE) -> list[dict[str, Any]]:
    """The cases as ``write`` got them, each array by its name; drawn numbers are float64 again."""
    with np.load(path) as stored:
        flat = {kind: stored[kind] for kind in KINDS}
        cases = json.loads(stored["index"].tobytes())
    place = dict.fromkeys(KINDS, 0)
    for case in cases:
        arrays = {}
        for name, kind, shape in case["arrays"]:
            size = int(np.prod(shape))
            array = flat[kind][place[kind] : place[kind] + size].reshape(shape)
            arrays[name] = array.astype(np.float64) if kind == "drawn" else array
            place[kind] += size
        case["arrays"] = arrays
    return list(cases)


def numbered(arrays: dict[str, np.ndarray], name: str) -> list[Any]:
    """[arrays["name0"], arrays["name1"], ...]; None for a number that is missing before the last."""
    numbers = [int(key[len(name) :]) for key in arrays if key.startswith(name) and key[len(name) :].isdigit()]
    return [arrays.get(f"{name}{i}") for i in range(max(numbers, default=-1) + 1)]


# -- the cases -------------------------------------------------------------------------------------------------------

N, T, F, H = 2, 5, 2, 3
INNER = [[1, 1, 1, 1, 1], [1, 0, 1, 0, 1], [1, 1, 1, 0, 0]]
LEADING = [*INNER, [0, 0, 1, 1, 1]]
EMPTY = [*LEADING, [0, 0, 0, 0, 0]]


def layer(name: str, *inside: Any, **config: Any) -> Spec:
    """The description of a layer; the layers inside it come first."""
    if inside:
        config["cells" if name == "StackedRNNCells" else "cell" if name == "RNN" else "layer"] = (
            list(inside) if name == "StackedRNNCells" else inside[0]
        )
    return {"class": name, "config": config}


def case(name: str, *layers: Spec, x: Any = (N, T, F), masks: Any = (), states: Any = (), **options: Any) -> Spec:
    """One case.

    layers:  one, or several that follow each other
    x:       a shape, an integer array, or a list of them
    masks:   of the inputs, None for one that has none
    states:  shapes of the initial state
    options: of the call; a list of lists of 0 and 1 is a mask
    """
    return {
        "name": name,
        "layers": list(layers),
        "x": x if isinstance(x, list) else [x],
        "masks": list(masks),
        "states": list(states),
        "options": options,
    }


def recurrent() -> Iterator[Spec]:
    """Every option of the three recurrent layers."""
    everything = {"return_sequences": True, "return_state": True}
    kinds: list[tuple[str, str, dict[str, Any], int]] = [
        ("simple_rnn", "SimpleRNN", {}, 1),
        ("lstm", "LSTM", {}, 2),
        ("gru", "GRU", {}, 1),
        ("gru_before", "GRU", {"reset_after": False}, 1),
    ]
    for name, kind, fixed, count in kinds:

        def make(kind: str = kind, fixed: dict[str, Any] = fixed, **config: Any) -> Spec:
            return layer(kind, units=H, **fixed, **config)

        states = [(N, H)] * count
        gates = {} if kind == "SimpleRNN" else {"recurrent_activation": "hard_sigmoid"}
        yield case(f"{name}_last", make())
        yield case(f"{name}_one_step", make(return_sequences=True), x=(N, 1, F))
        yield case(f"{name}_sequences", make(**everything))
        yield case(f"{name}_no_bias", make(use_bias=False, **everything))
        yield case(f"{name}_backwards", make(go_backwards=True, **everything))
        yield case(f"{name}_backwards_last", make(go_backwards=True))
        yield case(f"{name}_states", make(**everything), states=states)
        yield case(f"{name}_states_backwards", make(go_backwards=True, return_state=True), states=states)
        yield case(f"{name}_mask", make(**everything), x=(4, T, F), masks=[LEADING])
        yield case(f"{name}_mask_last", make(), x=(4, T, F), masks=[LEADING])
        yield case(f"{name}_mask_backwards", make(go_backwards=True, **everything), x=(4, T, F), masks=[LEADING])
        yield case(f"{name}_mask_states", make(**everything), x=(3, T, F), masks=[INNER], states=[(3, H)] * count)
        yield case(f"{name}_mask_empty", make(return_state=True), x=(5, T, F), masks=[EMPTY])
        yield case(f"{name}_relu", make(activation="relu", return_sequences=True))
        yield case(f"{name}_linear", make(activation="linear", return_sequences=True))
        yield case(f"{name}_elu", make(activation="elu", return_sequences=True, **gates))
        yield case(f"{name}_hard_sigmoid", make(activation="hard_sigmoid", return_sequences=True, **gates))
        yield case(f"{name}_cell", layer(f"{kind}Cell", units=H, **fixed), x=(N, F), states=states)
        zero = make(zero_output_for_mask=True, return_sequences=True)
        yield case(f"{name}_mask_zero", zero, x=(4, T, F), masks=[LEADING])
    yield case("lstm_forget_bias_of_zero", layer("LSTM", units=H, unit_forget_bias=False))
    yield case("rnn_of_a_cell", layer("RNN", layer("LSTMCell", units=H), **everything), x=(4, T, F), masks=[LEADING])
    stack = layer("StackedRNNCells", layer("LSTMCell", units=H), layer("GRUCell", units=4))
    yield case("stacked_last", layer("RNN", stack))
    yield case("stacked_sequences", layer("RNN", stack, **everything))
    yield case("stacked_backwards", layer("RNN", stack, go_backwards=True, return_sequences=True))
    yield case("stacked_mask", layer("RNN", stack, return_sequences=True), x=(4, T, F), masks=[LEADING])


def bidirectional() -> Iterator[Spec]:
    """Both directions, joined in every way."""
    for mode in ("concat", "sum", "mul", "ave", None):
        for sequences in (True, False):
            inner = layer("LSTM", units=H, return_sequences=sequences)
            name = f"bidirectional_{mode}_{'sequences' if sequences else 'last'}".lower()
            yield case(name, layer("Bidirectional", inner, merge_mode=mode))
            yield case(f"{name}_mask", layer("Bidirectional", inner, merge_mode=mode), x=(4, T, F), masks=[LEADING])
    gru = layer("GRU", units=H, return_sequences=True, return_state=True)
    yield case("bidirectional_states", layer("Bidirectional", gru), states=[(N, H)] * 2)
    lstm = layer("LSTM", units=H, return_state=True)
    yield case("bidirectional_lstm_states", layer("Bidirectional", lstm), states=[(N, H)] * 4)
    yield case("bidirectional_empty", layer("Bidirectional", lstm), x=(5, T, F), masks=[EMPTY])
    back = layer("GRU", units=4, return_sequences=True, go_backwards=True)
    forth = layer("SimpleRNN", units=H, return_sequences=True)
    yield case("bidirectional_two_layers", layer("Bidirectional", forth, backward_layer=back))


def sequences() -> Iterator[Spec]:
    """Words to vectors, masks that travel, and what looks at every step by itself."""
    ids = np.array([[1, 3, 0, 0], [2, 2, 5, 2], [0, 4, 1, 0]])
    embedding = layer("Embedding", input_dim=7, output_dim=F, mask_zero=True)
    dense = layer("TimeDistributed", layer("Dense", units=H, activation="tanh"))
    masking = layer("Masking", mask_value=0.0)
    gaps = "gaps"  # inputs with whole steps of zeros
    yield case("embedding", layer("Embedding", input_dim=7, output_dim=F), x=ids)
    yield case("embedding_mask", embedding, x=ids)
    yield case("embedding_lstm", embedding, layer("LSTM", units=H, return_sequences=True), x=ids)
    yield case(
        "embedding_gru_gru", embedding, layer("GRU", units=H, return_sequences=True), layer("GRU", units=4), x=ids
    )
    yield case("embedding_bidirectional", embedding, layer("Bidirectional", layer("LSTM", units=4)), x=ids)
    yield case("embedding_average", embedding, layer("GlobalAveragePooling1D"), x=ids)
    yield case("masking", masking, x=gaps)
    yield case("masking_lstm", masking, layer("LSTM", units=H), x=gaps)
    yield case("masking_distributed", masking, dense, x=gaps)
    yield case("masking_distributed_average", masking, dense, layer("GlobalAveragePooling1D"), x=gaps)
    yield case("distributed", dense)
    convolution = layer("Conv2D", filters=2, kernel_size=2)
    yield case("distributed_images", layer("TimeDistributed", convolution), x=(2, 3, 4, 3, 2))
    yield case("average", layer("GlobalAveragePooling1D"))
    yield case("average_keepdims", layer("GlobalAveragePooling1D", keepdims=True))
    yield case("average_mask", layer("GlobalAveragePooling1D"), x=(4, T, F), masks=[LEADING])
    yield case("maximum", layer("GlobalMaxPooling1D"))  # of numbers that differ: ties are shared otherwise


def windows() -> Iterator[Spec]:
    """What looks at several steps at once: Conv1D and pooling."""

    def convolution(name: str, **config: Any) -> Spec:
        return case(f"conv1d_{name}", layer("Conv1D", **{"filters": H, "kernel_size": 3, **config}), x=(2, 7, 4))

    yield convolution("valid")
    yield convolution("same", padding="same", kernel_size=4, use_bias=False)
    yield convolution("causal", padding="causal", activation="tanh")
    yield convolution("causal_dilation", padding="causal", dilation_rate=2)
    yield convolution("strides", strides=2, padding="same")
    yield convolution("groups", groups=2, filters=4)
    for kind in ("AveragePooling1D", "MaxPooling1D"):
        yield case(f"{kind.lower()}", layer(kind, pool_size=2), x=(2, 7, 3))
        yield case(f"{kind.lower()}_same", layer(kind, pool_size=3, strides=2, padding="same"), x=(2, 7, 3))


def images() -> Iterator[Spec]:
    """ConvLSTM2D."""

    def make(name: str, x: Any = (2, 3, 4, 5, 2), masks: Any = (), states: Any = (), **config: Any) -> Spec:
        given = {"filters": 2, "kernel_size": [3, 3], **config}
        return case(f"convlstm2d_{name}", layer("ConvLSTM2D", **given), x=x, masks=masks, states=states)

    everything = {"return_sequences": True, "return_state": True}
    yield make("valid")
    yield make("valid_sequences", **everything)
    yield make("same", padding="same", **everything)
    yield make("even_kernel", padding="same", kernel_size=[2, 4], return_sequences=True)
    yield make("strides", strides=[2, 1], **everything)
    yield make("strides_same", strides=[2, 2], padding="same", return_sequences=True)
    yield make("dilation", (2, 3, 5, 4, 1), kernel_size=[2, 2], dilation_rate=[2, 1], **everything)
    yield make("dilation_same", (1, 3, 5, 4, 1), dilation_rate=2, padding="same", return_sequences=True)
    yield make("backwards", go_backwards=True, **everything)
    yield make("no_bias", use_bias=False)
    yield make("forget_bias_of_zero", unit_forget_bias=False)
    yield make("activations", activation="relu", recurrent_activation="hard_sigmoid", return_sequences=True)
    yield make("states", states=[(2, 2, 3, 2)] * 2, **everything)
    mask = [[1, 1, 1], [0, 1, 0], [1, 0, 1], [1, 1, 0]]
    yield make("mask", (4, 3, 3, 4, 1), masks=[mask], **everything)
    yield make("mask_last", (4, 3, 3, 4, 1), masks=[mask])


def attention() -> Iterator[Spec]:
    """MultiHeadAttention, Attention, AdditiveAttention; query (2, 3, .), value and key (2, 4, .)."""
    see = [[[1, 1, 0, 0], [0, 1, 0, 1], [1, 1, 1, 1]], [[0, 0, 0, 1], [1, 0, 1, 0], [0, 1, 1, 0]]]
    values = [[1, 1, 0, 1], [1, 0, 1, 0]]
    queries = [[1, 1, 0], [0, 1, 1]]
    q, v, k = (2, 3, 6), (2, 4, 5), (2, 4, 3)

    def heads(name: str, x: Any, masks: Any = (), options: Any = (), **config: Any) -> Spec:
        given = {"num_heads": 2, "key_dim": 3, **config}
        return case(f"heads_{name}", layer("MultiHeadAttention", **given), x=x, masks=masks, **dict(options))

    yield heads("two", [q, v])
    yield heads("three", [q, v, k])
    yield heads("no_bias", [q, v], use_bias=False)
    yield heads("value_dim", [q, v], value_dim=2)
    yield heads("output_shape", [q, v], output_shape=3)
    yield heads("self_causal", [(2, 4, 4), (2, 4, 4)], options={"use_causal_mask": True})
    yield heads("causal", [q, v], options={"use_causal_mask": True})
    yield heads("attention_mask", [q, v], options={"attention_mask": see})
    yield heads("value_mask", [q, v], masks=[None, values])
    yield heads("scores", [q, v], options={"return_attention_scores": True})

    def dot(name: str, x: Any, masks: Any = (), options: Any = (), **config: Any) -> Spec:
        return case(f"attention_{name}", layer("Attention", **config), x=x, masks=masks, **dict(options))

    q, v, k = (2, 3, 4), (2, 4, 4), (2, 4, 4)
    yield dot("dot", [q, v])
    yield dot("key", [q, v, k])
    yield dot("scale", [q, v], use_scale=True)
    yield dot("concat", [q, v], score_mode="concat")
    yield dot("concat_scale", [q, v, k], score_mode="concat", use_scale=True)
    yield dot("value_mask", [q, v], masks=[None, values])
    yield dot("both_masks", [q, v], masks=[queries, values], use_scale=True)
    yield dot("causal", [v, v], options={"use_causal_mask": True})
    yield dot("scores", [q, v], options={"return_attention_scores": True})
    additive = layer("AdditiveAttention")
    yield case("additive", additive, x=[q, v])
    yield case("additive_no_scale", layer("AdditiveAttention", use_scale=False), x=[q, v, k])
    yield case("additive_masks", additive, x=[q, v], masks=[queries, values])
    yield case("additive_causal", additive, x=[v, v], use_causal_mask=True)


# -- what Keras makes of them ----------------------------------------------------------------------------------------


def drawn(rng: np.random.Generator, shape: Any) -> np.ndarray:
    """Normal numbers of about 0.7, as 64ths, none of them 0."""
    values = np.round(rng.normal(0, 0.7, shape) * 64) / 64
    return np.asarray(np.where(values == 0, 1 / 64, values))


def inputs_of(case: Spec, rng: np.random.Generator) -> dict[str, tuple[str, np.ndarray]]:
    """Inputs, masks and states by their names in the file."""
    arrays: dict[str, tuple[str, np.ndarray]] = {}
    for i, x in enumerate(case["x"]):
        if isinstance(x, np.ndarray):
            arrays[f"x{i}"] = "ids", x
        elif x == "gaps":
            arrays[f"x{i}"] = "drawn", drawn(rng, (4, T, F)) * np.array(LEADING)[:, :, None]
        else:
            arrays[f"x{i}"] = "drawn", drawn(rng, x)
    for i, mask in enumerate(case["masks"]):
        if mask is not None:
            arrays[f"mask{i}"] = "mask", np.array(mask, bool)
    for i, shape in enumerate(case["states"]):
        arrays[f"state{i}"] = "drawn", drawn(rng, shape)
    if "attention_mask" in case["options"]:
        arrays["attention_mask"] = "mask", np.array(case["options"]["attention_mask"], bool)
    return arrays


def run_keras(case: Spec) -> dict[str, Any]:
    """A case with everything that Keras computes."""
    import torch

    rng = np.random.default_rng(zlib.crc32(case["name"].encode()))
    arrays = inputs_of(case, rng)
    plain = {name: array for name, (_, array) in arrays.items()}
    x = [torch.tensor(a) for a in numbered(plain, "x")]
    states = [torch.tensor(a) for a in numbered(plain, "state")]
    masks = [None if m is None else torch.tensor(m) for m in numbered(plain, "mask")]
    leaves = [t.requires_grad_() for t in (*x, *states) if t.is_floating_point()]
    options = {key: value for key, value in case["options"].items() if key != "attention_mask"}
    tensors = {
        **options,
        **({"attention_mask": torch.tensor(plain["attention_mask"])} if "attention_mask" in plain else {}),
    }
    layers = [keras_layer(spec) for spec in case["layers"]]
    call_keras(layers, x, states, masks, tensors)  # builds
    variables = [v for la in layers for v in la.trainable_weights]
    for i, v in enumerate(variables):
        if "bias" in v.name:
            arrays[f"initial{i}"] = "result", v.numpy()
    for i, v in enumerate(variables):
        values = drawn(rng, tuple(v.shape))
        v.assign(values)
        arrays[f"weight{i}"] = "drawn", values
    outputs = call_keras(layers, x, states, masks, tensors)
    loss = torch.zeros((), dtype=torch.float64)
    for i, y in enumerate(outputs):
        dy = drawn(rng, tuple(y.shape))
        arrays[f"y{i}"], arrays[f"dy{i}"] = ("result", y.detach().numpy()), ("drawn", dy)
        loss = loss + (y * torch.tensor(dy)).sum()
    mask = getattr(outputs[0], "_keras_mask", None)
    if mask is not None and not case["layers"][-1]["config"].get("go_backwards"):
        arrays["ymask"] = "mask", mask.numpy()
    wanted = [*leaves, *[v.value for v in variables]]
    gradients = torch.autograd.grad(loss, wanted, allow_unused=True) if wanted else []
    for i, (leaf, g) in enumerate(zip(wanted, gradients, strict=True)):
        arrays[f"gradient{i}"] = "result", np.zeros(tuple(leaf.shape)) if g is None else g.numpy()
    return {"name": case["name"], "layers": case["layers"], "options": options, "arrays": arrays}


def keras_layer(spec: Any) -> Any:
    """The layer that a description stands for."""
    import keras

    if isinstance(spec, list) and spec and isinstance(spec[0], dict):
        return [keras_layer(inner) for inner in spec]
    if spec == "hard_sigmoid":
        return lambda x: keras.ops.clip(x / 6 + 0.5, 0, 1)
    if not isinstance(spec, dict):
        return spec
    return getattr(keras.layers, spec["class"])(**{key: keras_layer(value) for key, value in spec["config"].items()})


def call_keras(
    layers: list[Any], x: list[Any], states: list[Any], masks: list[Any], options: dict[str, Any]
) -> list[Any]:
    """All outputs, flat. Masks travel from layer to layer as they do in a model."""
    import keras

    first, kind = layers[0], type(layers[0]).__name__
    if kind == "MultiHeadAttention":
        named = dict(zip(("query_mask", "value_mask", "key_mask"), masks, strict=False))
        y = first(*x, **named, **options)
    elif kind in ("Attention", "AdditiveAttention"):
        y = first(x, **({"mask": masks} if masks else {}), **options)
    elif kind.endswith("Cell"):
        y = first(x[0], states)
    else:
        given = {**({"mask": masks[0]} if masks else {}), **({"initial_state": states} if states else {})}
        y = first(x[0], **given, **options)
    for following in layers[1:]:
        y = following(y)
    return list(keras.tree.flatten(y))


def main() -> None:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras
    from keras.src.backend.common import dtypes

    keras.config.set_floatx("float64")
    dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"  # else most operations of float64 give float32
    cases = [*recurrent(), *bidirectional(), *sequences(), *windows(), *images(), *attention()]
    write([run_keras(c) for c in cases])
    print(f"{len(cases)} cases, Keras {keras.__version__}, {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
