"""Layer: parameters plus one or two Functions. Symbol: the shape of a tensor that is still to come."""

from __future__ import annotations

import functools
import re
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn import ops
from tinynn.config import WholeSignature, config_of, constructor_arguments, plain, refuse_unknown_arguments
from tinynn.graph import Graph
from tinynn.parameter import Buffer, Parameter, Variable
from tinynn.random import Stream, substream
from tinynn.tensor import Tensor
from tinynn.typing import ArrayLike, Shape


class Symbol:
    """A stand-in for a tensor while a functional model is written down: a shape, and the call that will make it."""

    def __init__(
        self,
        shape: Shape,
        layer: Layer | None = None,
        inputs: Sequence[Symbol] = (),
        name: str | None = None,
        dtype: str | None = None,
        takes_list: bool = False,
        index: int = 0,
        options: Mapping[str, Any] = MappingProxyType({}),
    ):
        self.shape = tuple(shape)
        """Without the batch axis."""
        self.layer = layer
        self.inputs = list(inputs)
        self.name = name
        self.dtype = dtype
        self.takes_list = takes_list
        """Whether the layer was called with a list."""
        self.index = index
        """Which result of the call ``inputs[0]`` this is, where a layer has several and ``layer`` is None."""
        self.options = dict(options)
        """What the call was given beside tensors, such as ``training=False``."""

    def __repr__(self) -> str:
        made = f" made by {self.layer.name}" if self.layer is not None else ""
        return f"<Symbol {(None, *self.shape)}{made}>"

    def __add__(self, other: Symbol) -> Symbol:
        """``x + y`` is ``Add()([x, y])``, as in the residual connections of Transformer listings."""
        return self.merged("Add", other)

    def __sub__(self, other: Symbol) -> Symbol:
        return self.merged("Subtract", other)

    def __mul__(self, other: Symbol) -> Symbol:
        return self.merged("Multiply", other)

    def merged(self, kind: str, other: Symbol) -> Symbol:
        """The merge layer of that name on this symbol and another one."""
        from tinynn import layers

        if not isinstance(other, Symbol):
            raise TypeError(
                f"symbols can be added, subtracted and multiplied with symbols, got {type(other).__name__}: write a "
                "layer of your own, or Lambda(lambda x: ...), for anything else"
            )
        return layers.get_class(kind)()([self, other])  # type: ignore[no-any-return]


class Fallback:
    """A property that an attribute of the same name hides: a layer of your own may call a part of itself ``output``."""

    def __init__(self, find: Callable[[Any], Any]):
        self.find, self.__doc__ = find, find.__doc__

    def __get__(self, layer: Any, _: Any = None) -> Any:
        return self if layer is None else self.find(layer)


class Layer:
    """The base of all layers, built in and your own.

    >>> class Scale(Layer):
    ...     def __init__(self, start="ones", **base):
    ...         super().__init__(**base)
    ...         self.start = start
    ...     def build(self, input_shape):
    ...         self.scale = Parameter(input_shape[-1:], self.start)
    ...         return input_shape
    ...     def forward(self, x):
    ...         return x * x.graph.parameter(self.scale)

    A layer keeps every constructor argument under its own name, so that ``config()`` can read it back. ``build`` gets
    the shape without the batch axis, assigns the parameters and returns the output shape; ``forward`` computes with
    tensors. Parameters, buffers and inner layers are found by walking ``vars(self)`` in order of assignment.

    name:        unique in its model; a model gives ``dense``, ``dense_1``, ... where there is none
    trainable:   False freezes the layer (and what it contains) at the next ``compile``
    input_shape: of a model's first layer, without the batch axis
    """

    name: str | None = None
    trainable = True
    built = False
    input_shape: Any = None
    """The constructor's argument."""
    built_for: Any = None
    output_shape: Any = None
    """The shapes it was built for and gives, without the batch axis."""
    input_dtype: str | None = None
    """What the model's door converts inputs to; None for the compute dtype, "int32" for a layer that reads indices."""
    stream: Stream | None = None
    """The random numbers of a model, or of a layer that is used without one."""
    substreams: Mapping[int, int] = MappingProxyType({})
    """Layers inside and their random sub-streams, as far as they were asked for."""
    supports_masking = False
    """Whether the mask of the inputs is that of the output too; a layer without it drops the mask, and says so."""
    auto_named = False
    """Whether a model gave the name, and may give another one."""
    asks: tuple[str, ...] = ()
    """Which of ``training`` and ``mask`` are arguments of ``forward``: they are filled in, as for Keras's ``call``."""
    makes_masks = False
    """Whether ``compute_mask`` is written Keras's way, with the inputs' mask as an argument: also asked without one."""

    __signature__ = WholeSignature()

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        if "forward" in vars(cls):
            cls.asks = tuple(name for name in ("training", "mask") if name in argument_names(cls.forward))
        if "compute_mask" in vars(cls):
            cls.makes_masks = len(argument_names(cls.compute_mask)) > 2

    if not TYPE_CHECKING:  # mypy reads the arguments from __init__

        def __new__(cls, *_, **arguments):
            if arguments:
                refuse_unknown_arguments(cls, arguments)
            return super().__new__(cls)

    def __init__(
        self, *, name: str | None = None, trainable: bool = True, input_shape: Sequence[int] | int | None = None
    ):
        if name is not None and (not isinstance(name, str) or not name or "/" in name):
            raise ValueError(f"{type(self).__name__} expects a name that is a text without '/', got {name!r}")
        self.name = name
        self.trainable = bool(trainable)
        if input_shape is not None:
            self.input_shape = checked_shape(input_shape, self)

    # -- to be written by each layer ---------------------------------------------------------------------------------

    def build(self, input_shape: Any) -> Any:
        """Declare the parameters for inputs of this shape (no batch axis) and return the output shape.

        Where nothing is returned, as in Keras, one call of ``forward`` on zeros finds it.
        """
        return input_shape

    def forward(self, x: Any) -> Any:
        """Compute with tensors of the graph ``x.graph``. More arguments are options of a call: ``layer(x, k=2)``.

        An argument ``training`` is ``x.graph.training``, an argument ``mask`` is ``x.mask`` (of several inputs a list).
        """
        keras = ": Keras's call(self, inputs) is forward(self, x) here" if hasattr(self, "call") else ""
        raise NotImplementedError(f"{type(self).__name__} has no forward(x){keras}")

    def add_weight(
        self, shape: Any = (), initializer: Any = "glorot_uniform", trainable: bool = True, name: str | None = None
    ) -> Variable:
        """Keras's way to make a Parameter (or, not trained, a Buffer): ``self.w = self.add_weight((3, 4))``.

        The attribute gives the name. In ``forward`` it is ``x.graph.parameter(self.w)``.
        """
        return Parameter(tuple(shape), initializer) if trainable else Buffer(tuple(shape), initializer)

    # -- calling -----------------------------------------------------------------------------------------------------

    def __call__(self, x: Any, *, training: bool | None = None, mask: Any = None, **options: Any) -> Any:
        """Apply to a Tensor (compute) or a Symbol (write down), or a list of either; builds at the first call.

        training: for this call only, whatever the graph says: ``base(x, training=False)`` keeps the running statistics
                  of a base that is frozen, or about to be.
        mask:     (N, T) of bools, which steps count, for this call; else the one that came with the tensor
        options:  go to ``forward``
        """
        first = x[0] if isinstance(x, (list, tuple)) and x else x
        if isinstance(first, Symbol):
            return self.symbols(x, options if training is None else {**options, "training": bool(training)}, mask)
        if not isinstance(first, Tensor):
            raise TypeError(
                f"layer '{self.label}' expects a Tensor, got {type(first).__name__}: open a graph first, "
                "as in layer(graph.tensor(x)), or use model.predict(x)"
            )
        if x is first:
            if not self.built or x.data.shape[1:] != self.built_for:
                self.ensure_built(x.shape[1:])
        else:
            self.ensure_built([t.shape[1:] for t in x])
        if training is not None or mask is not None:
            return self.call_with(x, first, training, mask, options)
        if self.asks:
            options = {**self.asked(x), **options}
        y = self.forward(x, **options) if first.graph.root is not None else self.lead(first.graph, x, options)
        if self.makes_masks or first.mask is not None or (x is not first and any(t.mask is not None for t in x)):
            self.carry_mask(x, y)
        return y

    def asked(self, x: Any) -> dict[str, Any]:
        """What ``forward`` asks for beside x."""
        first = x[0] if isinstance(x, (list, tuple)) else x
        given = {"training": first.graph.training, "mask": masks_of(x)}
        return {name: given[name] for name in self.asks}

    def call_with(self, x: Any, first: Tensor, training: bool | None, mask: Any, options: dict[str, Any]) -> Any:
        """A call in another mode than the graph's, or with a mask from the caller's hand."""
        graph = first.graph
        mode = graph.training
        if mask is not None:  # of this call's tensor, not of the caller's
            given = checked_mask(mask, first, self)
            seen = ops.reshape(first, first.shape)
            seen.mask = given
            x = seen if x is first else [seen, *x[1:]]
        if training is not None:
            graph.training = bool(training)
        try:
            return self(x, **options)
        finally:
            graph.training = mode

    def carry_mask(self, x: Any, y: Any) -> None:
        """Give the output the mask of the inputs, unless ``forward`` gave it one of its own."""
        if self.makes_masks:
            self.give_masks(y, self.compute_mask(x, masks_of(x)))  # type: ignore[call-arg]
            return
        mask = self.compute_mask(x)
        for tensor in y if isinstance(y, (list, tuple)) else [y]:
            if tensor.mask is None and mask is not None and tensor.shape[: mask.ndim] == mask.shape:
                tensor.mask = mask

    def give_masks(self, y: Any, masks: Any) -> None:
        """Give the outputs the masks of a ``compute_mask`` that was written Keras's way: one, or one for each."""
        outputs = y if isinstance(y, (list, tuple)) else [y]
        given = masks if isinstance(masks, (list, tuple)) else [masks] * len(outputs)
        if len(given) != len(outputs):
            raise ValueError(
                f"layer '{self.label}' has {len(outputs)} outputs, but compute_mask returned {len(given)} masks"
            )
        for tensor, mask in zip(outputs, given, strict=True):
            if mask is not None:
                tensor.mask = checked_mask(mask, tensor, self)

    def compute_mask(self, x: Any) -> Any:
        """The output's mask, where the input x (a Tensor or a list of them) has one: of several, where all count.

        A layer of your own may write it Keras's way, ``compute_mask(self, inputs, mask=None)``: then it is also asked
        where the inputs have none, and may make one (``inputs.data != 0``). None is no mask.
        """
        masks = [t.mask for t in (x if isinstance(x, (list, tuple)) else [x]) if t.mask is not None]
        if self.supports_masking:
            shapes = {m.shape for m in masks}
            return functools.reduce(np.logical_and, masks) if len(shapes) == 1 else None
        if not self.said_mask and "mask" not in self.asks:
            self.said_mask = True
            warnings.warn(
                f"layer '{self.label}' drops the mask of its input: what follows sees padding as data. Where the mask "
                "still fits its output, set supports_masking = True on its class",
                stacklevel=2,
            )
        return None

    said_mask = False

    def lead(self, graph: Graph, x: Any, options: Mapping[str, Any] = MappingProxyType({})) -> Any:
        """The outermost call: the random numbers of all layers inside are this one's, and its step counter advances.

        A graph by hand freezes what ``trainable`` says now; that of a compiled model, what it said at ``compile``.
        """
        if not self.bound:
            self.stream = self.stream or Stream()
            self.bind(self.stream, self.root_path, graph.backend)
            self.bound = True
        if graph.training:
            self.stream.advance()  # type: ignore[union-attr]
        by_hand = graph.frozen is None
        if by_hand and (graph.training or graph.taping):
            graph.frozen = frozen_ids(self)
        graph.root = self
        try:
            return self.forward(x, **options)
        finally:
            graph.root = None
            if by_hand:
                graph.frozen = None

    bound = False
    """Whether the variables have got their random stream and backend."""

    def symbols(self, x: Any, options: Mapping[str, Any] = MappingProxyType({}), mask: Any = None) -> Any:
        """Write a call down: a Symbol for the output, or a list of them."""
        if mask is not None:
            raise TypeError(
                f"layer '{self.label}': a mask comes with its tensor, from Masking or Embedding(mask_zero=True), when "
                "a model runs: leave mask=... out"
            )
        many = isinstance(x, (list, tuple))
        inputs = list(x) if many else [x]
        shapes = [s.shape for s in inputs]
        output = self.ensure_built(shapes if many else shapes[0])
        several = isinstance(output, list)
        call = Symbol(() if several else output, self, inputs, takes_list=many, options=options)
        if self._call is None or self._call() is None:
            self._call = weakref.ref(call)  # not the call itself, which knows the layer: models shall die at once
        return results_of(call, output) if several else call

    _call: Callable[[], Symbol | None] | None = None
    """The first call that was written down, as long as anybody holds it."""

    def first_call(self) -> Symbol:
        """AttributeError where there is none."""
        call = self._call() if self._call is not None else None
        if call is None or call.layer is not self:
            raise AttributeError(
                f"layer '{self.label}' has no input and output yet: it was not called on symbols, nor put into a "
                "Sequential that knows its input_shape"
            )
        return call

    @Fallback
    def input(self) -> Any:
        """The symbol that the layer was first called on, or the list of them."""
        call = self.first_call()
        return list(call.inputs) if call.takes_list else call.inputs[0]

    @Fallback
    def output(self) -> Any:
        """The symbol that the first call made, or the list: ``Model(model.input, model.get_layer("pool").output)``."""
        call = self.first_call()
        shapes = [s.shape for s in call.inputs]
        made = self.ensure_built(shapes if call.takes_list else shapes[0])
        return results_of(call, made) if isinstance(made, list) else call

    def ensure_built(self, input_shape: Any) -> Any:
        """Build at the first call; afterwards check that the shape fits. Returns the output shape."""
        if self.built:
            return self.output_shape if input_shape == self.built_for else self.shape_for(input_shape)
        output_shape = self.build(input_shape)
        own = type(self).build is Layer.build and not type(self).forward.__module__.startswith("tinynn.")
        if own or output_shape is None or any(not layer.built for layer in self.layers_inside()):
            output_shape = self.build_inside(input_shape, output_shape)
        self.built_for, self.output_shape, self.built = input_shape, output_shape, True
        return output_shape

    def build_inside(self, input_shape: Any, said: Any) -> Any:
        """Build the layers inside by one call on zeros, so that a model knows all its parameters before it trains.

        The call runs on the reference, in inference mode, and draws no weights; it also finds the output shape where
        ``build`` does not say it.
        """
        found = probed_shape(self, input_shape)
        if said is None:
            return found
        if type(self).build is not Layer.build and found != said and None not in flat(said):
            raise ValueError(
                f"layer '{self.label}': build returned the output shape {said}, but forward makes {found} "
                "(without the batch axis): return that, or leave build out"
            )
        return found if type(self).build is Layer.build else said

    def shape_for(self, input_shape: Any) -> Any:
        """The output shape for another input shape than the one built for; ValueError where it does not fit."""
        if open_fit(input_shape, self.built_for):
            return self.output_shape
        raise ValueError(
            f"layer '{self.label}' was built for inputs of shape {shown(self.built_for)}, got {shown(input_shape)}: "
            "reshape the input, or use a new layer"
        )

    @property
    def label(self) -> str:
        """The name, or what the name would be."""
        return self.name or snake_case(type(self).__name__)

    # -- parameters --------------------------------------------------------------------------------------------------

    def variables(self) -> list[Variable]:
        """All parameters and buffers, those of inner layers included, each once, in order of assignment."""
        return list(dict.fromkeys(variable for _, variable in walk_variables(self, "")))

    @property
    def weights(self) -> list[Variable]:
        """All parameters and buffers, as Keras calls them."""
        return self.variables()

    def parameters(self) -> list[Parameter]:
        """The parameters (not the buffers), frozen ones included."""
        return [v for v in self.variables() if isinstance(v, Parameter)]

    @property
    def trainable_weights(self) -> list[Variable]:
        """The parameters that are not frozen, by ``trainable`` here or further inside."""
        frozen = frozen_ids(self)
        return [p for p in self.parameters() if id(p) not in frozen]

    @property
    def non_trainable_weights(self) -> list[Variable]:
        trained = set(map(id, self.trainable_weights))
        return [v for v in self.variables() if id(v) not in trained]

    def count_params(self) -> int:
        """The number of values in all parameters and buffers."""
        self.require_built("count_params")
        return sum(v.size for v in self.variables())

    def get_weights(self) -> list[Any]:
        """Copies of all weights as NumPy arrays."""
        self.require_built("get_weights")
        return [v.numpy() for v in self.variables()]

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Overwrite all weights, in the order of ``get_weights``; nothing changes unless every shape fits."""
        self.require_built("set_weights")
        variables = self.variables()
        arrays = [v._home().asarray(w, v.dtype) for v, w in zip(variables, weights, strict=False)]
        if len(weights) != len(variables):
            raise ValueError(f"'{self.label}' has {len(variables)} weights, got a list of {len(weights)}")
        for variable, array in zip(variables, arrays, strict=True):
            if tuple(array.shape) != variable.shape:
                raise ValueError(
                    f"'{self.label}': weight {variable.name} has shape {variable.shape}, got {tuple(array.shape)}"
                )
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)

    def require_built(self, what: str) -> None:
        if not self.built:
            raise RuntimeError(
                f"'{self.label}' has no weights yet, so {what} has nothing to work on: give input_shape=... to its "
                "first layer, call build(input_shape), or call it on data first"
            )

    def layers_inside(self) -> Iterator[Layer]:
        """The layers directly inside this one, in order of assignment."""
        for _, value in walk(vars(self)):
            if isinstance(value, Layer):
                yield value

    @property
    def root_path(self) -> str:
        """What the paths of the variables begin with where this layer is the outermost one."""
        return self.label

    def name_of(self, layer: Layer, key: str) -> str:
        """The name of a layer inside; ``key`` is the attribute that holds it."""
        return layer.name or key

    def bind(self, stream: Stream, path: str, backend: Any = None) -> None:
        """Give every variable whose value is not drawn yet its random stream and its path; afterwards both stay."""
        for name, variable in walk_variables(self, f"{path}/" if path else ""):
            if variable.stream is None or not variable.drawn:
                variable.stream, variable.name = stream, name
                variable.backend = backend or variable.backend

    def named_variables(self) -> dict[str, Variable]:
        """All parameters and buffers by their paths in this layer or model, which are unique."""
        names: dict[str, Variable] = {}
        seen: set[int] = set()
        for name, variable in walk_variables(self, f"{self.root_path}/" if self.root_path else ""):
            if id(variable) not in seen:
                names[name] = variable
                seen.add(id(variable))
        return names

    def substream(self, layer: Layer) -> int:
        """The number of the random sub-stream of a layer inside this one: it follows from the layer's path."""
        if id(layer) not in self.substreams:
            self.substreams = {id(la): substream(path) for path, la in walk_layers(self, self.root_path)}
        return self.substreams[id(layer)]

    # -- saving ------------------------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """The constructor's arguments as a dict that JSON can hold; ``Class(**config)`` is an equal layer."""
        return config_of(self) if type(self).get_config is Layer.get_config else self.get_config()

    def get_config(self) -> dict[str, Any]:
        """Keras's name of ``config()``. A layer of your own that has a ``get_config`` is saved with what that returns:

        ``return {**super().get_config(), "units": self.n}`` for an argument that is kept under another name.
        """
        if type(self).get_config is Layer.get_config:
            return self.config()
        names = constructor_arguments(type(self))
        return {name: plain(getattr(self, name)) for name in names if hasattr(self, name)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """A layer with these arguments: ``cls(**config)``."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.label}>"


# -- helpers ---------------------------------------------------------------------------------------------------------


def argument_names(function: Any) -> tuple[str, ...]:
    """Those of a function written in Python; for some 80 classes at import, where ``inspect`` would take its time."""
    code = getattr(function, "__code__", None)
    return () if code is None else code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def masks_of(x: Any) -> Any:
    """The mask of a tensor, or a list of those of several."""
    return [t.mask for t in x] if isinstance(x, (list, tuple)) else x.mask


def results_of(call: Symbol, shapes: Sequence[Shape]) -> list[Symbol]:
    """The results of a call that has several."""
    return [Symbol(shape, inputs=[call], index=i) for i, shape in enumerate(shapes)]


def snake_case(name: str) -> str:
    """Keras's layer names: Dense -> dense, MaxPooling2D -> max_pooling2d, BatchNormalization -> batch_normalization."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def walk(attributes: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The layers and variables among attributes, and inside lists, tuples and dicts of them, with a name for each."""
    for key, value in attributes.items():
        if isinstance(value, (Layer, Variable)):
            yield key, value
        elif isinstance(value, dict):
            yield from ((f"{key}_{k}", v) for k, v in walk({str(k): v for k, v in value.items()}))
        elif isinstance(value, (list, tuple)):
            yield from ((f"{key}_{k}", v) for k, v in walk({str(k): v for k, v in enumerate(value)}))


def walk_variables(layer: Layer, path: str) -> Iterator[tuple[str, Variable]]:
    """Every variable of a layer and of the layers inside it, with its path below the layer."""
    for key, value in walk(vars(layer)):
        if isinstance(value, Layer):
            yield from walk_variables(value, f"{path}{layer.name_of(value, key)}/")
        else:
            yield f"{path}{key}", value


def walk_layers(layer: Layer, path: str) -> Iterator[tuple[str, Layer]]:
    """A layer and every layer inside it, with their paths."""
    yield path, layer
    prefix = f"{path}/" if path else ""
    for key, value in walk(vars(layer)):
        if isinstance(value, Layer):
            yield from walk_layers(value, f"{prefix}{layer.name_of(value, key)}")


def frozen_ids(layer: Layer) -> frozenset[int]:
    """The ids of all layers and parameters that ``trainable`` freezes, here or in a layer around them."""

    def below(layer: Layer, frozen: bool) -> Iterator[int]:
        frozen = frozen or not layer.trainable
        if frozen:
            yield id(layer)
        for _, value in walk(vars(layer)):
            if isinstance(value, Layer):
                yield from below(value, frozen)
            elif isinstance(value, Parameter) and (frozen or not value.trainable):
                yield id(value)

    return frozenset(below(layer, False))


def open_fit(shape: Any, built_for: Any) -> bool:
    """Whether a shape fits one in which None stands for any size."""
    if isinstance(shape, list) or isinstance(built_for, list):
        return (
            isinstance(shape, list)
            and isinstance(built_for, list)
            and len(shape) == len(built_for)
            and all(open_fit(a, b) for a, b in zip(shape, built_for, strict=True))
        )
    return len(shape) == len(built_for) and all(b in (None, a) for a, b in zip(shape, built_for, strict=True))


class ProbeGraph(Graph):
    """A graph for finding shapes: parameters are zeros that take no memory, and nothing is drawn or updated."""

    def __init__(self) -> None:
        super().__init__(backend="reference", gradients=False)

    def parameter(self, variable: Variable) -> Tensor:
        return Tensor(np.broadcast_to(np.zeros((), self.dtype), variable.shape), self)


PROBES = 64, 128
"""Two sizes for an open axis, such as the rows of images: where they make a difference, the output is open too."""


def probed_shape(layer: Layer, input_shape: Any) -> Any:
    """The output shape of a layer, from a call on zeros; ValueError where the batch axis does not stay in front.

    Where sizes are open there are two calls, and the output's axes that differ are open.
    """
    found = probe(layer, input_shape, PROBES[0])
    if None not in flat(input_shape):
        return found
    again = probe(layer, input_shape, PROBES[1])
    return list(map(common, found, again)) if isinstance(found, list) else common(found, again)


def common(a: Shape, b: Shape) -> Shape:
    """The sizes that two shapes share, None for the others."""
    return tuple(m if m == n else None for m, n in zip(a, b, strict=True))  # type: ignore[misc]


def probe(layer: Layer, input_shape: Any, size: int) -> Any:
    """The output shape for inputs whose open axes have this size."""
    graph = ProbeGraph()
    graph.root = layer
    many = isinstance(input_shape, list)
    shapes = input_shape if many else [input_shape]
    zeros = [graph.tensor(np.zeros((1, *(n or size for n in shape))), dtype=layer.input_dtype) for shape in shapes]
    x: Any = zeros if many else zeros[0]
    output = layer.forward(x, **layer.asked(x))
    results = list(output) if isinstance(output, (list, tuple)) else [output]
    for y in results:
        if not isinstance(y, Tensor):
            raise TypeError(
                f"layer '{layer.label}': its function must return a Tensor, got {type(y).__name__}: "
                "compute with operators and tinynn.ops, not with NumPy functions"
            )
        if not y.shape or y.shape[0] != 1:
            raise ValueError(
                f"layer '{layer.label}': its function must keep the batch axis in front, but made {y.shape} of 1 row"
            )
    found = [tuple(y.shape[1:]) for y in results]
    return found if isinstance(output, (list, tuple)) else found[0]


def flat(shape: Any) -> list[Any]:
    """All sizes of a shape or of a list of shapes."""
    return [n for s in shape for n in s] if isinstance(shape, list) else list(shape)


def checked_shape(shape: Sequence[int] | int, layer: Layer) -> Shape:
    """A shape of positive integers, None allowed for an open axis."""
    sizes: tuple[Any, ...] = (shape,) if hasattr(shape, "__index__") else tuple(shape)
    for n in sizes:
        if n is not None and (isinstance(n, bool) or not hasattr(n, "__index__") or n <= 0):
            raise ValueError(f"layer '{layer.label}' expects an input_shape of positive integers, got {shape!r}")
    return tuple(n if n is None else int(n) for n in sizes)  # type: ignore[misc]


def checked_mask(mask: Any, x: Tensor, layer: Layer) -> Any:
    """A mask from the user's hand as an array of bools on the backend."""
    array = mask.data if isinstance(mask, Tensor) else mask
    array = x.graph.backend.asarray(array, np.bool_)
    if array.ndim == 0 or tuple(array.shape) != x.shape[: array.ndim]:
        raise ValueError(
            f"layer '{layer.label}' expects a mask of the leading axes of its input {x.shape}, such as {x.shape[:2]}, "
            f"got shape {tuple(array.shape)}"
        )
    return array


def shown(shape: Any) -> str:
    """A shape with its batch axis, as summaries print it."""
    if isinstance(shape, list):
        return str([(None, *s) for s in shape])
    return str((None, *shape))


def checked_axis(axis: int, input_shape: Shape, layer: Layer) -> int:
    """An axis as Keras counts it (0 is the batch, -1 the last) as a place in a shape without the batch."""
    rank = len(input_shape) + 1
    place = axis + rank if axis < 0 else axis
    if not 1 <= place < rank:
        raise ValueError(
            f"layer '{layer.label}' expects an axis from 1 to {rank - 1} (or -1 to {1 - rank}) for inputs of shape "
            f"{shown(input_shape)}, got axis={axis}"
        )
    if input_shape[place - 1] is None:
        raise ValueError(
            f"layer '{layer.label}' expects axis {axis} to be of known size, got inputs of shape {shown(input_shape)}"
        )
    return place - 1
