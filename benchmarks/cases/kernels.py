"""The shapes that the convolutional networks of ``conv`` are made of, for ``python -m benchmarks.kernels``."""

from __future__ import annotations

from dataclasses import dataclass, replace

FLOAT = 4


@dataclass(frozen=True)
class Convolution:
    """Images (N, side, side, C) by a size x size window to O channels."""

    model: str
    N: int
    side: int
    C: int
    O: int
    size: int = 3
    stride: int = 1
    padding: int = 1
    bias: bool = True

    unit = "GFLOP/s"

    @property
    def name(self) -> str:
        strided = f"/{self.stride}" if self.stride > 1 else ""
        return f"{self.model} {self.N}x{self.side}x{self.side}x{self.C} to {self.O}, {self.size}x{self.size}{strided}"

    @property
    def out(self) -> int:
        """The side of the output."""
        return (self.side + 2 * self.padding - self.size) // self.stride + 1

    @property
    def first(self) -> bool:
        """The first of a network: nobody wants the gradient of its images."""
        return self.C in (1, 3)

    @property
    def passes(self) -> tuple[str, ...]:
        return ("forward", "weights", "both") if self.first else ("forward", "weights", "inputs", "both")

    def work(self, which: str) -> float:
        """2 x the multiply-adds of the sum as it is written down, whatever the algorithm does."""
        once = 2.0 * self.N * self.out**2 * self.O * self.size**2 * self.C
        return once * (len(self.passes) - 1) if which == "both" else once


@dataclass(frozen=True)
class Pooling:
    """Max pooling 2x2 of images (N, side, side, C)."""

    model: str
    N: int
    side: int
    C: int

    unit, passes = "GB/s", ("forward", "backward")

    @property
    def name(self) -> str:
        return f"{self.model} pool {self.N}x{self.side}x{self.side}x{self.C}"

    def work(self, which: str) -> float:
        """Bytes of the large and of the small images."""
        return 1.25 * FLOAT * self.N * self.side**2 * self.C


@dataclass(frozen=True)
class Norm:
    """Batch normalization and relu of images (N, side, side, C)."""

    model: str
    N: int
    side: int
    C: int

    unit, passes = "GB/s", ("forward", "backward")

    @property
    def name(self) -> str:
        return f"{self.model} norm, relu {self.N}x{self.side}x{self.side}x{self.C}"

    def work(self, which: str) -> float:
        """Bytes of x and y, or of x, dy and dx: what one pass would move."""
        return (2.0 if which == "forward" else 3.0) * FLOAT * self.N * self.side**2 * self.C


Shape = Convolution | Pooling | Norm


def resnet(side: int, C: int, O: int, stride: int = 1) -> Convolution:
    return Convolution("resnet20", 128, side, C, O, stride=stride, bias=False)


SHAPES: tuple[Shape, ...] = (
    Convolution("c1", 100, 28, 1, 32, size=5, padding=0),
    Convolution("c1", 100, 12, 32, 64, size=5, padding=0),
    Convolution("vgg64", 64, 32, 3, 32),
    Convolution("vgg64", 64, 32, 32, 32),
    Convolution("vgg64", 64, 16, 32, 64),
    Convolution("vgg64", 64, 16, 64, 64),
    Convolution("vgg64", 64, 8, 64, 128),
    Convolution("vgg64", 64, 8, 128, 128),
    resnet(32, 3, 16),
    resnet(32, 16, 16),
    resnet(32, 16, 32, stride=2),
    resnet(16, 32, 32),
    resnet(16, 32, 64, stride=2),
    resnet(8, 64, 64),
    Pooling("c1", 100, 24, 32),
    Pooling("c1", 100, 8, 64),
    Pooling("vgg64", 64, 32, 32),
    Pooling("vgg64", 64, 16, 64),
    Pooling("vgg64", 64, 8, 128),
    Norm("vgg64", 64, 32, 32),
    Norm("vgg64", 64, 16, 64),
    Norm("vgg64", 64, 8, 128),
    Norm("resnet20", 128, 32, 16),
    Norm("resnet20", 128, 16, 32),
    Norm("resnet20", 128, 8, 64),
)


def shape(number: int, images: int | None) -> Shape:
    """A row of the table, with another number of images where one is given."""
    row = SHAPES[number]
    return row if images is None else replace(row, N=images)
