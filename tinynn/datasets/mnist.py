"""MNIST: 70,000 handwritten digits of 28 x 28 pixels, shipped with the package (see NOTICE for its terms).

Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition", 1998.
"""

from __future__ import annotations

import os
from pathlib import Path

from tinynn.datasets import source
from tinynn.datasets.images28 import Split, read_folder

BUNDLED = Path(__file__).parent / "mnist_data"


def load_data(folder: str | os.PathLike[str] | None = None) -> tuple[Split, Split]:
    """((x_train, y_train), (x_test, y_test)), all uint8: (60000, 28, 28), (60000,), (10000, 28, 28), (10000,).

    The four files come from `folder`, else from `mnist/` under TINYNN_DATA when that is there, else from the package;
    nothing is downloaded. Raises ValueError or OSError, naming the file, when one is missing, damaged or not MNIST.
    """
    return read_folder(Path(folder) if folder is not None else source.given("mnist") or BUNDLED)
