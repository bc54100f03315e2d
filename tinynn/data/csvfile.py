"""Numbers from a CSV file, with the line in every complaint."""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinynn.errors import nearest

Column = str | int


class CSVTable:
    """The columns of a file: x (N, D) float32, and where a target is named y (N,).

    y is int64 where all of it is whole numbers, else float32; with class_names (a list, or "inferred": the texts that
    occur, in the order of the alphabet) it is the number of the class.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        target: Column | None = None,
        columns: Sequence[Column] | None = None,
        header: bool = True,
        delimiter: str = ",",
        class_names: Any = None,
        missing: float | None = None,
    ):
        self.path, self.missing, self.header = Path(path), missing, header
        self.names: list[str] = []
        self.width = 0
        numbers, texts = array("d"), []
        count = 0
        chosen: list[int] = []
        aim: int | None = None
        for line, cells in self.lines(delimiter):
            if not self.width:
                self.begin(cells)
                aim = None if target is None else self.place(target)
                chosen = (
                    [i for i in range(self.width) if i != aim] if columns is None else list(map(self.place, columns))
                )
                if header:
                    continue
            if len(cells) != self.width:
                raise self.error(line, f"has {len(cells)} cells, those before have {self.width}")
            numbers.extend([self.number(cells[i], i, line) for i in chosen])
            if aim is not None:
                texts.append(cells[aim].strip() if class_names is not None else self.number(cells[aim], aim, line))
            count += 1
        if not count:
            raise ValueError(f"{self.path} has no rows")
        self.x = np.array(numbers, np.float64).reshape(count, len(chosen)).astype(np.float32)
        self.columns = [self.names[i] for i in chosen]
        self.class_names: list[str] | None = None
        self.y = None if aim is None else self.labels(texts, class_names)

    def lines(self, delimiter: str) -> Iterator[tuple[int, list[str]]]:
        """(line, cells) of all rows but empty ones; ValueError or OSError, with the path, for what is no text."""
        import csv

        if not stat.S_ISREG(os.stat(self.path).st_mode):
            raise ValueError(f"{self.path} is no plain file (a folder, a pipe, a device?): give the path of a CSV file")
        with open(self.path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            try:
                for cells in reader:
                    if cells:
                        yield reader.line_num, cells
            except UnicodeDecodeError as error:
                raise self.error(reader.line_num + 1, f"or one behind it is not UTF-8 text ({error.reason})") from None
            except csv.Error as error:
                raise self.error(reader.line_num, f"is damaged ({error})") from None

    def begin(self, cells: list[str]) -> None:
        """The first row: names of columns, or how many there are."""
        self.width = len(cells)
        self.names = [cell.strip() for cell in cells] if self.header else [str(i) for i in range(len(cells))]

    def place(self, column: Column) -> int:
        """Where a column stands, by its name or number."""
        if isinstance(column, str):
            if column not in self.names:
                raise ValueError(f"{self.path} has no column {column!r}: {nearest(column, self.names)}")
            return self.names.index(column)
        if not -self.width <= column < self.width:
            raise ValueError(f"{self.path} has {self.width} columns; there is no column {column}")
        return column % self.width

    def number(self, cell: str, column: int, line: int) -> float:
        text = cell.strip()
        if not text and self.missing is not None:
            return self.missing
        try:
            if "_" in text:  # Python's way of writing 1_000
                raise ValueError
            return float(text)
        except ValueError:
            where = f"has {cell[:40]!r} in column {self.names[column]!r}, where a number was expected"
            hint = (
                "; write missing=0.0 (or another number) for empty cells"
                if not text
                else "; leave the column out with columns=[...], or for a target of names write class_names='inferred'"
            )
            raise self.error(line, where + hint) from None

    def labels(self, values: list[Any], class_names: Any) -> np.ndarray:
        """The target: numbers as they are, names as numbers of classes."""
        if class_names is None:
            y = np.array(values, np.float64)
            whole = np.isfinite(y).all() and (y == np.rint(y)).all() and (np.abs(y) < 2**53).all()
            return y.astype(np.int64 if whole else np.float32)
        inferred = isinstance(class_names, str)
        if inferred and class_names != "inferred":
            raise ValueError(f"class_names is 'inferred' or a list of names; got {class_names!r}")
        names = sorted(set(values)) if inferred else [str(name) for name in class_names]
        numbers = {name: k for k, name in enumerate(names)}
        for row, value in enumerate(values):
            if value not in numbers:
                raise ValueError(f"{self.path}: row {row} has the class {value!r}; {nearest(value, names)}")
        self.class_names = names
        return np.array([numbers[value] for value in values], np.int64)

    def error(self, line: int, what: str) -> ValueError:
        return ValueError(f"{self.path}: line {line} {what}")
