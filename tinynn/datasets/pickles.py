"""Pickled dicts, lists and byte arrays, read without running anything.

A pickle is a program: Python's own unpickler imports and calls whatever it names. This is an interpreter of its own,
which carries out the instructions one by one on a stack and refuses all that would do more than put numbers, texts,
bytes, lists, tuples and dicts together. The four names that a pickled NumPy array needs stand for steps in here; NumPy
sees nothing of the file before type and size have been compared.

Source: Python's ``pickletools`` documents every instruction.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ADMITTED = {
    "numpy.core.multiarray _reconstruct": "array",
    "numpy._core.multiarray _reconstruct": "array",
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",
}
"""The names a file may mention, and what they stand for here."""


class Foreign(ValueError):
    """A pickle asks for something that images and labels do not need."""


class Name:
    """One of the admitted names, standing on the stack."""

    def __init__(self, step: str):
        self.step = step


class Kind:
    """A pickled dtype; bytes have no order, so its state says nothing more."""

    def __init__(self, code: str):
        self.code = code


class Box:
    """A pickled array, empty until its state arrives."""

    values: np.ndarray | None = None


class Machine:
    """A stack, the places of marks on it, and the memo: values that the program refers to again."""

    def __init__(self, size: int):
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.budget = size
        """How many bytes `encode` may still make: as many as the file has, so that a memo cannot multiply them."""

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self, kind: type | tuple[type, ...] = object) -> Any:
        """The top of the stack, of the kind that the instruction works on."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("an instruction finds nothing to work on")
        value = self.stack.pop()
        if not isinstance(value, kind):
            raise ValueError(f"an instruction finds {type(value).__name__} to work on")
        return value

    def since_mark(self) -> list[Any]:
        """Everything above the last mark, taken off with it."""
        if not self.marks:
            raise ValueError("an instruction finds no mark")
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def top(self, kind: type) -> Any:
        value = self.pop(kind)
        self.push(value)
        return value

    def put(self, index: int) -> None:
        self.memo[index] = self.top(object)

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise ValueError(f"the memo has no value {index}")
        self.push(self.memo[index])

    def extend(self, values: list[Any]) -> None:
        self.top(list).extend(values)

    def set_items(self, flat: list[Any]) -> None:
        """Keys are texts, bytes or numbers: hashing anything deeper could take for ever."""
        target = self.top(dict)
        if len(flat) % 2 or not all(isinstance(key, (str, bytes, int)) for key in flat[::2]):
            raise ValueError("a dict has keys that are not texts, bytes or integers")
        target.update(zip(flat[::2], flat[1::2], strict=True))

    def new_dict(self) -> None:
        flat = self.since_mark()
        self.push({})
        self.set_items(flat)

    def name(self, text: str) -> None:
        if text not in ADMITTED:
            raise Foreign(f"names {text.replace(' ', '.', 1)[:100]!r}")
        self.push(Name(ADMITTED[text]))

    def stack_name(self) -> None:
        name, module = self.pop(str), self.pop(str)
        self.name(f"{module} {name}")

    def reduce(self) -> None:
        """What would be a call: a name and its arguments."""
        arguments, step = self.pop(tuple), self.pop(Name).step
        match step, arguments:
            case "array", (Name(step="ndarray"), _, _):
                self.push(Box())
            case "dtype", (str() | bytes() as code, *_):
                self.push(Kind(code if isinstance(code, str) else code.decode("latin-1")))
            case "encode", (str() as text, "latin1" | "latin-1"):
                self.budget -= len(text)
                if self.budget < 0:
                    raise ValueError("the same text is made into bytes again and again")
                self.push(text.encode("latin-1"))
            case _:
                raise Foreign(f"calls {step} with other arguments than a pickled array has")

    def build(self) -> None:
        """The state of a dtype, which is passed over, or of an array: version, shape, dtype, Fortran order, bytes."""
        state, target = self.pop(tuple), self.pop((Box, Kind))
        match target, state:
            case Kind(), _:
                pass
            case Box(), (int(), tuple() as shape, Kind() as kind, bool() | int() as fortran, bytes() as values):
                target.values = array(shape, kind, bool(fortran), values)
            case _:
                raise ValueError("an array has a state that arrays do not have")
        self.push(target)

    def result(self) -> Any:
        """What the program leaves behind, with arrays taken out of their boxes one level down in a dict."""
        if len(self.stack) != 1 or self.marks:
            raise ValueError(f"the program leaves {len(self.stack)} values behind; expected one")
        value = self.stack[0]
        if isinstance(value, dict):
            return {k: v.values if isinstance(v, Box) else v for k, v in value.items()}
        return value.values if isinstance(value, Box) else value


def array(shape: tuple[Any, ...], kind: Kind, fortran: bool, values: bytes) -> np.ndarray:
    """The uint8 array of a pickled state, once its type and its size have proved right."""
    if kind.code not in ("u1", "|u1"):
        raise Foreign(f"holds an array of dtype {kind.code[:100]!r}")
    if len(shape) > 32 or not all(type(n) is int and 0 <= n <= len(values) for n in shape):
        raise ValueError(f"an array of {len(values)} bytes has another shape")
    if math.prod(shape) != len(values):
        raise ValueError(f"an array of shape {shape} has {len(values)} bytes")
    return np.frombuffer(values, np.uint8).reshape(shape, order="F" if fortran else "C")


def nothing(machine: Machine, argument: Any) -> None:
    """Protocol and frame headers, and the end."""


def push(machine: Machine, argument: Any) -> None:
    machine.push(argument)


STEPS: dict[str, Callable[[Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), nothing),
    **dict.fromkeys(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"), push),
    **dict.fromkeys(("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"), push),
    **dict.fromkeys(("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"), push),
    **dict.fromkeys(("STRING", "SHORT_BINSTRING", "BINSTRING"), lambda m, text: m.push(text.encode("latin-1"))),
    "NONE": push,
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "MARK": lambda m, _: m.marks.append(len(m.stack)),
    "TUPLE1": lambda m, _: m.push((m.pop(),)),
    "TUPLE2": lambda m, _: m.push((m.pop(), m.pop())[::-1]),
    "TUPLE3": lambda m, _: m.push((m.pop(), m.pop(), m.pop())[::-1]),
    "TUPLE": lambda m, _: m.push(tuple(m.since_mark())),
    "LIST": lambda m, _: m.push(m.since_mark()),
    "DICT": lambda m, _: m.new_dict(),
    "APPEND": lambda m, _: m.extend([m.pop()]),
    "APPENDS": lambda m, _: m.extend(m.since_mark()),
    "SETITEM": lambda m, _: m.set_items([m.pop(), m.pop()][::-1]),
    "SETITEMS": lambda m, _: m.set_items(m.since_mark()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), Machine.get),
    "MEMOIZE": lambda m, _: m.put(len(m.memo)),
    "GLOBAL": Machine.name,
    "STACK_GLOBAL": lambda m, _: m.stack_name(),
    "REDUCE": lambda m, _: m.reduce(),
    "BUILD": lambda m, _: m.build(),
}
"""Every instruction that is admitted; Python 2's texts are bytes, as with ``encoding="bytes"``."""


def loads(content: bytes | bytearray, path: Path | str) -> Any:
    """The dict, list, tuple, bytes, str, int or array that a pickle describes; arrays also as the values of a dict.

    Raises ValueError, naming the file, where it is damaged, cut short, or asks for anything else (that is named too).
    """
    machine = Machine(len(content))
    try:
        for opcode, argument, _ in pickletools.genops(bytes(content)):
            if opcode.name not in STEPS:
                raise Foreign(f"has the instruction {opcode.name}")
            STEPS[opcode.name](machine, argument)
        return machine.result()
    except Foreign as error:
        raise ValueError(
            f"{path} {error}, which images do not need; expected dicts, lists, texts, bytes, integers and arrays of "
            "uint8. Nothing of it was run: do not open this file with pickle, and fetch another copy"
        ) from None
    except ValueError as error:
        raise ValueError(f"{path} is a truncated or damaged pickle ({error}); fetch it again") from error
