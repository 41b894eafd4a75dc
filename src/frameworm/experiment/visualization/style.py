"""What figures look like: themes, the colours and dashes that tell lines apart, text and tick labels."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.font_manager import fontManager
from matplotlib.ticker import Formatter, LogLocator, MaxNLocator, NullFormatter

TITLE_PT, TEXT_PT, SMALL_PT = 11.5, 8.5, 7.5

# Okabe and Ito, "Color Universal Design" (2008): told apart by every kind of colour vision. The yellow is darkened
# on white, where it has next to no contrast; black becomes white on dark, and the blue lighter.
_OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#1A1D21", "#C8B900")
_OKABE_ITO_ON_DARK = ("#56B4E9", "#E69F00", "#1DB88A", "#DE97BC", "#F0E442", "#E8723A", "#E8EAED", "#4C9BE0")


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of a figure; ``ramp`` is the part of viridis that stands out from the background."""

    background: str
    text: str
    muted: str
    grid: str
    spine: str
    palette: tuple[str, ...]
    ramp: tuple[float, float]


THEMES = {
    "light": Theme("#FFFFFF", "#1A1D21", "#646B73", "#E9EBED", "#B4BAC0", _OKABE_ITO, (0.0, 0.88)),
    "dark": Theme("#15181C", "#E8EAED", "#9BA3AB", "#272C32", "#4B535B", _OKABE_ITO_ON_DARK, (0.22, 1.0)),
}


Dashes = Literal["solid"] | tuple[float, tuple[float, ...]]


class Look(NamedTuple):
    """How one experiment's or group's line is drawn, the same in every panel."""

    color: str
    dashes: Dashes
    width: float
    alpha: float


# Long strokes with short gaps: a noisy line must still read as a line.
_DASHES: tuple[Dashes, ...] = (
    "solid",
    (0, (5.5, 1.4)),
    (0, (7, 1.3, 1.2, 1.3)),
    (0, (2.2, 1.1)),
)


def looks(n: int, theme: Theme) -> list[Look]:
    """Return n looks: up to eight in colours of their own, more in the order of a perceptual colour map."""
    if n <= len(theme.palette):
        width = 1.7 if n <= 4 else 1.4
        return [Look(theme.palette[i], _DASHES[i % 4], width, 1.0) for i in range(n)]
    low, high = theme.ramp
    colors = [to_hex(colormaps["viridis"](low + (high - low) * i / (n - 1))) for i in range(n)]
    width, alpha = (1.2, 0.95) if n <= 20 else (0.9, 0.9) if n <= 60 else (0.6, 0.7)
    return [Look(color, _DASHES[i % 4], width, alpha) for i, color in enumerate(colors)]


def style_axes(axes: Axes, theme: Theme) -> None:
    """Give axes calm lines: two light spines, horizontal grid lines behind the data, small outward ticks."""
    axes.set_facecolor(theme.background)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.spine)
        spine.set_linewidth(0.8)
    axes.set_axisbelow(True)
    axes.grid(visible=False, which="both", axis="both")
    axes.grid(visible=True, which="major", axis="y", color=theme.grid, linewidth=0.8, linestyle="solid", alpha=1)
    axes.tick_params(
        which="both",
        direction="out",
        length=3,
        width=0.8,
        pad=3,
        color=theme.spine,
        labelcolor=theme.muted,
        labelsize=SMALL_PT,
        top=False,
        right=False,
        labeltop=False,
        labelright=False,
    )
    axes.tick_params(which="minor", length=0)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(theme.text)
        axis.label.set_fontsize(TEXT_PT)


def style_x_ticks(axes: Axes, *, whole: bool, room_inches: float) -> None:
    """Set ticks that fit into the width; ``whole``: at whole numbers only."""
    bins = max(2, min(9, round(room_inches / 0.62)))
    axes.xaxis.set_major_locator(MaxNLocator(bins, integer=whole, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(NumberFormatter(suffixes=True))


def style_y_ticks(axes: Axes, *, log: bool, room_inches: float) -> None:
    """Set ticks that fit into the height, on a logarithmic axis the rounder the more decades it spans."""
    bins = max(2, min(7, round(room_inches / 0.36)))
    low, high = axes.get_ylim()
    decades = math.log10(high) - math.log10(low) if log else 0.0
    if not log or decades < 0.5:
        axes.yaxis.set_major_locator(MaxNLocator(bins, steps=[1, 2, 2.5, 5, 10]))
        axes.yaxis.set_major_formatter(NumberFormatter(suffixes=True))
    else:
        choices: tuple[tuple[float, ...], ...] = ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))
        subs = next((s for s in choices if len(s) * decades <= bins + 1.5), (1,))
        axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=bins if len(subs) == 1 else 50))
        axes.yaxis.set_major_formatter(NumberFormatter(each=True))
    axes.yaxis.set_minor_formatter(NullFormatter())


class NumberFormatter(Formatter):
    """Tick labels that agree with each other: as many digits as the ticks' distance needs, one unit for all.

    ``suffixes``: 10k, 1.5M, 2B from ten thousand on. ``each``: every tick for itself, as on logarithmic axes.
    """

    def __init__(self, *, suffixes: bool = False, each: bool = False) -> None:
        self._suffixes = suffixes
        self._each = each

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Return the label of one tick."""
        return number(x)

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """Return the labels of all ticks of an axis."""
        if self._each:
            powers = [math.log10(v) for v in values]
            if all(abs(p - round(p)) < 1e-9 for p in powers) and (min(powers) < -3 or max(powers) > 4):
                return [f"10{superscript(round(p))}" if round(p) else "1" for p in powers]
            return [number(v) for v in values]
        return tick_labels([float(v) for v in values], suffixes=self._suffixes)


_SUFFIXES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


def tick_labels(values: Sequence[float], *, suffixes: bool = False) -> list[str]:
    """Return labels for evenly spaced values: ``0, 0.25, 0.50`` or ``0, 250k, 500k``."""
    biggest = max((abs(v) for v in values), default=0.0)
    scale, unit = 1.0, ""
    # Values far from zero but close together, as 1000000.01 and 1000000.02, are not shortened by a unit.
    spread_out = _apart(values) > biggest * 1e-4
    if suffixes and 1e4 <= biggest < 1e15 and spread_out:
        scale, unit = next((s, u) for s, u in _SUFFIXES if biggest >= s)
    elif (biggest >= 1e6 and spread_out) or 0 < biggest < 1e-3:
        # 10.0 ** -324 is 0: the smallest numbers of all are scaled by the smallest normal power.
        power = max(math.floor(math.log10(biggest) + 1e-9), -307)
        scale, unit = 10.0**power, f"×10{superscript(power)}"
    scaled = [v / scale for v in values]
    apart = _apart(scaled)
    digits = next((d for d in range(12) if all(abs(round(v, d) - v) < 1e-3 * apart for v in scaled)), 12)
    return ["0" if v == 0 else f"{v:.{digits}f}{unit}".replace("-", "−") for v in scaled]


def _apart(values: Sequence[float]) -> float:
    return min((abs(b - a) for a, b in pairwise(values) if a != b), default=1.0)


def number(value: float, digits: int = 4) -> str:
    """Return one number for people: at most ``digits`` significant digits, powers of ten where they read better."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = int(exponent)
    if -4 <= power < 6:
        plain = f"{float(f'{mantissa}e{power}'):.{max(0, digits - 1 - power)}f}"
        return (plain.rstrip("0").rstrip(".") if "." in plain else plain).replace("-", "−")
    mantissa = (mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa).replace("-", "−")
    return f"10{superscript(power)}" if mantissa == "1" else f"{mantissa}×10{superscript(power)}"


def superscript(power: int) -> str:
    """Return an exponent in raised digits."""
    return str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def text_width(text: str, size_pt: float = SMALL_PT) -> float:
    """Return about how wide a text is, in inches: wide East Asian characters count double."""
    cells = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
    return cells * size_pt * 0.56 / 72


def elide(text: str, limit: int) -> str:
    """Return a text of at most about ``limit`` characters, on one line, with its middle left out if need be."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(text) <= limit:
        return text
    head = (limit - 1) * 3 // 5
    tail = limit - 1 - head
    return f"{text[:head].rstrip()}…{text[len(text) - tail :].lstrip()}"


_FALLBACKS = (
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Noto Sans Arabic",
    "Noto Sans Devanagari",
    "Arial Unicode MS",
    "Noto Emoji",
    "Segoe UI Symbol",
)


@lru_cache(maxsize=1)
def font_families() -> list[str]:
    """Return the fonts for names in any script: the user's sans serif, then what this machine has of others."""
    installed = {entry.name for entry in fontManager.ttflist}
    return ["sans-serif", *(name for name in _FALLBACKS if name in installed)]


def unit_of_time(longest_s: float) -> tuple[float, Literal["s", "min", "h", "d"]]:
    """Return the factor from seconds and the unit in which a span reads best."""
    if longest_s < 180:
        return 1.0, "s"
    if longest_s < 3 * 3600:
        return 1 / 60, "min"
    if longest_s < 72 * 3600:
        return 1 / 3600, "h"
    return 1 / 86400, "d"
