#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""layers - who may include whom

Each include against the deps- lines of the module.mk files, which are also what make links from;
the lines themselves through tsort, which refuses a cycle; third-party headers against their doors.
"""
import os
import re

from lintlib import FOLDERS, Lint, ROOT, run, sources, text

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
DEPS = re.compile(r"^deps-([\w-]+)[ \t]*:=[ \t]*(.*)$", re.M)
# Header, the only places that may include it
DOORS = (
    (r"rte_\w+\.h|dpdk/.*", ("kvshm/daemon/",)),
    (r"(cuda|nvml|cufile)[\w.]*\.h", ("gpu/",)),
    (r"numa(if)?\.h", ("kvshm/daemon/numa.c",)),
    (r"jansson\.h", ("utils/json.c", "utils/read_jsonl.c", "kvshm/engines/llama/program/")),
    (r"lzma\.h", ("utils/reader_input.c",)),
    (r"zstd\.h", ("utils/reader_input.c", "utils/packed.c")),
    (r"xxhash\.h", ("kvshm/base/", "kvshm/index/")),
    (r"(llama|ggml|gguf)[\w-]*\.h", ("kvshm/engines/llama/",)),
    (r"microhttpd\.h", ("utils/http.c", "kvshm/engines/llama/program/serve")),
    (r"zmq\.h", ("utils/kv_zmq.c",)),
    (r"msgpack\.h", ("utils/kv_msgpack.c",)),
    (r"(n?curses|term)\.h", ("utils/screen.c",)),
    (r"cmocka\.h", ()),
)


def modules():
    """Folder of each module, and its deps line with the place it stands."""
    found = {}
    for path in sources("module.mk"):
        for m in DEPS.finditer(text(path)):
            found[m[1]] = (m[2].split(), path, text(path)[:m.start()].count("\n") + 1)
    return found


def module_of(folder, names):
    """The module that owns a folder: its own name or that of the nearest one above."""
    while folder:
        name = folder.replace("/", "-")
        if folder == "kvshm/include" or name in names:
            return "include" if folder == "kvshm/include" else name
        folder = os.path.dirname(folder)
    return None


def check_doors(lint, path, line, header):
    for pattern, doors in DOORS:
        if re.fullmatch(pattern, header) and not path.startswith(doors or ("//",)):
            lint.find(path, line, f"<{header}> has its own door",
                      f"only {' and '.join(doors) or 'tests'} may include it: call what it offers")


def check_include(lint, path, line, own, deps, quote, header, names):
    if quote == "<":
        if header.startswith("kvshm/"):
            if own != "include" and "include" not in deps:
                lint.find(path, line, f"{own} includes <{header}> but its deps line does not name include",
                          "add it to module.mk if the layer may know the public headers, else pass plain values")
        else:
            check_doors(lint, path, line, header)
        return
    if own == "include":
        lint.find(path, line, f'public header includes "{header}"', "public headers need only standard and <kvshm/...> headers")
        return
    if not os.path.exists(os.path.join(ROOT, header)):
        lint.find(path, line, f'"{header}" is no path from the root', "write the path from the root, and <...> for foreign headers")
        return
    target = module_of(os.path.dirname(header), names)
    if target == "include":
        lint.find(path, line, f'public header by its path "{header}"', f'write <{header[len("kvshm/include/"):]}>')
    elif target is None:
        lint.find(path, line, f'"{header}" lies in no module', "only modules' headers may be included")
    elif target != own and target not in deps:
        lint.find(path, line, f"{own} may not include {target}",
                  f"its deps line names: {' '.join(deps) or 'nothing'}; move the code, or pass what is needed from above")


def check_cycles(lint, mods):
    pairs = [f"{d} {m}" for m, (deps, _, _) in mods.items() for d in deps]
    if run(["tsort"], "\n".join(pairs) + "\n").returncode:
        # what tsort cannot order: take away what has no unmet need until nothing moves
        left = dict(mods)
        while True:
            free = [m for m in left if not set(left[m][0]) & set(left)]
            if not free:
                break
            for m in free:
                del left[m]
        name, (_, path, line) = next(iter(left.items()))
        lint.find(path, line, "cycle in the deps lines among " + " ".join(left), "move what both need to a lower module")


def main():
    lint = Lint("layers", "includes against deps lines, cycles, doors")
    mods = modules()
    for name, (deps, path, line) in mods.items():
        for d in deps:
            if d != "include" and d not in mods:
                lint.find(path, line, f"deps-{name} names {d}, which no module.mk defines", "correct the name")
    for path in sources(".c", ".h"):
        own = module_of(os.path.dirname(path), mods)
        if own is None:
            lint.find(path, 1, "lies in no module", f"give its folder a module.mk with a deps- line ({' '.join(FOLDERS)})")
            continue
        deps = mods[own][0] if own in mods else []
        content = re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m[0]), text(path), flags=re.S)
        for m in INCLUDE.finditer(content):
            line = content[:m.start()].count("\n") + 1
            check_include(lint, path, line, own, deps, m[1], m[2], mods)
            if m[1] == '"':
                check_doors(lint, path, line, m[2])
    check_cycles(lint, mods)
    lint.end()


main()
