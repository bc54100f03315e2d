"""AUC: the area under the ROC curve, or under precision over recall."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.config import positive_integer
from tinynn.errors import unknown
from tinynn.metrics.base import Counts, array_of, one_hot_rows, ratio, weights_like
from tinynn.typing import ArrayLike


class AUC(Counts):
    """The area under the ROC curve (or precision over recall), by thresholds that lie evenly between 0 and 1.

    num_thresholds:   how many points of the curve; the first lies below 0, the last above 1
    curve:            "ROC" or "PR"
    summation_method: "interpolation" (trapezoids; for "PR" the interpolation of Davis & Goadrich 2006), "minoring" or
                      "majoring" (the lower or the higher of two neighbours)
    """

    default_name = "auc"
    methods = ("interpolation", "minoring", "majoring")

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(name, dtype)
        if positive_integer(num_thresholds, "num_thresholds", "AUC") < 2:
            raise ValueError(f"AUC expects num_thresholds >= 2, got {num_thresholds}")
        if curve not in ("ROC", "PR"):
            raise unknown("curve", curve, ["ROC", "PR"])
        if summation_method not in self.methods:
            raise unknown("summation method", summation_method, self.methods)
        self.num_thresholds = num_thresholds
        self.curve = curve
        self.summation_method = summation_method

    def update_state(self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None) -> None:
        """A histogram of how many thresholds lie below each prediction, for positive and negative labels."""
        x = array_of(y_pred)
        t = (one_hot_rows(array_of(y_true), x, self.name) > 0.5).astype(np.float64)
        last = self.num_thresholds - 1
        below = 1 + np.clip(np.ceil(x.astype(np.float64) * last) - 1, 0, last - 1).astype(np.int64)
        w = t * 0 + (1.0 if sample_weight is None else weights_like(sample_weight, t, self.name))
        bins = [np.bincount(below.ravel(), (w * part).ravel(), self.num_thresholds + 1) for part in (t, 1 - t)]
        self.accumulate(np.stack(bins))

    def result(self) -> Any:
        if self.sums is None:
            return 0.0
        # Positive at threshold i are those with more than i thresholds below them.
        positive = np.cumsum(self.read()[:, ::-1], axis=1)[:, ::-1]
        (tp, fp), (p, n) = positive[:, 1:], positive[:, :1]
        recall = ratio(tp, np.broadcast_to(p, tp.shape))
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self.interpolated(tp, fp, float(p[0]))
        x, y = (recall, ratio(tp, tp + fp)) if self.curve == "PR" else (ratio(fp, np.broadcast_to(n, fp.shape)), recall)
        combine = {"minoring": np.minimum, "majoring": np.maximum}.get(self.summation_method)
        heights = (y[:-1] + y[1:]) / 2 if combine is None else combine(y[:-1], y[1:])
        return float(np.sum((x[:-1] - x[1:]) * heights))

    @staticmethod
    def interpolated(tp: np.ndarray, fp: np.ndarray, positives: float) -> float:
        """Between two points true positives grow linearly with all that are called positive (Davis & Goadrich 2006)."""
        called = tp + fp
        dtp, dcalled = tp[:-1] - tp[1:], called[:-1] - called[1:]
        slope = ratio(dtp, np.maximum(dcalled, 0))
        intercept = tp[1:] - slope * called[1:]
        both = (called[:-1] > 0) & (called[1:] > 0)
        growth = np.where(both, ratio(called[:-1], np.maximum(called[1:], 0)), 1.0)
        return float(np.sum(ratio(slope * (dtp + intercept * np.log(growth)), np.full(len(dtp), positives))))
