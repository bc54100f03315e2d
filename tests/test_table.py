"""THE table: every Function of ``tests/cases`` in every column."""

from __future__ import annotations

import importlib
import pkgutil
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import tinynn
from tests.cases import Case, all_cases
from tests.cuda.standin import gpu_backend
from tests.device import DeviceArray, device_backend
from tinynn import backends
from tinynn.backends import Backend
from tinynn.function import Function
from tinynn.graph import Graph
from tinynn.models import gradcheck

CASES = all_cases()
REFERENCE = backends.get("reference")
CPU = backends.get("cpu")
DEVICE = device_backend()


GPU = gpu_backend()
"""On a card, or over the stand-in with emulated kernels; None where there is neither a card nor a C++ compiler."""
OTHERS = [CPU] if GPU is None else [CPU, GPU]
ALL = [REFERENCE, *OTHERS]


def host(array: Any) -> Any:
    """The stand-in's memory; any other array as it is."""
    return array._host if isinstance(array, DeviceArray) else array


every_case = pytest.mark.parametrize("case", CASES, ids=repr)


class Result:
    """One forward and backward pass of a case; arrays are on the host."""

    def __init__(
        self,
        case: Case,
        backend: Backend,
        dtype: str,
        arrays: Sequence[np.ndarray] | None = None,
        needs: Sequence[bool] | None = None,
        change: Callable[[np.ndarray], np.ndarray] | None = None,
    ):
        self.arrays = case.draw(dtype) if arrays is None else list(arrays)
        wanted = case.wanted() if needs is None else needs
        graph = Graph(backend=backend, dtype=dtype, training=case.training)
        self.tensors = [
            graph.tensor(x, requires_grad=want, dtype=dtype if x.dtype.kind == "f" else str(x.dtype))
            for x, want in zip(self.arrays, wanted, strict=True)
        ]
        self.function = case.function(backend)
        self.output = graph.apply(self.function, *self.tensors)
        self.y = backend.to_numpy(self.output.data).copy()
        dy = backend.asarray(upstream(case, self.y.shape, dtype), dtype)
        self.returned = self.function.backward(graph, dy if change is None else change(dy))
        if not isinstance(self.returned, (tuple, list)):
            self.returned = (self.returned,)
        assert len(self.returned) == len(self.arrays), "backward returns one gradient per input"
        self.gradients = [
            backend.to_numpy(g).copy() if g is not None and want else None
            for g, want in zip(self.returned, wanted, strict=True)
        ]
        graph.reset()


def upstream(case: Case, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """dL/dy: the same float32 numbers in every dtype."""
    rng = np.random.default_rng(zlib.crc32(case.name.encode()) + 1)
    return np.asarray(rng.standard_normal(shape)).astype(np.float32).astype(dtype)


def agree(got: Result, want: Result, tolerance: float) -> None:
    """Output and gradients within a fraction of the largest value of each array."""
    everything = [want.y, *(g for g in want.gradients if g is not None)]
    floor = 1e-2 * max((largest(a) for a in everything), default=0.0)
    pairs = [("output", got.y, want.y)]
    pairs += [(f"gradient {i}", *two) for i, two in enumerate(zip(got.gradients, want.gradients, strict=True))]
    for what, a, b in pairs:
        assert (a is None) == (b is None), f"{what}: one is missing"
        if a is None:
            continue
        assert a.shape == b.shape, what
        assert (np.isnan(a) == np.isnan(b)).all(), f"{what}: NaN elsewhere"
        error = largest(a.astype(np.float64) - b)
        assert error <= tolerance * max(largest(b), floor), f"{what}: {error:.2e} off, largest {largest(b):.2e}"


def largest(array: np.ndarray) -> float:
    finite = np.abs(np.asarray(array, np.float64)[np.isfinite(array)])
    return float(finite.max(initial=0.0))


def same_bytes(got: Result, want: Result) -> bool:
    pairs = zip([got.y, *got.gradients], [want.y, *want.gradients], strict=True)
    return all(a is b is None or (a is not None and b is not None and a.tobytes() == b.tobytes()) for a, b in pairs)


# -- the columns -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [c for c in CASES if not c.ties and any(c.wanted())], ids=repr)
def test_gradients_are_those_of_central_differences(case: Case) -> None:
    arrays, wanted = case.draw(), case.wanted()

    def apply(*leaves: Any) -> Any:
        graph, rest = leaves[0].graph, iter(leaves)
        inputs = [
            next(rest) if want else graph.tensor(x, dtype=str(x.dtype)) for x, want in zip(arrays, wanted, strict=True)
        ]
        return case.function(REFERENCE)(*inputs)

    free = [x for x, want in zip(arrays, wanted, strict=True) if want]
    rows = gradcheck.check(apply, *free, training=case.training, backend=REFERENCE, verbose=0)
    assert max(row.error for row in rows) < 1e-7
    for row in rows:
        compared = row.elements + row.directions
        assert row.skipped <= 0.1 * compared, f"{row.name}: {row.skipped} on kinks, only {compared} compared"


@pytest.mark.parametrize("case", [c for c in CASES if c.expected is not None], ids=repr)
@pytest.mark.parametrize("backend", [REFERENCE, *OTHERS], ids=lambda b: b.name)
def test_gradients_are_those_of_the_other_formula(case: Case, backend: Backend) -> None:
    assert case.expected is not None
    result = Result(case, backend, "float64")
    expected = case.expected(upstream(case, result.y.shape, "float64"), *case.draw())
    for got, want in zip(result.gradients, expected, strict=True):
        assert (got is None) == (want is None)
        if got is not None:
            np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10 * largest(np.asarray(want)))


@every_case
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", OTHERS, ids=lambda b: b.name)
def test_backends_agree_with_the_reference(case: Case, backend: Backend, dtype: str) -> None:
    agree(Result(case, backend, dtype), Result(case, REFERENCE, "float64"), case.tolerance(dtype))


@every_case
def test_the_reference_is_right_in_float32(case: Case) -> None:
    agree(Result(case, REFERENCE, "float32"), Result(case, REFERENCE, "float64"), case.tolerance("float32"))


def fortran(x: np.ndarray) -> np.ndarray:
    return np.asfortranarray(x) if x.ndim else x  # NumPy gives numbers an axis here


def strided(x: np.ndarray) -> np.ndarray:
    """Every second element of a larger array, with NaN between."""
    if not x.ndim:
        return x
    wide = np.full((*x.shape[:-1], 2 * x.shape[-1]), np.nan if x.dtype.kind == "f" else 0, x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


def backwards(x: np.ndarray) -> np.ndarray:
    """A negative stride on every axis."""
    flip = (slice(None, None, -1),) * x.ndim
    return x[flip].copy()[flip]


def on_device(backend: Backend, layout: Callable[[np.ndarray], np.ndarray]) -> Callable[[Any], Any]:
    """The layout for arrays of a backend."""
    if backend.array_type is DeviceArray:
        return lambda x: DeviceArray(np.asarray(layout(x._host)))
    return layout if backend.array_type is np.ndarray else lambda x: x


@every_case
@pytest.mark.parametrize("layout", [fortran, strided, backwards], ids=lambda f: f.__name__)
def test_inputs_need_not_be_contiguous(case: Case, layout: Callable[[np.ndarray], np.ndarray]) -> None:
    for backend in ALL:
        arrays = [layout(x) for x in case.draw("float32")]
        got = Result(case, backend, "float32", arrays, change=on_device(backend, layout))
        agree(got, Result(case, backend, "float32"), case.tolerance("float32"))


@every_case
def test_nothing_is_overwritten(case: Case) -> None:
    for backend in ALL:
        result = Result(case, backend, "float32")
        for x, original in zip(result.arrays, case.draw("float32"), strict=True):
            assert x.tobytes() == original.tobytes(), "an input was overwritten"
        assert backend.to_numpy(result.output.data).tobytes() == result.y.tobytes(), "backward overwrote the output"


@every_case
def test_gradients_share_no_memory(case: Case) -> None:
    for backend in (REFERENCE, CPU, *([GPU] if GPU and GPU.array_type is DeviceArray else [])):
        result = Result(case, backend, "float32")
        held = [host(result.output.data), *(host(t.data) for t in result.tensors)]
        for g in map(host, result.returned):
            if g is None or isinstance(g, np.generic):  # NumPy's products of 0-d arrays are scalars
                continue
            assert isinstance(g, np.ndarray)
            assert g.flags.writeable, "a gradient must be writable: its receiver may add to it"
            assert not any(n > 1 and s == 0 for n, s in zip(g.shape, g.strides, strict=True)), "broadcast gradient"
            assert not any(np.shares_memory(g, other) for other in held), "a gradient shares memory"
            held.append(g)


@every_case
def test_any_number_of_threads_gives_the_same_bytes(case: Case) -> None:
    from tinynn.backends.cpu import threads

    before = threads.get_num_threads()
    try:
        results = []
        for n in (1, 2, 3):
            threads.set_num_threads(n)
            results.append(Result(case, CPU, "float32"))
    finally:
        threads.set_num_threads(before)
    assert same_bytes(results[1], results[0])
    assert same_bytes(results[2], results[0])


@every_case
def test_the_reference_runs_on_device_arrays(case: Case) -> None:
    got = Result(case, DEVICE, "float32")
    assert isinstance(got.output.data, DeviceArray)
    assert all(g is None or isinstance(g, DeviceArray) for g in got.returned)
    agree(got, Result(case, REFERENCE, "float32"), 1e-6)


@every_case
def test_float32_stays_float32(case: Case) -> None:
    for backend in ALL:
        result = Result(case, backend, "float32")
        assert result.output.dtype == np.float32
        assert all(g is None or g.dtype == np.float32 for g in result.returned)


@pytest.mark.parametrize("case", [c for c in CASES if sum(c.wanted()) > 1], ids=repr)
def test_a_gradient_that_nobody_needs_is_none(case: Case) -> None:
    for backend in ALL:
        full = Result(case, backend, "float64")
        for i, wanted in enumerate(case.wanted()):
            if not wanted:
                continue
            needs = [want and j != i for j, want in enumerate(case.wanted())]
            part = Result(case, backend, "float64", needs=needs)
            assert part.returned[i] is None, f"the gradient of input {i} was computed for nobody"
            full_rest = [g if j != i else None for j, g in enumerate(full.gradients)]
            for got, want in zip(part.gradients, full_rest, strict=True):
                assert (got is None) == (want is None)
                if got is not None:
                    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12 * largest(want))


# -- the table itself ------------------------------------------------------------------------------------------------


def test_every_function_has_a_row() -> None:
    """Every Function class of the package is made by some case; a base class by a case of its heirs."""
    for module in pkgutil.walk_packages(tinynn.__path__, "tinynn."):
        if module.name.split(".")[1] in ("ops", "layers", "losses"):
            importlib.import_module(module.name)
    functions_made = [case.function(REFERENCE) for case in CASES]
    made = {type(getattr(function, "inside", function)) for function in functions_made}
    ours = [kind for kind in functions(Function) if kind.__module__.startswith("tinynn.")]
    missing = sorted({f"{k.__module__}.{k.__name__}" for k in ours if not any(issubclass(m, k) for m in made)})
    assert not missing, f"no row in tests/cases for {missing}"


def functions(base: type) -> list[type]:
    """All subclasses that have a forward of their own."""
    below = [kind for child in base.__subclasses__() for kind in (child, *functions(child))]
    return [kind for kind in below if kind.forward is not Function.forward]
