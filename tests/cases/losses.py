"""Losses: targets are constants of the Function, so the one input is what the model predicts."""

from __future__ import annotations

import numpy as np

from tests.cases import Case, Draw, normal, positive, probabilities, uniform
from tinynn.losses.entropies import (
    BinaryOfProbabilities,
    CategoricalOfProbabilities,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    SparseSoftmaxCrossEntropy,
)
from tinynn.losses.means import WeightedMean
from tinynn.losses.probabilistic import Divergence, HingeValue, MulticlassHinge, PoissonValue, SquaredHingeValue
from tinynn.losses.regression import (
    AbsoluteError,
    Cosine,
    HuberError,
    LogCoshError,
    PercentageError,
    SquaredError,
    SquaredLogarithmicError,
)

SHAPE = (7, 3)
RNG = np.random.default_rng(5)
NUMBERS = RNG.standard_normal(SHAPE)
IMAGES = RNG.standard_normal((3, 2, 5))
UNIT = RNG.uniform(0, 1, SHAPE)
ROWS = RNG.dirichlet(np.ones(3), 7)
ONE_HOT = np.eye(3)[RNG.integers(0, 3, 7)]
SIGNS = np.where(RNG.random(SHAPE) < 0.5, -1.0, 1.0)
LABELS = RNG.integers(0, 3, 7)
SOME_IGNORED = np.array([0, -1, 2, 1, -1, 0, 2])
WEIGHTS = RNG.uniform(0, 2, 7)


def around(target: np.ndarray, *kinks: float) -> Draw:
    """Predictions whose errors keep 0.05 away from the kinks of the loss."""
    return lambda rng: target + normal(target.shape, away_from=kinks)(rng)


def margins(rng: np.random.Generator) -> np.ndarray:
    """Predictions whose margin target * prediction keeps 0.05 away from 1."""
    return SIGNS * normal(SHAPE, away_from=(1.0,))(rng)


def separated(rng: np.random.Generator) -> np.ndarray:
    """Predictions with one clearly largest wrong output, and a margin that keeps away from the kink."""
    return 0.3 * rng.permuted(np.tile([-2.0, 1.0, 3.0], (7, 1)), axis=1) + rng.uniform(-0.05, 0.05, SHAPE)


def expected_tie(dy: np.ndarray, x: np.ndarray) -> tuple[np.ndarray]:
    """Label 0, outputs 1 and 2 equal: the first of them takes the gradient."""
    return (dy[:, None] * np.array([[-1.0, 1.0, 0.0]]),)


CASES = [
    Case("weighted_mean", lambda: WeightedMean(), ((7,),)),
    Case("weighted_mean_weights", lambda: WeightedMean(WEIGHTS), ((7,),)),
    Case("weighted_mean_divisor", lambda: WeightedMean(WEIGHTS, 3), ((7, 4),)),
    Case("squared_error", lambda: SquaredError(NUMBERS), (SHAPE,)),
    Case("squared_error_1d", lambda: SquaredError(NUMBERS[:, 0]), ((7,),)),
    Case("squared_error_one_row", lambda: SquaredError(NUMBERS[:1]), ((1, 3),)),
    Case("squared_error_images", lambda: SquaredError(IMAGES), (IMAGES.shape,)),
    Case("squared_error_keep_2", lambda: SquaredError(IMAGES, keep=2), (IMAGES.shape,)),
    Case("squared_error_whole", lambda: SquaredError(NUMBERS, keep=0), (SHAPE,)),
    Case("absolute_error", lambda: AbsoluteError(NUMBERS), (around(NUMBERS, 0.0),)),
    Case("percentage_error", lambda: PercentageError(UNIT + 0.5), (around(UNIT + 0.5, 0.0),)),
    Case("squared_logarithmic_error", lambda: SquaredLogarithmicError(UNIT), (positive(SHAPE),)),
    Case("log_cosh", lambda: LogCoshError(NUMBERS), (around(NUMBERS),)),
    Case("log_cosh_large", lambda: LogCoshError(NUMBERS), (normal(SHAPE, scale=30.0),)),
    Case("huber", lambda: HuberError(NUMBERS), (around(NUMBERS, -1.0, 1.0),)),
    Case("huber_delta", lambda: HuberError(NUMBERS, delta=0.3), (around(NUMBERS, -0.3, 0.3),)),
    Case("cosine", lambda: Cosine(NUMBERS), (SHAPE,)),
    Case("cosine_axis_1", lambda: Cosine(IMAGES, axis=1), (IMAGES.shape,)),
    Case("hinge", lambda: HingeValue(SIGNS), (margins,)),
    Case("squared_hinge", lambda: SquaredHingeValue(SIGNS), (margins,)),
    Case("multiclass_hinge", lambda: MulticlassHinge(ONE_HOT), (separated,)),
    Case(
        "multiclass_hinge_tie",
        lambda: MulticlassHinge(np.array([[1.0, 0.0, 0.0]])),
        (lambda rng: np.array([[0.5, 2.0, 2.0]]),),
        ties=True,
        expected=expected_tie,
    ),
    Case("poisson", lambda: PoissonValue(UNIT), (positive(SHAPE),)),
    Case("divergence", lambda: Divergence(ROWS), (uniform(SHAPE, 0.05, 0.95),)),
    Case("divergence_clipped", lambda: Divergence(ROWS), (uniform(SHAPE, 1.05, 2.0),)),
    Case("softmax_cross_entropy", lambda: SoftmaxCrossEntropy(ROWS), (SHAPE,)),
    Case("softmax_cross_entropy_unnormalised", lambda: SoftmaxCrossEntropy(UNIT), (SHAPE,)),
    Case("softmax_cross_entropy_one_row", lambda: SoftmaxCrossEntropy(ROWS[:1]), ((1, 3),)),
    Case("softmax_cross_entropy_sequence", lambda: SoftmaxCrossEntropy(IMAGES), (IMAGES.shape,)),
    Case("sparse_cross_entropy", lambda: SparseSoftmaxCrossEntropy(LABELS), (SHAPE,)),
    Case("sparse_cross_entropy_ignored", lambda: SparseSoftmaxCrossEntropy(SOME_IGNORED), (SHAPE,)),
    Case("sparse_cross_entropy_large", lambda: SparseSoftmaxCrossEntropy(LABELS), (normal(SHAPE, scale=20.0),)),
    Case(
        "sparse_cross_entropy_sequence",
        lambda: SparseSoftmaxCrossEntropy(np.array([[0, 4], [-1, 2], [3, 3]])),
        (IMAGES.shape,),
    ),
    Case("sparse_cross_entropy_wide", lambda: SparseSoftmaxCrossEntropy(np.array([0, 2099, 17])), ((3, 2100),)),
    Case("sigmoid_cross_entropy", lambda: SigmoidCrossEntropy(UNIT), (SHAPE,)),
    Case("sigmoid_cross_entropy_1d", lambda: SigmoidCrossEntropy(UNIT[:, 0]), ((7,),)),
    Case("sigmoid_cross_entropy_keep_2", lambda: SigmoidCrossEntropy(np.abs(IMAGES) / 4, 2), (IMAGES.shape,)),
    Case("sigmoid_cross_entropy_whole", lambda: SigmoidCrossEntropy(UNIT, keep=0), (SHAPE,)),
    Case("sigmoid_cross_entropy_large", lambda: SigmoidCrossEntropy(UNIT), (normal(SHAPE, scale=30.0),)),
    Case("categorical_of_probabilities", lambda: CategoricalOfProbabilities(ROWS), (probabilities(7, 3),)),
    Case("categorical_of_scores", lambda: CategoricalOfProbabilities(ROWS), (positive(SHAPE),)),
    Case("binary_of_probabilities", lambda: BinaryOfProbabilities(UNIT), (uniform(SHAPE, 0.05, 0.95),)),
    # 1 - (1 - 1e-7) is 1.2e-7 in float32
    Case(
        "binary_of_probabilities_clipped",
        lambda: BinaryOfProbabilities(UNIT),
        (uniform(SHAPE, 1.05, 2.0),),
        rtol32=0.02,
    ),
]
