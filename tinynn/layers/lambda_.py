"""Lambda: any function of a tensor as a layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinynn.layers.base import Layer, checked_shape, probed_shape
from tinynn.tensor import Tensor
from tinynn.typing import Shape


class Lambda(Layer):
    """y = function(x), written with the operators and ``tinynn.ops``: ``Lambda(lambda x: x * 2 - 1)``.

    function:     of a tensor (or a list of tensors, if the layer is called with a list), returning a tensor
    output_shape: without the batch axis; found by one call on zeros where it is not given
    arguments:    keyword arguments for the function

    A function cannot be saved: ``config()`` says so. Write a Layer of your own for a model that shall be saved.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Sequence[int] | int | None = None,
        arguments: dict[str, Any] | None = None,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        if not callable(function):
            raise TypeError(f"Lambda '{self.label}' expects a function of a tensor, got {function!r}")
        self.function = function
        self.given_shape = None if output_shape is None else checked_shape(output_shape, self)
        self.arguments = dict(arguments or {})

    def build(self, input_shape: Any) -> Shape:
        return self.shape_for(input_shape)

    def shape_for(self, input_shape: Any) -> Shape:
        return probed_shape(self, input_shape) if self.given_shape is None else self.given_shape

    def forward(self, x: Any) -> Tensor:
        y = self.function(x, **self.arguments)
        if not isinstance(y, Tensor):
            raise TypeError(
                f"layer '{self.label}': its function must return a Tensor, got {type(y).__name__}: "
                "compute with operators and tinynn.ops, not with NumPy functions"
            )
        return y

    def config(self) -> dict[str, Any]:
        raise TypeError(
            f"Lambda '{self.label}' cannot be saved, because a Python function cannot be written to a file: write a "
            "subclass of tinynn.Layer with a forward(x), and load it with custom_objects"
        )
