"""First names: 32,033 of them, lower case, given to children in the United States; a model learns to invent more.

Source: A. Karpathy, makemore (MIT licence), from the Social Security Administration's list of 2018 (US government).
"""

from __future__ import annotations

from tinynn.datasets.textfile import Folder, located, read_text

NAME = "makemore_names.txt"
ORIGIN = "github.com/karpathy/makemore (names.txt)"
SHA256 = "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d"


def load_data(folder: Folder = None) -> list[str]:
    """The names, those of girls, then those of boys, the frequent first: "emma", "olivia", "ava", ...; 2,539 are both.

    The file makemore_names.txt comes from `folder`, else from `names/` under TINYNN_DATA.
    Raises FileNotFoundError where it is missing, ValueError where it is not the published one.
    """
    return read_text(located(folder, "names", NAME, ORIGIN), SHA256).split()
