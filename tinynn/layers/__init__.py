"""Layers: parameters plus one or two Functions, one file per row of the grid; under Keras's names and defaults."""

from typing import TYPE_CHECKING, Any

from tinynn.config import find_class
from tinynn.errors import no_attribute
from tinynn.layers.activation import ELU, Activation, LeakyReLU, PReLU, ReLU, Softmax
from tinynn.layers.attention import AdditiveAttention, Attention, MultiHeadAttention
from tinynn.layers.base import Layer, Symbol
from tinynn.layers.batchnorm import BatchNormalization
from tinynn.layers.bidirectional import Bidirectional
from tinynn.layers.cells import StackedRNNCells
from tinynn.layers.conv1d import Conv1D
from tinynn.layers.conv2d import Conv2D
from tinynn.layers.convlstm2d import ConvLSTM2D
from tinynn.layers.dense import Dense
from tinynn.layers.dropout import Dropout, GaussianDropout, GaussianNoise, SpatialDropout1D, SpatialDropout2D
from tinynn.layers.embedding import Embedding
from tinynn.layers.flatten import Flatten
from tinynn.layers.gru import GRU, GRUCell
from tinynn.layers.input import Input, InputLayer
from tinynn.layers.lambda_ import Lambda
from tinynn.layers.layernorm import LayerNormalization
from tinynn.layers.loop import RNN
from tinynn.layers.lstm import LSTM, LSTMCell
from tinynn.layers.masking import Masking
from tinynn.layers.maxout import Maxout
from tinynn.layers.merge import (
    Add,
    Average,
    Concatenate,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
    add,
    average,
    concatenate,
    maximum,
    minimum,
    multiply,
    subtract,
)
from tinynn.layers.normalization import Normalization
from tinynn.layers.padding import Cropping2D, UpSampling2D, ZeroPadding2D
from tinynn.layers.pooling import (
    AveragePooling2D,
    AvgPool2D,
    GlobalAveragePooling2D,
    GlobalAvgPool2D,
    GlobalMaxPool2D,
    GlobalMaxPooling2D,
    MaxPool2D,
    MaxPooling2D,
)
from tinynn.layers.pooling1d import (
    AveragePooling1D,
    AvgPool1D,
    GlobalAveragePooling1D,
    GlobalAvgPool1D,
    GlobalMaxPool1D,
    GlobalMaxPooling1D,
    MaxPool1D,
    MaxPooling1D,
)
from tinynn.layers.position import PositionEmbedding, SinePositionEncoding, TokenAndPositionEmbedding
from tinynn.layers.reshape import Permute, RepeatVector, Reshape
from tinynn.layers.rnn import SimpleRNN, SimpleRNNCell
from tinynn.layers.shortcut import PaddedShortcut
from tinynn.layers.timedistributed import TimeDistributed

__all__ = [
    "Activation",
    "Add",
    "AdditiveAttention",
    "Attention",
    "Average",
    "AveragePooling1D",
    "AveragePooling2D",
    "AvgPool1D",
    "AvgPool2D",
    "BatchNormalization",
    "Bidirectional",
    "Concatenate",
    "Conv1D",
    "Conv2D",
    "ConvLSTM2D",
    "Cropping2D",
    "Dense",
    "Dropout",
    "ELU",
    "Embedding",
    "Flatten",
    "GRU",
    "GRUCell",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAvgPool1D",
    "GlobalAvgPool2D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "Input",
    "InputLayer",
    "LSTM",
    "LSTMCell",
    "Lambda",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Masking",
    "MaxPool1D",
    "MaxPool2D",
    "MaxPooling1D",
    "MaxPooling2D",
    "Maximum",
    "Maxout",
    "Minimum",
    "MultiHeadAttention",
    "Multiply",
    "Normalization",
    "PReLU",
    "PaddedShortcut",
    "Permute",
    "PositionEmbedding",
    "RNN",
    "ReLU",
    "RepeatVector",
    "Reshape",
    "SimpleRNN",
    "SimpleRNNCell",
    "SinePositionEncoding",
    "Softmax",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "StackedRNNCells",
    "Subtract",
    "Symbol",
    "TimeDistributed",
    "TokenAndPositionEmbedding",
    "UpSampling2D",
    "ZeroPadding2D",
    "add",
    "average",
    "concatenate",
    "get_class",
    "maximum",
    "minimum",
    "multiply",
    "subtract",
]


def get_class(name: str, custom_objects: dict[str, Any] | None = None) -> Any:
    """The layer class of that name, from ``custom_objects`` or from here; ValueError names the nearest one."""
    ours = {key: value for key, value in globals().items() if isinstance(value, type) and issubclass(value, Layer)}
    return find_class(name, {**ours, **(custom_objects or {})}, "layer")


if not TYPE_CHECKING:  # mypy shall go on finding wrong names itself

    def __getattr__(name):
        raise no_attribute(__name__, name, __all__)
