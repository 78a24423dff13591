#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""cuda_stubs.py - stand-ins for the CUDA libraries that PyPI's torch wants to load

PyPI's torch for Linux is its CUDA build: without the CUDA libraries, 3 GB of wheels, it does not
even import, and on a machine without a GPU none of their functions is ever called.  This makes one
small library for each name that torch's libraries need and nobody provides.  The loader checks
names, versions and whether a symbol is data, so the stand-ins have what torch's libraries ask for;
each function says cudaErrorNoDevice, hence torch.cuda.is_available() is False.

usage: cuda_stubs.py SITE_PACKAGES      needs gcc and readelf
"""

import collections
import ctypes
import os
import re
import subprocess
import sys
import tempfile

NO_DEVICE = 100                 # cudaErrorNoDevice and CUDA_ERROR_NO_DEVICE
DATA_BYTES = 4096
SYSTEM = re.compile(r"(lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+|gomp[-\w]*)|ld-linux[-\w]*)\.so")
Symbol = collections.namedtuple("Symbol", "name version is_defined is_weak is_data")


def readelf(path, what):
    return subprocess.run(["readelf", "-W", what, path], check=True, capture_output=True, text=True).stdout


class Library:
    """What one of torch's libraries needs and has."""

    def __init__(self, path):
        self.name = os.path.basename(path)
        self.needed = re.findall(r"\(NEEDED\).*\[(.+)\]", readelf(path, "-d"))
        self.symbols = list(self._symbols(path))
        self.home = self._homes(path)           # version -> the library that it is asked of

    @staticmethod
    def _symbols(path):
        for line in readelf(path, "--dyn-syms").splitlines():
            field = line.split()
            if len(field) < 8 or not field[0].rstrip(":").isdigit():
                continue
            name, _, version = field[7].partition("@")
            yield Symbol(name, version.lstrip("@"), field[6] != "UND", field[4] == "WEAK", field[3] == "OBJECT")

    @staticmethod
    def _homes(path):
        home, soname = {}, None
        for line in readelf(path, "-V").splitlines():
            file = re.search(r"File: (\S+)", line)
            version = re.search(r"Name: (\S+)\s+Flags:", line)
            soname = file[1] if file else soname
            if version and soname:
                home[version[1]] = soname
        return home


def system_scope(libraries):
    """A handle that finds what the interpreter, libc, libstdc++ and the like have."""
    for name in {so for lib in libraries for so in lib.needed if SYSTEM.match(so)}:
        try:
            ctypes.CDLL(name, ctypes.RTLD_GLOBAL)
        except OSError:
            pass                # one that torch brings itself, as libgomp
    return ctypes.CDLL(None)


def wanted(libraries):
    """{soname: {version: {symbol: is it data}}}; '' is the version of a symbol that has none."""
    ours = {lib.name for lib in libraries}
    system = system_scope(libraries)
    defined = {s.name for lib in libraries for s in lib.symbols if s.is_defined}
    want = {}
    for lib in libraries:
        foreign = [so for so in lib.needed if so not in ours and not SYSTEM.match(so)]
        for so in foreign:
            want.setdefault(so, collections.defaultdict(dict))
        for s in lib.symbols:
            if s.is_defined or s.is_weak or s.name in defined:
                continue
            if not s.version and hasattr(system, s.name):
                continue
            # Without a version a symbol names no library, and the loader takes it from any that is loaded.
            so = lib.home.get(s.version) if s.version else next(iter(foreign), None)
            if so in want:
                want[so][s.version][s.name] = s.is_data
    return want


def make_stub(path, versions):
    source, script = [], []
    for version, symbols in versions.items():
        for name, is_data in sorted(symbols.items()):
            source.append(f"char {name}[{DATA_BYTES}];" if is_data else f"int {name}(void) {{ return {NO_DEVICE}; }}")
        if version:
            script.append(f"{version} {{ global: {' '.join(name + ';' for name in sorted(symbols))} }};")
    with tempfile.TemporaryDirectory() as tmp:
        c_file, map_file = os.path.join(tmp, "stub.c"), os.path.join(tmp, "stub.map")
        for file, lines in ((c_file, source), (map_file, script)):
            with open(file, "w", encoding="ascii") as f:
                f.write("\n".join(lines) + "\n")
        subprocess.run(["gcc", "-w", "-shared", "-fPIC", "-fno-builtin", "-o", path, c_file,
                        f"-Wl,-soname,{os.path.basename(path)}",
                        *([f"-Wl,--version-script={map_file}"] if script else [])], check=True)


def main(site):
    torch = os.path.join(site, "torch")
    paths = [os.path.join(folder, name) for folder in (torch, os.path.join(torch, "lib"))
             for name in sorted(os.listdir(folder)) if re.search(r"\.so(\.|$)", name)]
    out = os.path.join(site, "nvidia", "cu13", "lib")       # on the run path of torch's libraries
    os.makedirs(out, exist_ok=True)
    want = wanted([Library(path) for path in paths])
    for so, versions in want.items():
        make_stub(os.path.join(out, so), versions)
    count = sum(len(symbols) for versions in want.values() for symbols in versions.values())
    print(f"{len(want)} stand-ins, {count} symbols")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
