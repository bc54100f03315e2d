"""Layer normalization: one row, few and many features, several axes, with and without gamma and beta."""

from tests.cases import Case
from tinynn.layers.layernorm import LayerNorm


def layernorm(name: str, x: tuple[int, ...], epsilon: float = 1e-3, axes: int = 1, **kwargs: bool) -> Case:
    learned = [x[-axes:]] * sum(kwargs.get(k, True) for k in ("scale", "center"))
    return Case(f"layernorm_{name}", lambda: LayerNorm(epsilon, axes=axes, **kwargs), (x, *learned), rtol32=2e-5)


CASES = [
    layernorm("", (8, 6)),
    layernorm("one_row", (1, 7)),
    layernorm("two_features", (5, 2), epsilon=0.5),
    layernorm("sequence", (2, 5, 9)),
    layernorm("two_axes", (3, 4, 5), axes=2),
    layernorm("no_scale", (9, 5), scale=False),
    layernorm("no_center", (9, 5), center=False),
    layernorm("plain", (9, 5), scale=False, center=False),
    layernorm("wide", (3, 1030)),
    layernorm("many_rows", (70, 13)),
]
