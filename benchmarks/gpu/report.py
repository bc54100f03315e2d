"""One table, cpu against card, per workload and batch, and its picture: both of a JSON of ``benchmarks.gpu``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.gpu import crossover

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = dict[str, Any]
TIMES = (
    ("cpu", "CPU"),
    ("gpu", "GPU"),
    ("jit", "jit"),
    ("eager", "PyTorch"),
    ("graph", "graph"),
    ("compile", "compiled"),
)
"""The columns of milliseconds per step: tinynn on the processor, on the card, there with jit; PyTorch on the card."""
RATIOS = (
    ("cpu/gpu", "CPU/GPU"),
    ("cpu/jit", "CPU/jit"),
    ("eager/gpu", "PT/GPU"),
    ("eager/jit", "PT/jit"),
    ("graph/jit", "graph/jit"),
    ("compile/jit", "comp./jit"),
)


def merged(result: Row) -> list[Row]:
    """All rows of training steps by workload and batch; of two the one with more contenders."""
    found: dict[tuple[str, int], Row] = {}
    order: dict[str, int] = {}
    for row in [*result.get("training", []), *result.get("series", [])]:
        key = row["name"], row["batch_size"]
        order.setdefault(row["name"], len(order))
        if row["contenders"] and (key not in found or len(row["contenders"]) > len(found[key]["contenders"])):
            found[key] = row
    return sorted(found.values(), key=lambda row: (order[row["name"]], row["batch_size"]))


# -- the table ---------------------------------------------------------------------------------------------------------


def table(result: Row) -> str:
    """Times in ms per step (medians), ratios of times (2: the second needs half as long), and where the card wins."""
    rows = merged(result)
    if not rows:
        return "no training steps were measured"
    present = {c for row in rows for c in row["contenders"]}
    times = [(c, title) for c, title in TIMES if c in present]
    ratios = [(key, title) for key, title in RATIOS if set(key.split("/")) <= present]
    places = crossover.of_rows(rows)
    heading = ["workload", "batch", *(title for _, title in times), *(title for _, title in ratios), ""]
    cells = [heading, *(cells_of(row, times, ratios, places.get(row["name"], {})) for row in rows)]
    widths = [max(len(line[k]) for line in cells) for k in range(len(heading))]
    lines = ["  ".join(pad(text, width, k) for k, (text, width) in enumerate(zip(line, widths, strict=True))).rstrip()
             for line in cells]  # fmt: skip
    rule = "-" * max(map(len, lines))
    body = []
    for _, group in groupby(zip(rows, lines[1:], strict=True), key=lambda pair: pair[0]["name"]):
        body += [rule, *(line for _, line in group)]
    return "\n".join([lines[0], *body, rule, *footer(result, places)])


def pad(text: str, width: int, column: int) -> str:
    """Words begin at the left, numbers end at the right; the last column is words again."""
    return text.ljust(width) if column == 0 or text.startswith(("<-", "LOSSES")) else text.rjust(width)


def cells_of(row: Row, times: Sequence[Any], ratios: Sequence[Any], places: dict[str, Row]) -> list[str]:
    contenders, losses = row["contenders"], row["losses"]
    mark = [
        "GPU" if c == "gpu" else c
        for c, place in places.items()
        if place["size"] == row["batch_size"] and place["between"][0] is not None
    ]
    return [
        row["name"],
        str(row["batch_size"]),
        *(number(contenders[c]["ms_per_step"]["median"]) if c in contenders else failed(row, c) for c, _ in times),
        *(f"{row['ratios'][key]['median']:.2f}" if key in row["ratios"] else "" for key, _ in ratios),
        "LOSSES DIFFER" if not losses["agree"] else f"<- {', '.join(mark)} wins" if mark else "",
    ]


def failed(row: Row, contender: str) -> str:
    return "failed" if contender in row.get("failures", {}) else ""


def number(value: float) -> str:
    """Three digits.

    >>> number(0.0123), number(1.5), number(12.34), number(1234.5)
    ('0.0123', '1.50', '12.3', '1234')
    """
    digits = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{value:.{max(digits, 0)}f}"


def footer(result: Row, places: dict[str, dict[str, Row]]) -> list[str]:
    """The crossover sizes in words, and the targets."""
    lines = [
        "milliseconds per step. CPU, GPU, jit: tinynn. PyTorch (PT): eager; graph: its whole step as one CUDA graph.",
        "a/b: time of a over that of b. The card is faster than the CPU:",
    ]
    width = max([len(name) for name in places] + [len("product n x n")])
    for name, found in places.items():
        lines.append(f"  {name:<{width}}  {in_words(found, 'batch')}")
    found = result.get("products", {}).get("crossover")
    if found:
        lines.append(f"  {'product n x n':<{width}}  {in_words({'gpu': found}, 'n =')}")
    for verdict in result.get("targets", []):
        if verdict["measured"] is not None:
            word = "reached" if verdict["reached"] else "MISSED"
            text = f"  {verdict['ratio']} {verdict['measured']:.2f}, target {verdict['target']:g}: {word}"
            lines.append(f"{verdict['name']} {verdict['batch_size']}{text}")
    return lines


def in_words(found: dict[str, Row], what: str) -> str:
    """Of both ways to run on the card."""
    texts = []
    for contender, place in found.items():
        low, high = place["between"]
        text = f"from {what} {high} on" if low is not None and high is not None else "at every size measured"
        texts.append(("with jit " if contender == "jit" else "") + ("at no size measured" if high is None else text))
    return ", ".join(texts)


# -- the picture -------------------------------------------------------------------------------------------------------

STYLES = {
    "cpu": ("tinynn, CPU", "#d55e00", "-", "o", 2.0),
    "gpu": ("tinynn, GPU", "#0072b2", "-", "o", 2.0),
    "jit": ("tinynn, GPU with jit", "#56b4e9", "-", "o", 2.0),
    "eager": ("PyTorch, GPU", "#999999", "-", "s", 1.2),
    "graph": ("PyTorch, GPU, CUDA graph", "#999999", (0, (4, 2)), "s", 1.2),
    "compile": ("PyTorch, GPU, compiled", "#999999", (0, (1, 1.5)), "s", 1.2),
}
"""Name, colour (Okabe and Ito: apart for every kind of colour vision), line, marker, width."""
COLUMNS = 3

Series = dict[str, list[tuple[int, float]]]


def panels(result: Row) -> list[tuple[str, str, Series]]:
    """(title, name of the axis, by contender (size, ms)) for every workload of more than one batch, and the product."""
    found = []
    for name, group in groupby(merged(result), key=lambda row: row["name"]):
        rows = list(group)
        if len(rows) < 2:
            continue
        series: Series = {}
        for row in rows:
            for c, one in row["contenders"].items():
                series.setdefault(c, []).append((row["batch_size"], one["ms_per_step"]["median"]))
        found.append((f"{name}: {rows[0]['title']}", "batch", series))
    products = result.get("products", {}).get("rows", [])
    if len(products) > 1:
        series = {c: [(row["n"], 1e3 * row[c]) for row in products] for c in ("cpu", "gpu")}
        found.append(("Dense product: n rows, n to n units, forward", "n", series))
    return found


def picture(result: Row, path: Path) -> None:
    """A panel per workload: ms per step over the batch, both axes logarithmic; a ring where the card overtakes."""
    from tinynn.plots.canvas import INK, figure, finished

    found = panels(result)
    if not found:
        raise ValueError("nothing to draw: no workload was measured with more than one batch")
    columns = min(COLUMNS, len(found))
    lines = math.ceil(len(found) / columns)
    page = figure(4.4 * columns, 3.5 * lines + 0.9, pad=0.12)
    all_axes: Any = page.subplots(lines, columns, squeeze=False)
    for axes, (title, label, series) in zip(all_axes.flat, found, strict=False):
        draw(axes, title, label, series)
    for axes in list(all_axes.flat)[len(found) :]:
        axes.set_visible(False)
    handles: dict[str, Any] = {}
    for axes in all_axes.flat:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    order = [name for name, *_ in STYLES.values() if name in handles]
    page.legend([handles[name] for name in order], order, loc="outside lower center", ncols=min(len(order), 5),
                frameon=False, fontsize=9.5, labelcolor=INK)  # fmt: skip
    page.suptitle(title_of(result), fontsize=12, color=INK, x=0.01, ha="left")
    finished(page, path)


def title_of(result: Row) -> str:
    card, machine = result.get("card", {}), result.get("machine", {})
    return (
        f"Time of a training step: {card.get('name', 'a card')} against {machine.get('processor', 'a processor')} "
        f"({machine.get('cores', '?')} cores), {result.get('date', '')[:10]}"
    )


def draw(axes: Axes, title: str, label: str, series: Series) -> None:
    from textwrap import fill

    from tinynn.plots.canvas import INK, PALE, plain

    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    for contender, (name, colour, line, marker, width) in STYLES.items():
        points = sorted(series.get(contender, []))
        if points:
            ours = width > 1.5
            axes.plot(*zip(*points, strict=True), color=colour, linestyle=line, marker=marker, label=name,
                      linewidth=width, markersize=4.5 if ours else 3.5, zorder=3 if ours else 2)  # fmt: skip
    plain(axes, "left", "bottom")
    axes.grid(axis="y", color=PALE, alpha=0.2, linewidth=0.7)
    axes.minorticks_off()
    name, _, words = title.partition(": ")
    axes.set_title(f"{name}\n{fill(words, 58)}", loc="left", fontsize=9, color=INK)
    axes.set_xlabel(label)
    axes.set_ylabel("ms")
    ticks(axes, sorted({size for points in series.values() for size, _ in points}))
    mark(axes, series, label)


def ticks(axes: Axes, sizes: list[int]) -> None:
    """The measured sizes, as many as have room, and milliseconds in plain digits."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    kept: list[int] = []
    span = math.log2(sizes[-1] / sizes[0]) or 1.0
    for size in sizes:
        if not kept or math.log2(size / kept[-1]) > span / 9:
            kept.append(size)
    axes.set_xticks(kept, [str(size) for size in kept])
    axes.yaxis.set_major_locator(LogLocator(numticks=6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def mark(axes: Axes, series: Series, label: str) -> None:
    """Rings where lines of the card go below the processor's, and the sizes in words."""
    from tinynn.plots.canvas import INK, PALE

    cpu, found = dict(series.get("cpu", [])), {}
    rings: list[tuple[float, float]] = []
    for contender in ("gpu", "jit"):
        card = dict(series.get(contender, []))
        common = sorted(set(cpu) & set(card))
        place = crossover.crossing([(size, cpu[size], card[size]) for size in common])
        if place is None:
            continue
        found[contender] = place
        low, high = place["between"]
        if low is not None and high is not None:
            x, y = meeting((low, cpu[low], card[low]), (high, cpu[high], card[high]))
            rings.append((x, y))
            axes.plot([x], [y], marker="o", markersize=11, markerfacecolor="none", markeredgewidth=1.6,
                      markeredgecolor=INK, linestyle="none", zorder=4)  # fmt: skip
    if found:
        text = f"GPU faster {in_words(found, label + ' =' if label == 'n' else label)}"
        axes.text(0.02, 0.97, text.replace(", with", ",\nwith"), transform=axes.transAxes, va="top", fontsize=8.5,
                  color=INK, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5})  # fmt: skip
        bottom, top = axes.get_ylim()
        axes.set_ylim(bottom, top * (top / bottom) ** 0.18)  # room for the words
        for x, y in rings:  # down to the axis, where the size is read
            axes.vlines(x, bottom, y, color=PALE, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)


def meeting(low: tuple[int, float, float], high: tuple[int, float, float]) -> tuple[float, float]:
    """Where two lines, straight on logarithmic axes, cross between two (size, time, time)."""
    before, after = math.log(low[2] / low[1]), math.log(high[1] / high[2])
    part = before / (before + after) if before + after > 0 else 1.0
    return (
        math.exp(math.log(low[0]) + part * math.log(high[0] / low[0])),
        math.exp(math.log(low[1]) + part * math.log(high[1] / low[1])),
    )
