# SPDX-License-Identifier: Apache-2.0
"""The site of `make htmldocs`: sphinx/stage.py lays its sources out, so build that, not this folder."""
import os
import re
import sys

sys.path.insert(0, os.path.abspath("sphinx"))
root = os.environ["KVSHM_ROOT"]         # of the tree, where the headers are
os.environ["srctree"] = root            # how linuxdoc calls it

with open(os.path.join(root, "kvshm/include/kvshm/version.h"), encoding="utf-8") as f:
    version = release = re.search(r'KVSHM_VERSION_STRING "(.*)"', f.read())[1]

project = "kvshm"
copyright = "the kvshm authors, Apache License 2.0"
extensions = ["linuxdoc.rstKernelDoc", "automarkup"]
kernel_doc_verbose_warn = False
exclude_patterns = ["sphinx"]
primary_domain = "c"
highlight_language = "none"
nitpicky = True
# of libc, of llama.cpp, of the GPU driver, and tags of our own that the API keeps opaque
nitpick_ignore_regex = [("c:func", r"llama_.*|cu(da)?[A-Z].*|ibv_.*"), ("c:identifier", r"u?int\d+_t|size_t|ssize_t|kvshm|kvshm_gpu|kvshm_stage|kvshm_service|kvshm_service_pool|kvshm_migrate|kvshm_file|kvshm_llama|kvshm_key|llama_.*")]
html_theme = "furo"
html_title = f"kvshm {release}"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_static_path = ["sphinx/static"]
html_css_files = ["kvshm.css"]
