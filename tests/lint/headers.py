#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""headers - every header compiles alone; public ones also as strict C11 and as C++"""
import concurrent.futures
import os
import re
import shutil

from lintlib import Lint, run, sources

PUBLIC = "kvshm/include/"
WARN = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-unused-function"]


def make_flags():
    """CPPFLAGS and each folder's own, as the build has them."""
    r = run(["make", "-s", "--no-print-directory", "--eval",
             "lint-flags: ; $(info flags:$(CPPFLAGS) $(foreach v,$(filter-out cflags-of,$(filter cflags-%,$(.VARIABLES))),$($(v)))) @:", "lint-flags"])
    m = re.search(r"^flags:(.*)$", r.stdout, re.M)
    if not m:
        raise SystemExit(f"headers: make does not tell its flags: {r.stderr.strip()}")
    return m[1].split()


def compilers(header):
    for cc in ("gcc", "clang"):
        if shutil.which(cc):
            yield [cc, "-std=gnu11", "-x", "c"]
            if header.startswith(PUBLIC):
                yield [cc, "-std=c11", "-pedantic", "-x", "c"]
    for cxx in ("g++", "clang++"):
        if shutil.which(cxx) and header.startswith(PUBLIC):
            yield [cxx, "-std=c++17", "-x", "c++"]


def compile_alone(header, flags):
    name = f"<{header[len(PUBLIC):]}>" if header.startswith(PUBLIC) else f'"{header}"'
    for argv in compilers(header):
        # twice: the include guard holds
        r = run(argv + WARN + flags + ["-fsyntax-only", "-"], f"#include {name}\n#include {name}\ntypedef int not_empty;\n")
        if r.returncode:
            errors = re.findall(r"^(.*?):([0-9]+):(?:[0-9]+:)? *((?:fatal )?error: .*)$", r.stderr, re.M)
            path, line, message = errors[0] if errors else (header, 1, r.stderr.strip()[:200])
            return header, os.path.normpath(path), line, f"{argv[0]} {argv[1]}: {message}"
    return None


def main():
    lint = Lint("headers", "each compiles alone")
    flags = make_flags()
    if not shutil.which("g++") and not shutil.which("clang++"):
        print("headers: no C++ compiler here: public headers are checked as C only")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for bad in filter(None, pool.map(lambda h: compile_alone(h, flags), list(sources(".h")))):
            header, path, line, message = bad
            lint.find(header if path.startswith(("<", "/")) else path, line, f"{header} does not compile alone: {message}",
                      "include what it uses, or declare the struct")
    lint.end()


main()
