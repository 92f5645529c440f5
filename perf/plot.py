# SPDX-License-Identifier: MIT
"""The plot of perf/versus, as SVG without a library; its greys and colours stand on light and on dark ground."""
from xml.sax.saxutils import escape

WIDTH, PANEL, LEFT, TOP, GAP = 860, 250, 70, 64, 88
COLOUR = {"kcptun": "#8a8f98", "kcpgate": "#2f81f7"}
INK = "#7d8590"
PANELS = [("goodput", "Goodput, Gbit/s: more is better", "%.2f"),
          ("cpu", "CPU of both gateways, seconds a GB: less is better", "%.1f")]


def text(x, y, s, size=13, anchor="start", fill=INK, weight="normal"):
    return '<text x="%.1f" y="%.1f" font-size="%d" text-anchor="%s" fill="%s" font-weight="%s">%s</text>' % (
        x, y, size, anchor, fill, weight, escape(s))


def line(x1, y1, x2, y2, opacity=1.0, width=1):
    return '<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="%g" stroke-opacity="%g"/>' % (
        x1, y1, x2, y2, INK, width, opacity)


def step(top):
    """A round distance of grid lines, three to six of them up to top."""
    s = 1e-3
    while True:
        for k in (1, 2, 5):
            if top / (s * k) <= 6:
                return s * k
        s *= 10


def panel(y0, key, title, form, cases, stat):
    """cases: name -> (program -> rows, key -> ratios)."""
    stats = {c: {p: stat([r[key] for r in rows]) for p, rows in v[0].items()} for c, v in cases.items()}
    top = max(s["max"] for v in stats.values() for s in v.values()) * 1.15
    base, wide = y0 + PANEL, WIDTH - LEFT - 20
    scale = PANEL / top
    out = [text(LEFT, y0 - 12, title, 14, weight="bold")]
    for i in range(int(top / step(top)) + 1):
        v = i * step(top)
        out += [line(LEFT, base - v * scale, LEFT + wide, base - v * scale, 0.25 if i else 0.8),
                text(LEFT - 8, base - v * scale + 4, "%g" % round(v, 3), 12, "end")]
    slot = wide / len(cases)
    bar = min(64.0, slot / 3.4)
    for i, (c, v) in enumerate(stats.items()):
        mid = LEFT + slot * (i + 0.5)
        for k, (p, s) in enumerate(v.items()):
            x = mid + (k - 1) * (bar + 6) + 3
            y = base - s["median"] * scale
            out.append('<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="2" fill="%s"><title>%s</title></rect>' % (
                x, y, bar, base - y, COLOUR[p], escape("%s, %s: median %.3f, %.3f to %.3f" % (c, p, s["median"], s["min"],
                                                                                         s["max"]))))
            out.append(line(x + bar / 2, base - s["min"] * scale, x + bar / 2, base - s["max"] * scale, 1, 2))
            out.append(text(x + bar / 2, base - s["max"] * scale - 5, form % s["median"], 12, "middle"))
        ratio = stat(cases[c][1][key])["median"]
        out.append(text(mid, base + 18, c, 13, "middle"))
        out.append(text(mid, base + 35, "%.1f times %s" % (ratio, "less" if key == "cpu" else "as much"),
                        12, "middle", COLOUR["kcpgate"], "bold"))
    return out


def versus(cases, stat):
    height = TOP + len(PANELS) * (PANEL + GAP) - 32
    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" '
           'font-family="system-ui, sans-serif">' % (WIDTH, height, WIDTH, height),
           "<title>kcpgate and kcptun: goodput and CPU, end to end</title>"]
    x = LEFT
    for p, colour in COLOUR.items():
        out.append('<rect x="%d" y="14" width="12" height="12" rx="2" fill="%s"/>' % (x, colour))
        out.append(text(x + 18, 25, p))
        x += 100
    out.append(text(x, 25, "median; line: least to most of the rounds", 12))
    for i, (key, title, form) in enumerate(PANELS):
        out += panel(TOP + i * (PANEL + GAP), key, title, form, cases, stat)
    return "\n".join(out + ["</svg>"]) + "\n"
