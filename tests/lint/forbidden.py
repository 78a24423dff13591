#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""forbidden - functions that have a better one, and output from libraries"""
import re

from lintlib import Lint, code_lines, sources

FORBIDDEN = (
    (r"\bstrcpy\s*\(", "strcpy", "use memcpy with a checked length, or snprintf"),
    (r"\bstrcat\s*\(", "strcat", "use snprintf, or one buffer that knows its length"),
    (r"\bsprintf\s*\(", "sprintf", "use snprintf and check what it returns"),
    (r"\bstrtok\s*\(", "strtok", "use strtok_r, or strcspn"),
    (r"\bato(i|l|ll|f)\s*\(", "atoi and its kin", "use strtoul and check its end and errno"),
    (r"\balloca\s*\(", "alloca", "use an array of fixed size, or malloc"),
    (r"\bgets\s*\(", "gets", "use fgets or getline"),
    (r"\b__sync_\w+", "__sync builtin", "use kvshm/base/atomic.h"),
    (r"\bCLOCK_REALTIME\b|\bgettimeofday\s*\(", "wall-clock time", "it jumps: clock_ns() of kvshm/base/clock.h"),
    (r"\bvolatile\b", "volatile", "it orders nothing: READ_ONCE and WRITE_ONCE of kvshm/base/atomic.h (assembly: __asm__ __volatile__)"),
)
OUTPUT = re.compile(r"\b(?:v?printf|puts|putchar|perror)\s*\(|\bv?fprintf\s*\(\s*(?:stdout|stderr)\b"
                    r"|\bv?dprintf\s*\(\s*(?:1|2|STDOUT_FILENO|STDERR_FILENO)\b|\bf(?:puts|putc|write)\s*\(.*\bstd(?:out|err)\b")
PROGRAMS = ("utils/", "kvshm/daemon/main.c", "gpu/gpud/main.c", "kvshm/engines/", "kvshm/base/log.c", "kvshm/base/number.c",
            "kvshm/base/options.c")


def main():
    lint = Lint("forbidden", "functions that have a better one")
    for path in sources(".c", ".h"):
        for number, line in enumerate(code_lines(path), 1):
            for pattern, name, cure in FORBIDDEN:
                if re.search(pattern, line):
                    lint.find(path, number, f"{name} is forbidden", cure)
            if OUTPUT.search(line) and not path.startswith(PROGRAMS):
                lint.find(path, number, "a library prints", "return the error, or use kvshm/base/log.h in the daemon")
    lint.end()


main()
