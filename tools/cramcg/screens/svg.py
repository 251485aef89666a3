#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A terminal's screen, as "tmux capture-pane -e" gives it on stdin, to an SVG picture."""
import re
import sys
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 8.4, 18
PLAIN = '#d0d0d0'
COLOURS = {31: '#ff6b6b', 32: '#6bd06b', 33: '#e0c050', 39: PLAIN}


class Pen:
    """What the escape sequences so far have set."""

    def __init__(self):
        self.colour, self.bold, self.swapped = PLAIN, False, False

    def set(self, codes):
        for code in (int(c or 0) for c in codes.split(';')):
            if code == 0:
                self.__init__()
            elif code in (1, 22):
                self.bold = code == 1
            elif code in (3, 7, 23, 27):
                self.swapped = code in (3, 7)
            elif code in COLOURS:
                self.colour = COLOURS[code]

    def text(self, x, y, text):
        width = len(text) * WIDTH
        if self.swapped:
            print(f'<rect x="{x:.1f}" y="{y - 14}" width="{width:.1f}" height="{HEIGHT}" fill="{PLAIN}"/>')
        if text.strip():
            print(f'<text x="{x:.1f}" y="{y}" fill="{"#181818" if self.swapped else self.colour}"'
                  f'{" font-weight=" + chr(34) + "bold" + chr(34) if self.bold else ""}'
                  f' textLength="{width:.1f}" xml:space="preserve">{escape(text)}</text>')


def main():
    lines = sys.stdin.read().rstrip('\n').split('\n')
    plain = [re.sub(r'\033\[[0-9;]*m', '', line) for line in lines]
    columns = max(map(len, plain))
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{columns * WIDTH + 16:.0f}" height="{len(lines) * HEIGHT + 16}"'
          ' font-family="DejaVu Sans Mono, monospace" font-size="14">')
    print('<!-- SPDX-License-Identifier: GPL-2.0-or-later; made by tools/cramcg/screens/record -->')
    print('<rect width="100%" height="100%" fill="#181818"/>')
    pen = Pen()
    for row, line in enumerate(lines):
        column = 0
        for part in re.split(r'(\033\[[0-9;]*m)', line):
            if part.startswith('\033['):
                pen.set(part[2:-1])
            elif part:
                pen.text(8 + column * WIDTH, (row + 1) * HEIGHT + 4, part)
                column += len(part)
    print('</svg>')


main()
