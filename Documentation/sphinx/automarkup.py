# SPDX-License-Identifier: Apache-2.0
"""automarkup.py - sources stay plain to read; what they name becomes a link

    ``howto/vllm.rst``      a page, from Documentation/ on or beside the one that names it; its title is shown
    ``man/kvshmd.8``, ``kvshm-stat(1)``, kvshmd(8)   a manual
    ``kvshm_open()``        a function of the API

A page or manual that is not there is an error of the build.
"""
import os
import re

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

logger = logging.getLogger(__name__)
PAGE = re.compile(r"(?:Documentation/)?([\w./-]+)\.rst$")
MANUAL_FILE = re.compile(r"(?:Documentation/)?man/([\w.-]+\.[1-8])$")
MANUAL = re.compile(r"\b((?:lib)?kvshm[\w.-]*)\(([1-8])\)")
FUNCTION = re.compile(r"(kvshm_\w+)\(\)$")


class AutoMarkup(SphinxTransform):
    default_priority = 100

    def apply(self):
        for literal in list(self.document.findall(nodes.literal)):
            target = self.target(literal)
            if target is not None and not isinstance(literal.parent, (nodes.reference, addnodes.pending_xref)):
                literal.replace_self(target)
        for text in list(self.document.findall(nodes.Text)):
            if not isinstance(text.parent, (nodes.literal, nodes.literal_block, nodes.reference, nodes.title, nodes.raw)):
                self.link_manuals(text)

    def to_page(self, docname, shown, has_title=False):
        return addnodes.pending_xref("", shown, refdomain="std", reftype="doc", refdoc=self.env.docname,
                                     reftarget="/" + docname, refexplicit=not has_title, refwarn=True)

    def target(self, literal):
        text = literal.astext()
        page, manual, function = PAGE.match(text), MANUAL_FILE.match(text) or MANUAL.fullmatch(text), FUNCTION.match(text)
        if page:
            beside = os.path.join(os.path.dirname(self.env.docname), page[1])
            names = [os.path.normpath(n) for n in (page[1], beside) if "*" not in n]
            found = [n for n in names if n in self.env.found_docs]
            return self.to_page(found[0] if found else names[0], nodes.inline(text, text), has_title=True)
        if manual:
            name = manual[1] if "/" in text else f"{manual[1]}.{manual[2]}"
            return self.to_page("man/" + name, literal.deepcopy())
        if function:
            return addnodes.pending_xref("", literal.deepcopy(), refdomain="c", reftype="func", refdoc=self.env.docname,
                                         reftarget=function[1], refexplicit=True, refwarn=False)
        return None

    def link_manuals(self, text):
        parts, at = [], 0
        for m in MANUAL.finditer(text):
            name = f"man/{m[1]}.{m[2]}"
            if name not in self.env.found_docs:
                logger.warning("no manual %s", m[0], location=text.parent)
                continue
            parts += [nodes.Text(text[at:m.start()]), self.to_page(name, nodes.literal("", m[0]))]
            at = m.end()
        if parts:
            text.parent.replace(text, parts + [nodes.Text(text[at:])])


def setup(app):
    app.add_transform(AutoMarkup)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
