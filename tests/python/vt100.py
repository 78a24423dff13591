# SPDX-License-Identifier: Apache-2.0
"""As much of a VT100 as a full-screen program needs: what it prints, as lines of text."""
import re

SEQUENCE = re.compile(r"\x1b(?:\[([?0-9;]*)([A-Za-z@`])|[()][A-Z0-9]|([78=>DMEHc]))")


class Screen:
    def __init__(self, rows, columns):
        self.pending = ""
        self.resize(rows, columns)

    def resize(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.cell = [[" "] * columns for _ in range(rows)]
        self.row = self.column = 0
        self.top, self.bottom = 0, rows - 1

    def text(self):
        return "\n".join("".join(line).rstrip() for line in self.cell)

    def feed(self, data):
        text = self.pending + data.decode("utf-8", "replace")
        self.pending = ""
        at = 0
        while at < len(text):
            if text[at] == "\x1b":
                m = SEQUENCE.match(text, at)
                if not m:
                    if len(text) - at < 24:         # the rest is still to come
                        self.pending = text[at:]
                        return
                    raise ValueError(f"what is {text[at:at + 12]!r}?")
                at = m.end()
                self.control(m[1], m[2] or m[3] or "")
            else:
                self.character(text[at])
                at += 1

    def character(self, c):
        if c == "\n":
            self.line_feed()
        elif c == "\r":
            self.column = 0
        elif c == "\b":
            self.column = max(0, self.column - 1)
        elif c == "\t":
            self.column = min(self.columns - 1, self.column // 8 * 8 + 8)
        elif c >= " ":
            if self.column >= self.columns:
                self.column = 0
                self.line_feed()
            self.cell[self.row][self.column] = c
            self.column += 1

    def line_feed(self):
        if self.row == self.bottom:
            del self.cell[self.top]
            self.cell.insert(self.bottom, [" "] * self.columns)
        else:
            self.row = min(self.rows - 1, self.row + 1)

    def reverse_line_feed(self):
        if self.row == self.top:
            del self.cell[self.bottom]
            self.cell.insert(self.top, [" "] * self.columns)
        else:
            self.row = max(0, self.row - 1)

    def control(self, args, kind):
        if args is None or args.startswith("?"):
            if kind == "M":
                self.reverse_line_feed()
            elif kind == "D":
                self.line_feed()
            return
        n = [int(a) if a else 0 for a in args.split(";")]
        one = max(1, n[0])
        if kind in "Hf":
            self.row = min(self.rows, one) - 1
            self.column = min(self.columns, max(1, n[1] if len(n) > 1 else 1)) - 1
        elif kind == "A":
            self.row = max(0, self.row - one)
        elif kind == "B":
            self.row = min(self.rows - 1, self.row + one)
        elif kind == "C":
            self.column = min(self.columns - 1, self.column + one)
        elif kind == "D":
            self.column = max(0, self.column - one)
        elif kind == "K":
            self.erase_line(n[0])
        elif kind == "J":
            self.erase_screen(n[0])
        elif kind == "r":
            self.top, self.bottom = one - 1, (n[1] if len(n) > 1 and n[1] else self.rows) - 1
            self.row = self.column = 0
        elif kind not in "mhl":
            raise ValueError(f"what is ESC [ {args} {kind}?")

    def erase_line(self, how):
        begin = self.column if how == 0 else 0
        end = self.column + 1 if how == 1 else self.columns
        for c in range(begin, min(end, self.columns)):
            self.cell[self.row][c] = " "

    def erase_screen(self, how):
        self.erase_line(how)
        for r in range(self.row + 1 if how == 0 else 0, self.row if how == 1 else self.rows):
            if r != self.row:
                self.cell[r] = [" "] * self.columns
