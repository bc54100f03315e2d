"""Metrics of numbers: the losses of that name, averaged over all rows, and the root of one."""

from __future__ import annotations

import math
from typing import Any

from tinynn import losses
from tinynn.metrics.base import LossMetric


class MeanSquaredError(LossMetric):
    """mean (y_pred - y_true)^2"""

    def __init__(self, name: str | None = None, dtype: Any = None):
        super().__init__(losses.MeanSquaredError(), name, dtype)


class MeanAbsoluteError(LossMetric):
    """mean |y_pred - y_true|"""

    def __init__(self, name: str | None = None, dtype: Any = None):
        super().__init__(losses.MeanAbsoluteError(), name, dtype)


class RootMeanSquaredError(LossMetric):
    """sqrt(mean (y_pred - y_true)^2) over all rows"""

    def __init__(self, name: str | None = None, dtype: Any = None):
        super().__init__(losses.MeanSquaredError(), name or "root_mean_squared_error", dtype)

    def result(self) -> Any:
        return math.sqrt(super().result())
