"""Check a script and find the type of everything in it.

    Program ─config→ limits ─resolve→ instances ─walks until no type changes→ Checked

Maps are shared by all instances, variables are each instance's own. Raises ScriptError with every
fault of the first stage that found one.
"""

from __future__ import annotations

from bpfscript.c_library import CLibrary
from bpfscript.diagnostics import Diagnostic, Reporter, ScriptError
from bpfscript.target import Target
from bpfscript.types import INT64, VOID

from . import nodes
from .check_base import CNames
from .check_functions import Functions
from .config import configure
from .functions import MACROS
from .scopes import Scopes
from .typed import Checked, Options

MAX_WALKS = 50


def check(
    program: nodes.Program, target: Target, options: Options, names: CNames | None = None
) -> Checked:
    """Types of a program for a target. `names`: what C names mean, instead of the target's."""
    from .c_macros import expand_c_macros
    from .ctypes import CTypes
    from .resolve import resolve

    report = Reporter()
    configuration = configure(program.config, options.environment, report)
    report.raise_errors()
    limits = configuration.limits
    library = CLibrary()
    inside = configuration.unstable("import_statement") != "error"
    program = _with_imports(program, options, report, library, inside)
    program = _without_macros(program, report)
    known = CTypes(
        lambda: target.btf, program.c_definitions, options.include_dirs, options.include_files,
        lambda: filter(None, map(target.module_btf, target.modules)),
    )  # fmt: skip
    if program.c_definitions or options.include_files:
        known.read_own()
        program = expand_c_macros(program, names or known)
    instances = resolve(program, target, options, limits, report, known)
    report.raise_errors()
    checked = Checked(program, instances, options, limits, configuration.settings, library=library)
    found = Checker(checked, target, names or known, configuration).run()
    checked.warnings = _distinct([*report.warnings, *found.warnings])
    if found.errors:
        raise ScriptError([*_distinct(found.errors), *checked.warnings])
    return checked


def _with_imports(
    program: nodes.Program, options: Options, report: Reporter, library: CLibrary, inside: bool
) -> nodes.Program:
    """inside: those in bodies, too."""
    if not program.imports and not inside:
        return program
    from .imports import merge

    return merge(program, options, report, library, inside)


def _without_macros(program: nodes.Program, report: Reporter) -> nodes.Program:
    """Nothing is loaded for a script that neither defines nor names a macro."""
    if any(isinstance(item, nodes.Macro | nodes.Function) for item in program.items):
        from .jumps import check_jumps

        check_jumps(program, report)
        report.raise_errors()
    elif not program.imports and not any(name in program.span.source.text for name in MACROS):
        return program
    from .macros import expand

    program = expand(program, report)
    report.raise_errors()
    return program


class Checker(Functions):
    def run(self) -> Reporter:
        """Walk until nothing changes and fill the tables. What the last walk reported."""
        instances = self.checked.instances + self.uncalled()
        scopes = [Scopes() for _ in instances]
        everywhere = self.names
        for _ in range(MAX_WALKS):
            self.report, self.changed = Reporter(), False
            for instance, scope in zip(instances, scopes, strict=True):
                self.instance, self.scopes = instance, scope
                self.names = instance.c_names or everywhere
                self._walk(instance.probe)
            if not self.changed and not self.settle_unknown():
                break
        self.names = everywhere
        self._finish(scopes)
        return self.report

    def _walk(self, probe: nodes.Probe) -> None:
        self.scopes.restart()
        if probe.predicate is not None:
            self.condition(probe.predicate, probe.predicate)
        self.body(probe.body)
        for local, span in self.scopes.declared:
            if not self.scopes.assigned(local):
                self.report.warning(span, f"Variable {local.name} was never assigned to.")

    def _finish(self, scopes: list[Scopes]) -> None:
        items = self.checked.program.items
        declared = {i.name: i for i in items if isinstance(i, nodes.MapDeclaration)}
        self.check_declarations(declared)
        self.check_options()
        for scope in scopes:
            self.checked.locals.update(scope.bindings)
            for local, _ in scope.declared:
                if local.type == VOID:
                    local.type = INT64  # nothing ever reads or writes it
        self.checked.maps.update(self.map_infos(declared))
        for state in self.maps.values():
            self.show(state.key)
            self.show(state.value)


def _distinct(diagnostics: list[Diagnostic]) -> list[Diagnostic]:
    """Without repetition: bodies are checked once for each context that they run in."""
    seen = {(d.span, d.message): d for d in reversed(diagnostics)}
    kept = {id(d) for d in seen.values()}
    return [d for d in diagnostics if id(d) in kept]
