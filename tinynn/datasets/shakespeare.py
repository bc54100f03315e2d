"""Tiny Shakespeare: 40,000 lines of his plays in one file, 1,115,394 characters of 65 kinds.

Source: A. Karpathy, char-rnn, data/tinyshakespeare, 2015. The plays are in the public domain.
"""

from __future__ import annotations

from typing import overload

from tinynn.datasets.textfile import Folder, held_out, located, read_text

NAME = "tinyshakespeare.txt"
ORIGIN = "github.com/karpathy/char-rnn (data/tinyshakespeare/input.txt)"
SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


@overload
def load_data(split: None = None, folder: Folder = None) -> str: ...
@overload
def load_data(split: float, folder: Folder = None) -> tuple[str, str]: ...
def load_data(split: float | None = None, folder: Folder = None) -> str | tuple[str, str]:
    """The text; with split=0.1 two texts, the beginning to learn from and the last tenth, held out.

    The file comes from `folder`, else from `text/` under TINYNN_DATA.
    Raises FileNotFoundError where it is missing, ValueError where it is not the published one.
    """
    return held_out(read_text(located(folder, "text", NAME, ORIGIN), SHA256), split)
