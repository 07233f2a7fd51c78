"""`import "file"`: what other files hold, merged into the program (LANGUAGE §1.8)."""

from __future__ import annotations

import posixpath

from bpfscript.diagnostics import Reporter, ScriptError, Source

from . import nodes
from .typed import Importer

COMPILED = (".bpf.c", ".bpf.o")
SUPPORTED = (".bt", ".h", *COMPILED)


def merge(program: nodes.Program, importer: Importer | None, report: Reporter) -> nodes.Program:
    """The program with the items of all files that it imports in front of its own.

    Raises ScriptError for files that are not there, not to be trusted or wrong.
    """
    if importer is None:
        report.error(program.imports[0].span, "this script may not import files")
        raise ScriptError(report.errors)
    imports = _Imports(importer, posixpath.dirname(program.span.source.name), report)
    for node in program.imports:
        imports.load(node)
    report.raise_errors()
    return nodes.evolve(
        program,
        c_definitions=(*imports.definitions, *program.c_definitions),
        items=(*imports.items, *program.items),
    )


class _Imports:
    def __init__(self, importer: Importer, root: str, report: Reporter) -> None:
        self.importer, self.root, self.report = importer, root, report
        self.items: list[nodes.Item] = []
        self.definitions: list[nodes.CDefinition] = []
        self.seen: set[str] = set()

    def load(self, node: nodes.Import) -> None:
        path = self._found(node)
        if path is None:
            return
        if self.importer.kind(path) == "file":
            self._file(node, path)
            return
        for name in self.importer.names(path):
            inner = posixpath.join(path, name)
            if not name.endswith(SUPPORTED) or self.importer.kind(inner) != "file":
                continue
            if self.importer.writable_by_all(inner):
                self.report.error(
                    node.span,
                    "cowardly refusing to import from a directory with global write permissions: "
                    f'"{inner}"',
                )
            else:
                self._file(node, inner)

    def _found(self, node: nodes.Import) -> str | None:
        """The path as seen from the importing file, or else from the script that is run."""
        near = posixpath.dirname(node.span.source.name)
        paths = dict.fromkeys(posixpath.join(place, node.path) for place in (near, self.root))
        for path in paths:
            if self.importer.kind(path) is None:
                continue
            if not self.importer.writable_by_all(path):
                return path
            text = f'skipping due to global write permissions: "{path}"'
            self.report.warning(node.span, text)
        if node.path != "stdlib":  # which is always there
            hint = f"checked: {','.join(paths)}"
            self.report.error(node.span, "Unable to find suitable path for import", hint)
        return None

    def _file(self, node: nodes.Import, path: str) -> None:
        if posixpath.normpath(path) in self.seen:
            return
        self.seen.add(posixpath.normpath(path))
        name = posixpath.basename(path)
        if name.endswith(COMPILED):
            self.report.error(node.span, f'importing C functions is not supported yet: "{name}"')
        elif name.endswith(".h"):
            text = f'#include "{path}"'
            self.definitions.append(nodes.CDefinition(span=node.span, text=text))
        elif name.endswith(".bt"):
            self._script(node, path)
        else:
            self.report.error(node.span, f'unknown import type: "{name}"')

    def _script(self, node: nodes.Import, path: str) -> None:
        from .parser import parse

        program = parse(Source(path, self.importer.text(path), node.span))
        if program.config is not None and program.config.entries:
            self.report.error(program.config.span, "invalid `config` within import")
        for inner in program.imports:
            self.load(inner)
        self.definitions += program.c_definitions
        self.items += program.items
