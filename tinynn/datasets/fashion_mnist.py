"""Fashion-MNIST: 70,000 articles of clothing in the form of MNIST, for the same networks and harder.

Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset ...", arXiv 1708.07747, 2017; MIT licence.
"""

from __future__ import annotations

import os
from pathlib import Path

from tinynn.datasets import source
from tinynn.datasets.images28 import Split, read_folder

class_names = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

MIRRORS = (
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
)

SHA256 = {
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}


def load_data(folder: str | os.PathLike[str] | None = None) -> tuple[Split, Split]:
    """((x_train, y_train), (x_test, y_test)), all uint8: (60000, 28, 28), (60000,), (10000, 28, 28), (10000,).

    The four files come from `folder`, else from `fashion-mnist/` under TINYNN_DATA when that is there, else from the
    cache folder, which is filled from the network (30 MB) where needed. Label k means `class_names[k]`.
    Raises ValueError or OSError, naming the file, when one is missing, damaged or cannot be downloaded.
    """
    if folder is not None:
        return read_folder(Path(folder))
    return read_folder(source.given("fashion-mnist") or source.cached("fashion-mnist", SHA256, MIRRORS))
