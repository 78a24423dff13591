#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ordering - every ordering has a label, at both ends and in the table

It sees names, not meaning: the mutants of tests/stress bind a label to an access.
"""
import os
import re

from lintlib import Lint, ROOT, code_lines, sources, text

HOME = "kvshm/base/atomic.h"
TABLE = "Documentation/design/ordering.rst"
NEAR = 4                                # lines between a label's comment and its access
LABEL = re.compile(r"\b[A-Z]{2}-[0-9]+\b")
ROW = re.compile(r"^[\s|*-]*(?:``|\*\*)?([A-Z]{2}-[0-9]+)\b", re.M)
RAW = re.compile(r"\bmemory_order_\w+|\b__atomic_\w+|\b_Atomic\b|\batomic_\w+\s*\(|<stdatomic\.h>")
COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|(/\*.*?\*/|//[^\n]*)', re.S)
ATTRIBUTE = re.compile(r"__attribute__\s*\(\(.*?\)\)|\b__printf\([^)]*\)")
KNOWN = {"store_release", "load_acquire", "smp_mb", "smp_acquire", "smp_release"}


def ordered_names():
    """The five, and what else atomic.h defines with an order in its name."""
    home = text(HOME) if os.path.exists(os.path.join(ROOT, HOME)) else ""
    defined = re.findall(r"^#define (\w+)\(", home, re.M) + re.findall(r"^static inline [^(;]*?(\w+)\(", home, re.M)
    return KNOWN | {n for n in defined if re.search(r"acquire|release|acq_rel|^smp_", n)}


def functions(lines):
    """For each line the function whose body it lies in, or None."""
    owner, depth, name, head = [], 0, None, ""
    for line in lines:
        is_directive = line.lstrip().startswith("#")
        inside = name if depth else None
        for c in "" if is_directive else line:
            if c == "{":
                if not depth:
                    m = re.search(r"(\w+)\s*\([^={]*$", ATTRIBUTE.sub("", head))
                    name = m[1] if m else None
                    inside = name
                depth += 1
            elif c == "}":
                depth = max(0, depth - 1)
                if not depth:
                    head = ""
            elif not depth:
                head = "" if c == ";" else head + c
        head += " "
        owner.append(inside)
    return owner


def labelled_comments(path):
    """(first line, last line, labels) of each comment that names a label."""
    content = text(path)
    for m in COMMENT.finditer(content):
        labels = set(LABEL.findall(m[1] or ""))
        if labels:
            first = content[:m.start()].count("\n") + 1
            yield first, first + m[0].count("\n"), labels


def check_file(lint, path, calls, ends, first_seen):
    lines = code_lines(path)
    owner = functions(lines)
    comments = list(labelled_comments(path))
    for first, last, labels in comments:
        # a comment in a body, or just above an access in a macro
        where = owner[last - 1] or owner[first - 1]
        for label in labels:
            first_seen.setdefault(label, (path, first))
            if where:
                ends.setdefault(label, set()).add((path, where))
    for number, line in enumerate(lines, 1):
        m = RAW.search(line)
        if m:
            lint.find(path, number, f"{m[0].strip(' (')} outside {HOME}", "use its load_acquire, store_release, READ_ONCE, WRITE_ONCE, smp_mb")
        m = calls.search(line)
        if m and not any(last <= number and last >= number - NEAR for _, last, _ in comments):
            lint.find(path, number, f"{m[1]} without a label", f"name it in a comment just above, like `/* BK-1: what it orders; pairs with f(). */`, with a row in {TABLE}")


def main():
    lint = Lint("ordering", "labels at both ends and in the table")
    calls = re.compile(r"(?<!define )\b(" + "|".join(sorted(ordered_names())) + r")\s*\(")
    ends, first_seen = {}, {}
    for path in sources(".c", ".h"):
        if path != HOME:
            check_file(lint, path, calls, ends, first_seen)
    has_table = os.path.exists(os.path.join(ROOT, TABLE))
    rows = set(ROW.findall(text(TABLE))) if has_table else set()
    if not has_table:
        lint.find(TABLE, 1, "missing", "one table: label, word, release in, acquire in, what it orders, what goes red without it")
    for label, (path, line) in sorted(first_seen.items()):
        if len(ends.get(label, ())) < 2:
            there = ", ".join(f"{f}() in {p}" for p, f in sorted(ends.get(label, ()))) or "no function"
            lint.find(path, line, f"{label} has fewer than two ends ({there})", "label the access that it pairs with, in its function")
        if has_table and label not in rows:
            lint.find(path, line, f"{label} has no row in {TABLE}", "add it: label, word, release in, acquire in, what it orders, what goes red")
    for label in sorted(rows - set(first_seen)):
        line = next(n for n, l in enumerate(text(TABLE).split("\n"), 1) if ROW.match(l) and label in l)
        lint.find(TABLE, line, f"{label} is in no source", "remove the row, or label the accesses")
    lint.end()


main()
