"""What the demo prints with: headings, wrapped tables, colours on a terminal only."""

import itertools
import os
import sys
import unicodedata

COLOR = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
WIDTH = 100


def paint(code, text):
    return f"\x1b[{code}m{text}\x1b[0m" if COLOR else text


def bold(text):
    return paint("1", text)


def dim(text):
    return paint("2", text)


def green(text):
    return paint("32", text)


def red(text):
    return paint("31", text)


def cells(text):
    """Terminal cells that `text` takes."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def wrap(text, width):
    lines, line = [], ""
    for word in text.split(" "):
        while cells(word) > width:
            room = width - cells(line) - (1 if line else 0)
            if room < 1:
                lines.append(line)
                line = ""
                continue
            line += (" " if line else "") + word[:room]
            word = word[room:]
        if line and cells(line) + 1 + cells(word) > width:
            lines.append(line)
            line = word
        else:
            line += (" " if line else "") + word
    return lines + [line]


def heading(text):
    print("\n" + bold(text) + "\n" + dim("─" * WIDTH))


steps = itertools.count(1)


def step(text):
    """A heading with the next number."""
    heading(f"{next(steps)}  {text}")


def short(path):
    """The path as one would type it here."""
    relative = os.path.relpath(path)
    return os.path.abspath(path) if relative.startswith("..") else relative


def table(header, rows, widths, styles=None):
    """Columns of fixed widths; long cells continue on the next line. `header`: None for no such line. `styles`: a function or None for each
    column."""
    styles = styles or [None] * len(widths)

    def line(parts, paints):
        out = []
        for part, width, style in zip(parts, widths, paints):
            padded = part + " " * (width - cells(part))
            out.append(style(padded) if style and part else padded)
        print(("  " + "  ".join(out)).rstrip())

    if header:
        line(header, [dim] * len(header))
    for row in rows:
        wrapped = [wrap(cell, width) for cell, width in zip(row, widths)]
        for i in range(max(map(len, wrapped))):
            line([w[i] if i < len(w) else "" for w in wrapped], styles)
