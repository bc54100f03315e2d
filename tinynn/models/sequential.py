"""Sequential: a stack of layers, each fed by the one before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tinynn.backends import Backend
from tinynn.layers.base import Layer, Symbol
from tinynn.models import fusion
from tinynn.models.functional import Visit
from tinynn.models.model import Model
from tinynn.tensor import Tensor
from tinynn.typing import Shape


class Sequential(Model):
    """A linear stack of layers.

    >>> from tinynn import Sequential, layers as L
    >>> model = Sequential([L.Dense(512, activation="relu", input_shape=(784,)), L.Dense(10, activation="softmax")])
    >>> model.count_params()
    407050

    layers:  a list of layers; an ``Input(shape)`` may come first; without a shape the first call builds the model
    backend: "cpu", "reference", "gpu", or None for the default
    """

    def __init__(
        self,
        layers: Iterable[Layer | Symbol] | None = None,
        name: str | None = None,
        backend: str | Backend | None = None,
    ):
        super().__init__(name=name, backend=backend)
        self.stack: list[Layer] = []
        for layer in layers or []:
            self.add(layer)

    @property
    def layers(self) -> list[Layer]:
        return list(self.stack)

    def add(self, layer: Layer | Symbol) -> None:
        """Put a layer on top; built at once where the shape is known. Refused layers leave the model as it was."""
        if isinstance(layer, Symbol) and layer.layer is None:
            if self.stack or self.input_shape is not None:
                raise ValueError(f"'{self.label}': an Input comes first, and only once")
            self.input_shape, self.input_dtype = layer.shape, layer.dtype
            return
        if not isinstance(layer, Layer):
            raise TypeError(
                f"'{self.label}' expects layers, got {layer!r}"
                + (": write Dense(...)" if isinstance(layer, type) else "")
            )
        if any(layer is other for other in self.stack):
            raise ValueError(
                f"'{self.label}' holds layer '{layer.label}' already: make a second layer, or share one with the "
                "functional Model"
            )
        name = self.free_name(layer, self.stack)
        start = self.input_shape
        if not self.stack and start is None:
            start = layer.input_shape if layer.built_for is None else layer.built_for
        shape = self.stack[-1].output_shape if self.stack else start
        if shape is not None:
            layer.ensure_built(self.one(shape, self.stack[-1] if self.stack else layer))
        self.input_shape = start
        self.take_name(layer, name)
        self.stack.append(layer)
        self.reshaped()

    def one(self, shape: Any, layer: Layer) -> Any:
        """The shape of a layer's only result; ValueError where it has several."""
        if isinstance(shape, list):
            raise ValueError(
                f"'{self.label}' is a stack of layers of one result each, but layer '{layer.label}' gives {len(shape)} "
                "(return_state=True, or merge_mode=None): take them apart in the functional Model"
            )
        return shape

    def pop(self) -> Layer:
        """Take the top layer off and return it."""
        if not self.stack:
            raise IndexError(f"'{self.label}' has no layers to pop")
        layer = self.stack.pop()
        self.names.pop(id(layer), None)
        self.reshaped()
        return layer

    def reshaped(self) -> None:
        """Note the shapes and paths after a change of the stack; compile has to be called again."""
        self.compiled = self._plan = None
        if self.stack and self.stack[-1].built:
            self.built_for = self.stack[0].built_for
            self.output_shape, self.built = self.stack[-1].output_shape, True
        else:
            self.built = False
        self.name_variables()

    def build(self, input_shape: Sequence[int | None]) -> Shape:
        """Declare all parameters; ``build((None, 784))``, as Keras writes it, and ``build((784,))`` are the same."""
        if not self.stack:
            raise RuntimeError(f"'{self.label}' has no layers: model.add(...) some first")
        shape: Any = given_shape(input_shape)
        below = self.stack[0]
        for layer in self.stack:
            shape, below = layer.ensure_built(self.one(shape, below)), layer
        compiled = self.compiled
        self.reshaped()
        self.compiled = compiled
        return self.output_shape  # type: ignore[no-any-return]

    def shape_for(self, input_shape: Any) -> Any:
        for layer in self.stack:
            input_shape = layer.ensure_built(input_shape)
        return input_shape

    def run(self, x: Tensor, visit: Visit = None) -> Tensor:
        if visit is None and x.graph.fuse:
            for call in self.fusion_plan.steps:
                x = call(x)
            return x
        for layer in self.stack:
            x = layer(x)
            if visit is not None:
                visit(layer, x)
        return x

    def _planned(self) -> fusion.Plan:
        return fusion.of_stack(self.stack)

    def config(self) -> dict[str, Any]:
        return {
            "layers": [{"class": type(layer).__name__, "config": layer.config()} for layer in self.stack],
            "name": self.name,
            "input_shape": self.input_shape,
        }


def given_shape(shape: Sequence[int | None]) -> Shape:
    """Keras's ``build((None, 784))`` names the batch axis; ours do not."""
    sizes = tuple(shape)
    return sizes[1:] if sizes and sizes[0] is None else sizes  # type: ignore[return-value]
