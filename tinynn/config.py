"""Constructor arguments: checking them, keeping them, and finding a class again by its name.

An object with arguments (a layer, an initializer, an optimizer, ...) keeps each under its own name; ``config()`` reads
them back as a dict that JSON can hold, and ``Class(**config)`` is an equal object.
"""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.errors import nearest, unknown


def constructor_parameters(cls: type) -> dict[str, inspect.Parameter]:
    """A constructor's arguments by name; ``**base`` stands for those of the classes above."""
    found: dict[str, inspect.Parameter] = {}
    first = True
    for ancestor in cls.__mro__:
        if "__init__" not in vars(ancestor):
            continue
        parameters = list(inspect.signature(ancestor.__init__).parameters.values())[1:]  # type: ignore[misc]
        for p in parameters:
            if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and p.name not in found:
                found[p.name] = p if first else p.replace(kind=p.KEYWORD_ONLY)
        first = False
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found


def constructor_arguments(cls: type) -> list[str]:
    """The names of a constructor's arguments, those in ``**base`` included."""
    return list(constructor_parameters(cls))


class WholeSignature:
    """A class's ``__signature__``: what ``help`` and notebooks show, with the arguments in ``**base`` written out."""

    def __get__(self, instance: Any, cls: type) -> inspect.Signature | None:
        if instance is not None:
            return None
        return inspect.Signature(list(constructor_parameters(cls).values()))


def plain(value: Any) -> Any:
    """A constructor argument as JSON: objects with a config become {"class": name, "config": {...}}."""
    if hasattr(value, "config") and callable(value.config):
        return {"class": type(value).__name__, "config": value.config()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return value


KERAS_1 = {
    "W_constraint": "kernel_constraint",
    "U_regularizer": "recurrent_regularizer",
    "W_regularizer": "kernel_regularizer",
    "b_constraint": "bias_constraint",
    "b_regularizer": "bias_regularizer",
    "bias": "use_bias",
    "border_mode": "padding",
    "dim_ordering": "data_format",
    "dropout_U": "recurrent_dropout",
    "dropout_W": "dropout",
    "init": "kernel_initializer",
    "inner_activation": "recurrent_activation",
    "inner_init": "recurrent_initializer",
    "input": "inputs",
    "nb_col": "kernel_size",
    "nb_filter": "filters",
    "nb_row": "kernel_size",
    "output": "outputs",
    "output_dim": "units",
    "p": "rate",
    "subsample": "strides",
}
"""What arguments were called in the first Keras, and are called since."""


def refuse_unknown_arguments(cls: type, arguments: dict[str, Any]) -> None:
    """TypeError for an argument that a class of ours does not have, in its own name instead of a base's."""
    if cls.__module__.startswith("tinynn."):
        known = constructor_arguments(cls)
        for name in arguments:
            if KERAS_1.get(name, name) in known and name not in known:
                raise TypeError(
                    f"{cls.__name__} has no argument '{name}': since Keras 2 it is called '{KERAS_1[name]}'"
                )
            if name not in known:
                raise TypeError(f"{cls.__name__} has no argument '{name}': {nearest(name, known)}")


class Configured:
    """Anything whose constructor arguments stand under their own names; they are what ``repr`` shows."""

    __signature__ = WholeSignature()

    if not TYPE_CHECKING:  # mypy reads the arguments from __init__

        def __new__(cls, *_, **arguments):
            if arguments:
                refuse_unknown_arguments(cls, arguments)
            return super().__new__(cls)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments as a dict that JSON can hold; ``Class(**config)`` is an equal object."""
        return config_of(self)

    def __repr__(self) -> str:
        return described(self)


def described(obj: Any, **instead: Any) -> str:
    """An object as the call that makes it, without the arguments that are None or just its default name.

    instead: values to show in the place of some attributes
    """
    values = {key: instead.get(key, getattr(obj, key, None)) for key in constructor_arguments(type(obj))}
    shown = {k: v for k, v in values.items() if v is not None and (k, v) != ("name", getattr(obj, "default_name", ""))}
    return f"{type(obj).__name__}({', '.join(f'{key}={value!r}' for key, value in shown.items())})"


def config_of(obj: Any) -> dict[str, Any]:
    """The constructor's arguments, read back from the object; AttributeError names the one that was not kept."""
    result: dict[str, Any] = {}
    for name in constructor_arguments(type(obj)):
        if not hasattr(obj, name):
            raise AttributeError(
                f"{type(obj).__name__} must keep its constructor argument '{name}' as self.{name} "
                "(or define config() itself)"
            )
        result[name] = plain(getattr(obj, name))
    return result


def restore(value: Any, table: dict[str, Any], what: str) -> Any:
    """The inverse of ``plain`` for one object: {"class": name, "config": {...}} -> table[name](**config)."""
    if isinstance(value, dict) and set(value) == {"class", "config"}:
        return find_class(value["class"], table, what)(**value["config"])
    return value


def positive_integer(value: Any, what: str, owner: str) -> int:
    """A constructor argument such as ``units``; ValueError says which layer wanted what."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{owner} expects {what} to be a positive integer, got {value!r}")
    if value <= 0:
        raise ValueError(f"{owner} expects {what} to be a positive integer, got {value!r}")
    return int(value)


def find_class(name: str, table: dict[str, Any], what: str) -> Any:
    """A class by name from a module's names and ``custom_objects``."""
    if name not in table:
        raise unknown(what, name, table)
    return table[name]


def above(value: Any, bound: float, what: str, owner: str) -> float:
    """A number greater than ``bound``."""
    if not isinstance(value, (int, float, np.number)) or isinstance(value, bool) or not value > bound:
        raise ValueError(f"{owner} expects {what} > {bound}, got {value!r}")
    return float(value)


def at_least(value: Any, bound: float, what: str, owner: str) -> float:
    """A finite number not less than ``bound``."""
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not number or not bound <= value < math.inf:
        raise ValueError(f"{owner} expects {what} >= {bound}, got {value!r}")
    return float(value)


def fraction(value: Any, what: str, owner: str) -> float:
    """A number in [0, 1), such as a momentum or a beta."""
    if not isinstance(value, (int, float, np.number)) or isinstance(value, bool) or not 0 <= value < 1:
        raise ValueError(f"{owner} expects 0 <= {what} < 1, got {value!r}")
    return float(value)
