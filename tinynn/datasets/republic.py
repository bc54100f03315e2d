"""Plato's Republic in Benjamin Jowett's translation (1871), with his introduction: 1.2 million characters of prose.

Source: Project Gutenberg, EBook 1497. In the public domain in the United States; the file carries the project's
licence, which the text given here leaves out.
"""

from __future__ import annotations

from typing import overload

from tinynn.datasets.textfile import Folder, held_out, located, read_text

NAME = "republic_gutenberg1497.txt"
ORIGIN = "www.gutenberg.org (EBook 1497) and github.com/jbrownlee/Datasets (republic.txt)"
SHA256 = "fd025e38db153a7223aa0e6f1eb85076280784d13bcc4807bfa3b3f79858bed6"

START = "*** START OF THIS PROJECT GUTENBERG EBOOK THE REPUBLIC ***"
TITLE = "THE REPUBLIC"
BOOKS = "\nBOOK I.\n"
END = "*** END OF THIS PROJECT GUTENBERG EBOOK THE REPUBLIC ***"


@overload
def load_data(split: None = None, introduction: bool = True, folder: Folder = None) -> str: ...
@overload
def load_data(split: float, introduction: bool = True, folder: Folder = None) -> tuple[str, str]: ...
def load_data(split: float | None = None, introduction: bool = True, folder: Folder = None) -> str | tuple[str, str]:
    """The text; with split=0.1 two texts, the beginning and the last tenth. introduction=False: from Book I on.

    The file comes from `folder`, else from `text/` under TINYNN_DATA.
    Raises FileNotFoundError where it is missing, ValueError where it is not the published one.
    """
    text = read_text(located(folder, "text", NAME, ORIGIN), SHA256)
    text = text.partition(START)[2].partition(END)[0].rpartition("End of the Project Gutenberg")[0]
    text = "".join(text.partition(TITLE if introduction else BOOKS)[1:])
    return held_out(text.strip() + "\n", split)
