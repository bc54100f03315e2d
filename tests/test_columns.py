"""The columns of the table are themselves checked: each refuses a Function that breaks its rule, and only then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests import test_table as table
from tests.cases import Case
from tinynn import backends
from tinynn.function import Function
from tinynn.graph import Graph


class Product(Function):
    """x y, right in every column."""

    def forward(self, graph: Graph, x: Any, y: Any) -> Any:
        self.saved = x, y
        return x * y

    def backward(self, graph: Graph, dz: Any) -> Any:
        x, y = self.saved
        return dz * y if self.needs(0) else None, dz * x if self.needs(1) else None


class TwiceTheGradient(Product):
    def backward(self, graph: Graph, dz: Any) -> Any:
        x, y = self.saved
        return dz * y if self.needs(0) else None, 2 * dz * x if self.needs(1) else None


class OverwritesInput(Product):
    def forward(self, graph: Graph, x: Any, y: Any) -> Any:
        self.saved = x.copy(), y
        x *= y
        return x.copy()


class OverwritesOutput(Product):
    def forward(self, graph: Graph, x: Any, y: Any) -> Any:
        self.z = super().forward(graph, x, y)
        return self.z

    def backward(self, graph: Graph, dz: Any) -> Any:
        self.z[...] = 0
        return super().backward(graph, dz)


class SharesGradient(Product):
    """Wrong numbers too, but that is not what this column asks."""

    def backward(self, graph: Graph, dz: Any) -> Any:
        return dz, dz


class ReadOnlyGradient(Product):
    def backward(self, graph: Graph, dz: Any) -> Any:
        return np.broadcast_to(dz.sum(), dz.shape), dz


class HandsOutItsInput(Product):
    def backward(self, graph: Graph, dz: Any) -> Any:
        return self.saved[1], dz


class Float64(Product):
    def backward(self, graph: Graph, dz: Any) -> Any:
        x, y = self.saved
        return (dz * y).astype("float64"), dz * x


class ForNobody(Product):
    def backward(self, graph: Graph, dz: Any) -> Any:
        x, y = self.saved
        return dz * y, dz * x


class NeedsTheHost(Product):
    def forward(self, graph: Graph, x: Any, y: Any) -> Any:
        return super().forward(graph, x, y) * (1.0 if float(abs(x).max()) < np.inf else 0.0)


class ReadsTheBuffer(Product):
    """Takes the memory for the array, as a kernel does that assumes C order."""

    def forward(self, graph: Graph, x: Any, y: Any) -> Any:
        return super().forward(graph, x, y) + 0 * x if x.flags.c_contiguous else x.T.reshape(x.shape) * y


class OtherOnCpu(Product):
    def forward(self, graph: Graph, x: Any, y: Any) -> Any:
        z = super().forward(graph, x, y)
        return z * z.dtype.type(1.001) if graph.backend.name == "cpu" else z


class CountsThreads(Product):
    def forward(self, graph: Graph, x: Any, y: Any) -> Any:
        from tinynn.backends.cpu import threads

        return super().forward(graph, x, y) * x.dtype.type(threads.get_num_threads())


def fortran(case: Case) -> None:
    table.test_inputs_need_not_be_contiguous(case, table.fortran)


def agreement(case: Case) -> None:
    table.test_backends_agree_with_the_reference(case, backends.get("cpu"), "float64")


COLUMNS: dict[Callable[[Case], None], list[type[Product]]] = {
    table.test_gradients_are_those_of_central_differences: [TwiceTheGradient],
    table.test_nothing_is_overwritten: [OverwritesInput, OverwritesOutput],
    table.test_gradients_share_no_memory: [SharesGradient, ReadOnlyGradient, HandsOutItsInput],
    table.test_float32_stays_float32: [Float64],
    table.test_a_gradient_that_nobody_needs_is_none: [ForNobody],
    table.test_the_reference_runs_on_device_arrays: [NeedsTheHost],
    table.test_any_number_of_threads_gives_the_same_bytes: [CountsThreads],
    fortran: [ReadsTheBuffer],
    agreement: [OtherOnCpu],
}


@pytest.mark.parametrize("column", COLUMNS, ids=lambda f: f.__name__)
def test_a_right_function_passes(column: Callable[[Case], None]) -> None:
    column(Case("product", Product, ((4, 3), (4, 3))))


@pytest.mark.parametrize(
    ("column", "kind"),
    [(column, kind) for column, kinds in COLUMNS.items() for kind in kinds],
    ids=lambda x: x.__name__,
)
def test_a_function_that_breaks_the_rule_is_refused(column: Callable[[Case], None], kind: type[Product]) -> None:
    with pytest.raises((AssertionError, TypeError)):
        column(Case(kind.__name__, kind, ((4, 3), (4, 3))))


def test_an_expected_gradient_is_compared() -> None:
    def expected(dz: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return dz * y, dz * x

    reference = backends.get("reference")
    table.test_gradients_are_those_of_the_other_formula(
        Case("right", Product, ((4, 3), (4, 3)), expected=expected), reference
    )
    with pytest.raises(AssertionError):
        table.test_gradients_are_those_of_the_other_formula(
            Case("wrong", TwiceTheGradient, ((4, 3), (4, 3)), expected=expected), reference
        )


def test_a_layout_really_is_what_it_says() -> None:
    x = np.arange(12.0).reshape(3, 4)
    for layout in (table.fortran, table.strided, table.backwards):
        changed = layout(x)
        assert (changed == x).all()
        assert not changed.flags.c_contiguous
