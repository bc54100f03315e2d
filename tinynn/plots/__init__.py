"""Pictures from arrays and plain records, never from a Model; each function returns a matplotlib Figure.

`path=` also saves it, in the format of the file's ending. matplotlib (the extra `plots`) is imported when a picture
is drawn, and its global state (pyplot, the chosen backend) is left alone, so everything works without a display.
"""

from tinynn.plots.attention import attention
from tinynn.plots.boundary import decision_boundary, grid
from tinynn.plots.confusion import confusion_matrix
from tinynn.plots.curves import history
from tinynn.plots.page import overview
from tinynn.plots.tiles import images, weights
from tinynn.plots.words import words

__all__ = [
    "attention",
    "confusion_matrix",
    "decision_boundary",
    "grid",
    "history",
    "images",
    "overview",
    "weights",
    "words",
]
