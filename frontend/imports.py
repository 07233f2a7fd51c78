"""`import "file"`: what other files hold, merged into the program (LANGUAGE §1.8)."""

from __future__ import annotations

import posixpath
from itertools import chain

from bpfscript.btf import BtfError
from bpfscript.c_library import CLibrary
from bpfscript.codec import ObjectError
from bpfscript.diagnostics import Reporter, ScriptError, Source

from . import nodes
from .c_functions import signature
from .typed import Importer, Options

COMPILED = (".bpf.c", ".bpf.o")
HEADERS = {
    "vmlinux.h": "make it: bpftool btf dump file /sys/kernel/btf/vmlinux format c > vmlinux.h",
    "bpf/bpf_helpers.h": "install libbpf's headers (libbpf-dev, libbpf-devel)",
}
"""Where C gets headers that are not there."""
FOR_BODIES = (".c", ".h", ".o")
SUPPORTED = (".bt", ".h", *COMPILED)


def merge(
    program: nodes.Program,
    options: Options,
    report: Reporter,
    library: CLibrary,
    inside: bool = False,
) -> nodes.Program:
    """The program with the items of all files that it imports in front of its own.

    library: takes what is compiled. inside: bodies may import, too. Raises ScriptError for files
    that are not there, not to be trusted or wrong.
    """
    within = chain.from_iterable(map(nodes.walk, program.items if inside else ()))
    nested = [node for node in within if isinstance(node, nodes.Import)]
    if not program.imports and not nested:
        return program
    if options.importer is None:
        report.error((*program.imports, *nested)[0].span, "this script may not import files")
        raise ScriptError(report.errors)
    root = posixpath.dirname(program.span.source.name)
    imports = _Imports(options.importer, options, root, report, library)
    for node in program.imports:
        imports.load(node)
    for node in nested:
        if node.path.endswith(FOR_BODIES):
            imports.load(node)
        else:
            text = "inside of a body, only a C file, a header or an object can be imported"
            report.error(node.span, text)
    report.raise_errors()
    library.link()
    return nodes.evolve(
        program,
        c_definitions=(*imports.definitions, *program.c_definitions),
        items=(*imports.items, *program.items),
    )


class _Imports:
    def __init__(
        self, importer: Importer, options: Options, root: str, report: Reporter, library: CLibrary
    ) -> None:
        self.importer, self.options, self.root = importer, options, root
        self.report, self.library = report, library
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
            self._compiled(node, path, name)
        elif name.endswith(".h"):
            if "include" in self.importer.text(path) or "embed" in self.importer.text(path):
                self.importer.unwatched(path)
            text = f'#include "{path}"'
            self.definitions.append(nodes.CDefinition(span=node.span, text=text))
        elif name.endswith(".bt"):
            self._script(node, path)
        else:
            self.report.error(node.span, f'unknown import type: "{name}"')

    def _compiled(self, node: nodes.Import, path: str, name: str) -> None:
        """C, or the object that was made of it."""
        read = self.options.read_object
        if read is None:
            self.report.error(node.span, f'this script may not import compiled code: "{name}"')
            return
        self.importer.identity(path)
        data = self._made(node, path, name) if name.endswith(".c") else self.importer.data(path)
        if data is None:
            return
        try:
            found = read(posixpath.normpath(path), data)
            for function in found.functions.values():
                signature(function)  # of damaged types, too, the import is the place
        except (ObjectError, BtfError) as error:
            self.report.error(node.span, f'cannot import "{name}": {error}')
            return
        for hidden in self.library.add(found):
            text = f'{hidden}() of "{name}" is hidden by that of an earlier import'
            self.report.warning(node.span, text)

    def _made(self, node: nodes.Import, path: str, name: str) -> bytes | None:
        """The object of a C file; None if there is none to be had."""
        if not self.importer.compiler():
            text = f'importing "{name}" takes clang, which is not in PATH'
            hint = "install clang, or import what it made of the file elsewhere, a .bpf.o"
            self.report.error(node.span, text, hint)
            return None
        data, said, files = self.importer.compiled(path, self.options.include_dirs)
        if not data:
            found = [how for header, how in HEADERS.items() if f"'{header}' file not found" in said]
            text = f'clang could not compile "{name}"'
            self.report.error(node.span, text, "\n".join([said, *found]))
            return None
        for file in files:
            self.importer.identity(file)
        if said:
            self.report.warning(node.span, f'clang warns of "{name}"', said)
        return data

    def _script(self, node: nodes.Import, path: str) -> None:
        from .parser import parse

        program = parse(Source(path, self.importer.text(path), node.span))
        if program.config is not None and program.config.entries:
            self.report.error(program.config.span, "invalid `config` within import")
        for inner in program.imports:
            self.load(inner)
        self.definitions += program.c_definitions
        self.items += program.items
