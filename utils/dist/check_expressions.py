#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check_expressions - dashboards and alerts name only what a scrape has

usage: check_expressions.py SCRAPE FILE...

SCRAPE is what /metrics of a running daemon's exporter answered; FILE a Grafana dashboard (.json) or alert
rules (.yml).  A metric, a label of it or a label's fixed value that the scrape does not have is a panel
that says "No data", or an alert that never comes.  Exit status 1 if there is one.
"""
import json
import re
import sys

OUTSIDE = {"job", "instance", "alertname"}      # the scraper's own labels
METRIC = re.compile(r"\b(kvshm_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")


def read_scrape(path):
    """{metric: {label: values}}"""
    found = {}
    with open(path) as f:
        for line in f:
            m = re.match(r"(kvshm_\w+)\{(.*)\} \S+$", line.rstrip())
            if m:
                labels = found.setdefault(m[1], {})
                for name, _, value in MATCHER.findall(m[2]):
                    labels.setdefault(name, set()).add(value)
    return found


def expressions(path):
    with open(path) as f:
        text = f.read()
    if path.endswith(".json"):
        def walk(node):
            if isinstance(node, dict):
                for key, value in node.items():
                    if key in ("expr", "query") and isinstance(value, str):
                        yield value
                    else:
                        yield from walk(value)
            elif isinstance(node, list):
                for value in node:
                    yield from walk(value)
        return list(walk(json.loads(text)))
    return re.findall(r"^\s*expr: (.*)$", text, re.M)


def faults(expr, scrape):
    used = {}
    for name, matchers in METRIC.findall(expr):
        if name not in scrape:
            yield f"no metric {name}"
            continue
        used[name] = scrape[name]
        for label, how, value in MATCHER.findall(matchers):
            if label in OUTSIDE:
                continue
            if label not in scrape[name]:
                yield f"{name} has no label {label}"
            elif how == "=" and not value.startswith("$") and value not in scrape[name][label]:
                yield f'{name} has no {label}="{value}"'
    known = OUTSIDE.union(*(labels for labels in used.values())) if used else OUTSIDE
    for names in GROUPING.findall(expr):
        for label in filter(None, (n.strip() for n in names.split(","))):
            if label not in known:
                yield f"nothing here has the label {label}"


def main():
    scrape, nr, failed = read_scrape(sys.argv[1]), 0, 0
    if not scrape:
        sys.exit(f"{sys.argv[1]} is no scrape")
    for path in sys.argv[2:]:
        found = [e for e in expressions(path) if "kvshm_" in e]
        if not found:
            sys.exit(f"{path} has no expression")
        nr += len(found)
        for expr in found:
            for fault in faults(expr, scrape):
                print(f"{path}: {fault}: {expr}")
                failed += 1
    print(f"{nr} expressions, {failed} faults")
    sys.exit(1 if failed else 0)


main()
