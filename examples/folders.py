"""Cats and dogs in folders: a small network learns them by heart; dropout, augmentation and a trained network help.

python examples/folders.py
python examples/folders.py --images 200 --folder cats_and_dogs
python examples/folders.py --quick

The cats and dogs of CIFAR-10 (32 x 32 pixels) are written out as PNG files, a folder for each part and in it one for
each class, and read back from there, as your own photographs would be: 1,000 of each class to train on, and from
CIFAR's test set 500 of each to choose the best epoch by, 500 for the test. A --folder that is there is read as it is.

    small         0.70  three convolutions: after ten epochs by heart, 1.00 on what it has seen
    dropout       0.76  the same, half of what its last layers see hidden in every step
    augmentation  0.77  and no image twice: turned, shifted, zoomed, mirrored
    transfer      0.92  ResNet-20 as it is, a new last layer
    fine-tuning   0.91  and then all of it, in small steps: here there was nothing left to learn

ResNet-20 has seen all ten classes of CIFAR's training set, these cats and dogs among them, but none of the test set:
transfer will hardly ever be easier than here. Pillow reads and writes the images (the extra `images`).
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import tinynn as nn
from tinynn import Model, Sequential, applications, callbacks, data, datasets, optim
from tinynn import layers as L
from tinynn.plots import canvas

CLASSES = {"cats": datasets.cifar10.class_names.index("cat"), "dogs": datasets.cifar10.class_names.index("dog")}
SIZE = (32, 32)
BATCH = 32


# -- folders ---------------------------------------------------------------------------------------------------------


def write_out(root: Path, images: int) -> None:
    """PNG files root/train/cats/0000.png, ...: so many of each class to train on, half as many for the other parts."""
    from PIL import Image

    (x_train, y_train), (x_test, y_test) = datasets.cifar10.load_data()
    for name, label in CLASSES.items():
        seen, unseen = x_train[y_train[:, 0] == label], x_test[y_test[:, 0] == label]
        held = images // 2
        parts = {"train": seen[:images], "validation": unseen[:held], "test": unseen[held : 2 * held]}
        for part, pictures in parts.items():
            folder = root / part / name
            folder.mkdir(parents=True, exist_ok=True)
            for number, picture in enumerate(pictures):
                Image.fromarray(picture).save(folder / f"{number:04}.png")


def read(root: Path, part: str) -> data.Dataset:
    """The images of a part with 0 for cats and 1 for dogs; each file is read once, when it is first needed."""
    return data.Dataset.from_folder(root / part, image_size=SIZE, dtype="float32").cache()


def changed(root: Path) -> data.Source:
    """The images to train on, never twice the same."""
    generator = data.ImageDataGenerator(
        rotation_range=15, width_shift_range=0.1, height_shift_range=0.1, zoom_range=0.1, horizontal_flip=True
    )
    return generator.flow_from_directory(root / "train", target_size=SIZE, class_mode="binary", batch_size=BATCH)


# -- networks --------------------------------------------------------------------------------------------------------


def small(dropout: float) -> Sequential:
    """Three stages of convolution and pooling, a hidden layer, the probability of a dog."""
    model = Sequential()
    # Pixels 0 .. 255 become -1 .. 1 in the model, so that nobody can forget it.
    model.add(L.Normalization(axis=None, mean=127.5, variance=127.5**2, input_shape=(*SIZE, 3)))
    for filters in (32, 64, 128):
        model.add(L.Conv2D(filters, (3, 3), padding="same", activation="relu"))
        model.add(L.MaxPooling2D((2, 2)))
    model.add(L.Flatten())
    model.add(L.Dropout(dropout))
    model.add(L.Dense(128, activation="relu"))
    model.add(L.Dropout(dropout))
    model.add(L.Dense(1, activation="sigmoid"))
    return model


def trained_base() -> Model:
    """ResNet-20 without its last layer: an image becomes 64 numbers."""
    network = applications.ResNet20(weights="cifar10")
    return Model(network.input, network.get_layer("pool").output, name="resnet20")


def with_new_head(base: Model) -> Model:
    """The base, frozen, and a new last layer. training=False: its running statistics stay those it came with."""
    base.trainable = False
    inputs = L.Input((*SIZE, 3))
    return Model(inputs, L.Dense(1, activation="sigmoid")(L.Dropout(0.3)(base(inputs, training=False))))


# -- training --------------------------------------------------------------------------------------------------------


class Trials:
    """Networks trained one after the other, and what came of them."""

    def __init__(self, root: Path, models: Path, args: argparse.Namespace):
        self.models, self.args = models, args
        self.validation, self.test = (read(root, part).batch(250) for part in ("validation", "test"))
        self.rows: dict[str, dict] = {}

    def run(self, name: str, model: Model, train: data.Source, epochs: int, learning_rate: float) -> Model:
        """Train, and return the network of the epoch that was best on the images held back."""
        start, path = time.perf_counter(), self.models / f"{name}.tinynn"
        model.backend = self.args.backend
        model.compile(optim.Adam(learning_rate), "binary_crossentropy", metrics=["accuracy"])
        history = model.fit(
            train,
            epochs=min(epochs, 3) if self.args.quick else epochs,
            validation_data=self.validation,
            callbacks=[callbacks.ModelCheckpoint(path, "val_accuracy", save_best_only=True)],
            verbose=self.args.verbose,
        )
        best = nn.load_model(path, backend=self.args.backend)
        self.rows[name] = history.history | {
            "test": best.evaluate(self.test, verbose=0)[1],
            "parameters": model.count_params(),
            "seconds": time.perf_counter() - start,
        }
        print(f"{name}: {max(history.history['val_accuracy']):.4f} of the images held back", flush=True)
        return model

    def table(self) -> None:
        print("\n                          at the end of training   best epoch")
        print(
            f"{'network':<14}{'parameters':>11}{'seen':>9}{'held back':>13}{'held back':>13}{'test':>8}{'seconds':>9}"
        )
        for name, row in self.rows.items():
            seen, held = row["accuracy"][-1], row["val_accuracy"]
            print(
                f"{name:<14}{row['parameters']:>11,}{seen:>9.4f}{held[-1]:>13.4f}{max(held):>13.4f}"
                f"{row['test']:>8.4f}{row['seconds']:>9.1f}"
            )


def train_all(root: Path, models: Path, args: argparse.Namespace) -> Trials:
    trials = Trials(root, models, args)
    same = read(root, "train").shuffle().batch(BATCH)
    trials.run("small", small(dropout=0.0), same, 25, 0.001)
    trials.run("dropout", small(dropout=0.5), same, 25, 0.001)
    trials.run("augmentation", small(dropout=0.5), changed(root), 60, 0.001)
    base = trained_base()
    model = trials.run("transfer", with_new_head(base), same, 6, 0.01)
    base.trainable = True  # takes effect at compile
    trials.run("fine-tuning", model, changed(root), 3, 0.0001)
    return trials


def draw(rows: dict[str, dict], path: str) -> None:
    """The curves of each network, and their accuracies side by side."""
    picture = canvas.figure(2.3 * len(rows) + 3, 3.4)
    *panels, last = picture.subplots(1, len(rows) + 1, width_ratios=[*[1] * len(rows), 1.3])
    for axes, (name, row) in zip(panels, rows.items(), strict=True):
        for key, colour, label in (
            ("accuracy", canvas.TRAIN, "seen"),
            ("val_accuracy", canvas.VALIDATION, "held back"),
        ):
            axes.plot(np.arange(1, len(row[key]) + 1), row[key], color=colour, linewidth=1.6, label=label)
        axes.set_ylim(0.5, 1.01)
        axes.set_xlabel("epoch")
        axes.set_title(name, loc="left", fontsize=11)
        canvas.plain(axes, "bottom", *(["left"] if axes is panels[0] else []))
        axes.grid(axis="y", color=canvas.PALE, alpha=0.25, linewidth=0.7)
    panels[0].legend(frameon=False, fontsize=9)
    last.barh(list(rows), [row["test"] for row in rows.values()], color=canvas.TRAIN, height=0.6)
    for place, row in enumerate(rows.values()):
        last.text(row["test"] + 0.005, place, f"{row['test']:.3f}", va="center", fontsize=9)
    last.set_xlim(0.5, 1)
    last.invert_yaxis()
    last.set_title("Accuracy on the test images", loc="left", fontsize=11)
    canvas.plain(last, "bottom")
    canvas.finished(picture, path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Tell cats from dogs, in folders of PNG files.")
    parser.add_argument("--images", type=int, default=1000, help="of each class to train on, at most 1,000 (default)")
    parser.add_argument("--folder", help="where the PNG files are, or are to be kept (default: a temporary one)")
    parser.add_argument("--quick", action="store_true", help="300 images of each class and three epochs each")
    parser.add_argument("--backend", default=None, help="cpu, reference or gpu (default: TINYNN_BACKEND, else cpu)")
    parser.add_argument("--seed", type=int, default=1, help="seed of weights, shuffles and changes (default 1)")
    parser.add_argument("--verbose", type=int, default=0, help="2: a line for each epoch (default 0)")
    parser.add_argument("--plot", default="folders.png", help="where to draw the picture; '' for none")
    args = parser.parse_args()
    images = 300 if args.quick else args.images
    if not 2 <= images <= 1000:
        parser.error("--images is 2 to 1,000: the two other parts share the 1,000 test images of each class")

    nn.set_seed(args.seed)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(args.folder) if args.folder else Path(temporary) / "images"
        try:
            if not root.exists():
                write_out(root, images)
        except (OSError, ImportError) as error:
            sys.exit(str(error))
        trials = train_all(root, Path(temporary), args)
    trials.table()
    if args.plot:
        draw(trials.rows, args.plot)
        print(f"Curves and accuracies: {args.plot}")


if __name__ == "__main__":
    main()
