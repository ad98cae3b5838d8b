"""The memory of an agent before a fault as a picture: inline SVG that needs no script. Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence

from holdfast import limits
from holdfast.sizes import size

_WIDTH, _HEIGHT = 720, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 14, 28


def thin(points: Sequence[tuple[float, int]], most: int = limits.CURVE_POINTS_MAX) -> list[tuple[float, int]]:
    """At most `most` points: of each stretch the highest, since peaks are what matters, and the last one."""
    if len(points) <= most:
        return list(points)
    step = len(points) / (most - 1)
    kept = []
    for number in range(most - 1):
        stretch = points[int(number * step) : max(int(number * step) + 1, int((number + 1) * step))]
        kept.append(max(stretch, key=lambda point: point[1]))
    return [*kept, points[-1]]


def svg(points: Sequence[tuple[float, int]], limit_bytes: int | None, title: str) -> str:
    """One `<svg>` element with title and description; "" for fewer than two points."""
    shown = thin(points)
    if len(shown) < 2 or shown[-1][0] <= shown[0][0]:
        return ""
    began, ended = shown[0][0], shown[-1][0]
    peak = max(used for _, used in shown)
    top = max(peak, limit_bytes or 0, 1) * 1.05

    def at(moment: float, used: float) -> tuple[float, float]:
        across = _LEFT + (moment - began) / (ended - began) * (_WIDTH - _LEFT - _RIGHT)
        return round(across, 1), round(_HEIGHT - _BOTTOM - used / top * (_HEIGHT - _TOP - _BOTTOM), 1)

    line = " ".join(f"{x},{y}" for x, y in (at(moment, used) for moment, used in shown))
    span_s = ended - began
    words = f"From {size(shown[0][1])} to {size(shown[-1][1])} in {span_s:.0f} s, highest {size(peak)}"
    words += f", limit {size(limit_bytes)}." if limit_bytes else ", no limit."
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}"'
    parts = [
        f'{head} height="{_HEIGHT}" role="img" aria-labelledby="t d" font-family="sans-serif" font-size="11">',
        f'<title id="t">{escape(title)}</title>',
        f'<desc id="d">{escape(words)}</desc>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
    ]
    if limit_bytes:
        _, y = at(began, limit_bytes)
        parts.append(
            f'<line x1="{_LEFT}" y1="{y}" x2="{_WIDTH - _RIGHT}" y2="{y}" stroke="#b00020" stroke-dasharray="6 4"/>'
        )
        parts.append(f'<text x="{_LEFT + 4}" y="{y - 3}" fill="#b00020">limit {size(limit_bytes)}</text>')
    for used in (0, peak):
        _, y = at(began, used)
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end" fill="#333333">{size(used)}</text>')
    base = _HEIGHT - _BOTTOM
    parts += [
        f'<line x1="{_LEFT}" y1="{base}" x2="{_WIDTH - _RIGHT}" y2="{base}" stroke="#333333"/>',
        f'<text x="{_LEFT}" y="{_HEIGHT - 8}" fill="#333333">{_clock(began)}</text>',
        f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 8}" text-anchor="end" fill="#333333">{_clock(ended)}</text>',
        f'<polyline points="{line}" fill="none" stroke="#1f5fa8" stroke-width="2"/>',
        "</svg>",
    ]
    return "\n".join(parts)


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(at))


def escape(text: str) -> str:
    """As XML wants it; its own module would bring a parser into the keeper."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
