#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""pack - the package as a wheel, from what make has built; also the build backend of pyproject.toml

  pack.py --build DIR --out DIR      DIR/python holds the extension; prints the wheel's path

Packing takes no tool from an index: a wheel is a zip file with three files of metadata.  The same input
gives the same bytes.
"""
import argparse
import base64
import hashlib
import os
import re
import subprocess
import sysconfig
import tomllib
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BINARIES = ("_kvshm.abi3.so", "libkvshm.so.0")
TAG = f"cp39-abi3-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


def project():
    with open(os.path.join(HERE, "pyproject.toml"), "rb") as f:
        return tomllib.load(f)["project"]


def version():
    with open(os.path.join(ROOT, "kvshm/include/kvshm/version.h")) as f:
        return re.search(r'VERSION_STRING "(.*)"', f.read())[1]


def sources():
    """The package's own files, as path in the wheel and path here."""
    for folder, dirs, names in os.walk(os.path.join(HERE, "kvshm")):
        dirs[:] = sorted(d for d in dirs if d != "__pycache__")
        for name in sorted(names):
            if name.endswith((".py", ".pyi", "py.typed")):
                path = os.path.join(folder, name)
                yield os.path.relpath(path, HERE), path


def metadata(info):
    lines = ["Metadata-Version: 2.4", f"Name: {info['name']}", f"Version: {version()}", f"Summary: {info['description']}",
             f"Requires-Python: {info['requires-python']}", f"License-Expression: {info['license']}",
             "License-File: LICENSE", *(f"Classifier: {c}" for c in info["classifiers"])]
    return "\n".join(lines) + "\n"


def entry_points(info):
    groups = info.get("entry-points", {})
    return "".join(f"[{group}]\n" + "".join(f"{name} = {what}\n" for name, what in items.items())
                   for group, items in groups.items())


def contents(build):
    """Path in the wheel and bytes, RECORD excepted."""
    info = project()
    dist = f"{info['name']}-{version()}.dist-info"
    files = list(sources()) + [(f"kvshm/{name}", os.path.join(build, "python/kvshm", name)) for name in BINARIES]
    files.append((f"{dist}/licenses/LICENSE", os.path.join(ROOT, "LICENSE")))
    for path, place in files:
        with open(place, "rb") as f:
            yield path, f.read()
    yield f"{dist}/METADATA", metadata(info).encode()
    yield f"{dist}/WHEEL", f"Wheel-Version: 1.0\nGenerator: kvshm\nRoot-Is-Purelib: false\nTag: {TAG}\n".encode()
    yield f"{dist}/entry_points.txt", entry_points(info).encode()


def add(wheel, path, data):
    entry = zipfile.ZipInfo(path)               # dated 1980: the same input, the same bytes
    entry.external_attr = (0o755 if path.endswith((".so", ".so.0")) else 0o644) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    wheel.writestr(entry, data)


def pack(build, out):
    name = f"{project()['name']}-{version()}-{TAG}.whl"
    dist = f"{project()['name']}-{version()}.dist-info"
    os.makedirs(out, exist_ok=True)
    record = []
    with zipfile.ZipFile(os.path.join(out, name), "w") as wheel:
        for path, data in contents(build):
            add(wheel, path, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{path},sha256={digest},{len(data)}\n")
        add(wheel, f"{dist}/RECORD", "".join(record) + f"{dist}/RECORD,,\n")
    return name


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """PEP 517: build what is needed, then pack."""
    build = os.path.join(ROOT, "build")
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    subprocess.run(["make", "-C", ROOT, f"O={build}", "python"], check=True, env=env)
    return pack(build, wheel_directory)


def main():
    parser = argparse.ArgumentParser(description="pack the built package as a wheel")
    parser.add_argument("--build", required=True)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    print(os.path.join(options.out, pack(options.build, options.out)))


if __name__ == "__main__":
    main()
