# SPDX-License-Identifier: MIT
"""One run of perf/wan over time, as SVG: rate, queue, what is in flight, parity and retransmissions."""
import os
import sys
from xml.sax.saxutils import escape

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from plot import INK, LEFT, WIDTH, line, step, text  # noqa: E402

HIGH, GAP, TOP = 150, 52, 60
T, LINK, GOOD, WAIT, FLIGHT, WINDOW, SRTT, PARITY, AGAIN = range(9)
BLUE, GREY, RED = "#2f81f7", "#8a8f98", "#d1603d"
# title, [(column, name, colour)]
PANELS = [
    ("Mbit/s", [(LINK, "past the bottleneck", GREY), (GOOD, "delivered", BLUE)]),
    ("Waiting, ms", [(WAIT, "in the bottleneck's queue", RED), (SRTT, "srtt", GREY)]),
    ("Segments", [(WINDOW, "window", GREY), (FLIGHT, "in flight", BLUE)]),
    ("Packets in each interval", [(PARITY, "parity", GREY), (AGAIN, "sent again", RED)]),
]


def curve(points, column, x, y):
    d = " ".join("%s%.1f %.1f" % ("L" if i else "M", x(p[T]), y(p[column])) for i, p in enumerate(points))
    return d


def panel(y0, title, series, points, x, changes):
    top = max(max(p[c] for p in points) for c, _, _ in series) * 1.1 or 1.0
    base, wide = y0 + HIGH, WIDTH - LEFT - 20

    def y(v):
        return base - v * HIGH / top
    out = [text(LEFT, y0 - 10, title, 14, weight="bold")]
    at = LEFT + 220
    for _, name, colour in series:
        out.append('<rect x="%d" y="%d" width="12" height="12" rx="2" fill="%s"/>' % (at, y0 - 20, colour))
        out.append(text(at + 18, y0 - 10, name, 12))
        at += 190
    for i in range(int(top / step(top)) + 1):
        v = i * step(top)
        out += [line(LEFT, y(v), LEFT + wide, y(v), 0.25 if i else 0.8),
                text(LEFT - 8, y(v) + 4, "%g" % round(v, 3), 12, "end")]
    out += [line(x(c["at"]), y0, x(c["at"]), base, 0.6) for c in changes]
    for column, name, colour in series:
        out.append('<path d="%s" fill="none" stroke="%s" stroke-width="1.3"><title>%s</title></path>' % (
            curve(points, column, x, y), colour, escape(name)))
    return out


def run(r, every):
    points = r["trace"]
    end = points[-1][T]
    wide = WIDTH - LEFT - 20
    height = TOP + len(PANELS) * (HIGH + GAP)

    def x(t):
        return LEFT + wide * t / end
    name = "%s%s, seed %d" % (os.path.basename(r["scenario"]), ": " + r["row"] if r["row"] else "", r["seed"])
    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" '
           'font-family="system-ui, sans-serif">' % (WIDTH, height, WIDTH, height),
           "<title>%s</title>" % escape(name), text(LEFT, 22, "%s; a point each %d ms" % (name, every), 14, fill=INK)]
    for i, (title, series) in enumerate(PANELS):
        out += panel(TOP + i * (HIGH + GAP), title, series, points, x, r["changes"])
    for i in range(int(end / step(end)) + 1):
        t = i * step(end)
        out.append(text(x(t), height - GAP + 18, "%g s" % round(t, 3), 12, "middle"))
    return "\n".join(out + ["</svg>"]) + "\n"
