"""`-l`: names of what can be traced, of what a script traces, and of types; with their contents.

    tracepoint:sched:sched_wakeup
        char comm[16]
        pid_t pid

A pattern is looked up as an attach point is, except where attach points take no wildcards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter

from bpfscript.btf import Btf, BtfType
from bpfscript.c_text import definition, members, parameters, result
from bpfscript.diagnostics import Reporter, Source, Span
from bpfscript.frontend import (
    resolve_kernel,
    resolve_other,
    resolve_timed,
    resolve_usdt,
    resolve_user,
)
from bpfscript.frontend.attach_points import split
from bpfscript.frontend.nodes import Probe, Program
from bpfscript.frontend.probes import (
    ALIASES,
    EVENT_ALIASES,
    HARDWARE,
    PROBES,
    SOFTWARE,
    UNITS,
    ProbeKind,
)
from bpfscript.frontend.resolve import points
from bpfscript.frontend.resolve_base import Match, Point, Search
from bpfscript.frontend.resolve_kernel import KERNEL
from bpfscript.frontend.resolve_trampoline import ITERATOR, typed_functions
from bpfscript.frontend.typed import Limits, Options
from bpfscript.target import MachineError, Target, matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfscript.btf import Kind

_RESOLVERS: dict[str, Callable[[Point, Search], list[Match]]] = {
    "test": resolve_other.named,
    "bench": resolve_other.named,
    "kprobe": resolve_kernel.kprobe,
    "kretprobe": resolve_kernel.kprobe,
    "tracepoint": resolve_kernel.tracepoint,
    "rawtracepoint": resolve_kernel.rawtracepoint,
    "uprobe": resolve_user.uprobe,
    "uretprobe": resolve_user.uprobe,
    "usdt": resolve_usdt.usdt,
    "profile": resolve_timed.timer,
    "interval": resolve_timed.timer,
    "software": resolve_timed.counter,
    "hardware": resolve_timed.counter,
}
_COUNTED = {
    "interval": tuple(UNITS),
    "profile": tuple(UNITS),
    "software": (*SOFTWARE, *(a for a, name in EVENT_ALIASES.items() if name in SOFTWARE)),
    "hardware": (*HARDWARE, *(a for a, name in EVENT_ALIASES.items() if name in HARDWARE)),
}
"""First parts of the kinds whose last part is a number."""

_TYPED = ("kprobe", "kretprobe", "fentry", "fexit", "rawtracepoint", "iter")  # by the kernel's BTF
_SILENT = ("begin", "end", "self")  # of a script, not worth a line
_NOT_ITERATOR = "__safe_trusted"  # what ends the name of a struct that is none
_TYPES: dict[str, tuple[Kind, ...]] = {
    "struct": ("struct",),
    "union": ("union",),
    "enum": ("enum", "enum64"),
}
_INDENT = "    "


class Listing:
    """Lists what a target has. `warn` takes a line about what could not be listed."""

    def __init__(self, target: Target, options: Options, warn: Callable[[str], None]) -> None:
        self._target, self._options, self._warn = target, options, warn

    def patterns(self, text: str, verbose: bool = False) -> Iterator[str]:
        """Lines for a comma list of patterns; each one's matches are sorted."""
        for pattern in text.split(","):
            keyword, _, name = pattern.strip().partition(" ")
            if keyword in _TYPES and name:
                yield from self._types(keyword, name.strip(), verbose)
            else:
                yield from self._shown(self._pattern(pattern.strip()), verbose)

    def program(self, program: Program, verbose: bool = False) -> Iterator[str]:
        """Lines for the probes of a script, in its order. Raises ScriptError."""
        report = Reporter()
        search = Search(self._target, self._options, Limits(), report)
        found: list[str] = []
        for probe in program.items:
            if isinstance(probe, Probe):
                for attach_point in probe.attach_points:
                    for point in points(attach_point, search):
                        if point.kind.name not in _SILENT:
                            found += self._names(point, search)
        report.raise_errors()
        yield from self._shown(found, verbose)

    def _shown(self, names: Iterable[str], verbose: bool) -> Iterator[str]:
        for name in names:
            yield name
            if verbose:
                yield from (f"{_INDENT}{line}" for line in self._contents(name))

    def _pattern(self, pattern: str) -> Iterator[str]:
        word, *parts = split(pattern if ":" in pattern else f"*:{pattern}")
        span = Span(Source("pattern", pattern), 0, len(pattern))
        kinds = self._kinds(word, parts)
        if not kinds:
            self._warn(f"no kind of probe matches '{word}'")
        for kind in kinds:
            any_category = ["*"] if kind.name == "tracepoint" and len(parts) == 1 else []
            point = Point(kind, (*any_category, *parts), span)
            search = Search(self._target, self._options, Limits(), Reporter())
            try:
                names = sorted(set(self._names(point, search)))
            except MachineError as error:
                if "*" not in word:
                    raise
                self._warn(str(error))
                continue
            if not names and "*" not in word:
                for diagnostic in search.report.errors:
                    self._warn(diagnostic.message)
            yield from names

    def _kinds(self, word: str, parts: list[str]) -> list[ProbeKind]:
        """Rows of the table that a word names; all of a family for a wildcard."""
        if "*" not in word:
            row = ALIASES.get(word) or PROBES.get(word.lower())
            return [row] if row else []
        families = ["user"] if "/" in parts[0] else ["kernel"]
        families += ["user"] if self._options.pid is not None else []
        rows = (row for row in PROBES.values() if row.listed in families)
        return sorted(
            (row for row in rows if matches(word.lower(), row.name)), key=lambda row: row.name
        )

    def _names(self, point: Point, search: Search) -> list[str]:
        kind = point.kind.name
        is_pattern = point.span.source.name == "pattern"
        if kind in _COUNTED and is_pattern:
            found = [name for name in _COUNTED[kind] if matches(point.parts[0], name)]
            return [f"{kind}:{name}:" for name in found]
        if kind in ("begin", "end"):
            return [kind]
        if kind == "self":
            signal = "signal:SIGUSR1"
            return [f"self:{signal}"] if matches(":".join(point.parts), signal) else []
        if lister := _LISTERS.get(kind):
            return list(lister(self, point))
        if kind not in _RESOLVERS or not self._fits(point):
            return []
        names = [match.attach.name for match in _RESOLVERS[kind](point, search)]
        if kind in _COUNTED or kind in ("test", "bench"):
            return [":".join(name.split(":")[:2]) + ":" for name in names]
        return names

    def _fits(self, point: Point) -> bool:
        alone = len(point.parts) == 1 and self._options.pid is not None
        return len(point.parts) in point.kind.parts or (point.kind.listed == "user" and alone)

    def _trampolines(self, point: Point) -> Iterator[str]:
        """fentry and fexit: traceable functions with a type."""
        *modules, function = point.parts
        if not self._target.btf or not self._target.has("fentry"):
            return
        module = modules[0] if modules else "*"
        known = self._target.kernel_functions(function)
        known = [row for row in known if matches(module, row[0] or KERNEL)]
        for owner, name in typed_functions(self._target, known):
            yield f"{point.kind.name}:{owner or KERNEL}:{name}"

    def _iterators(self, point: Point) -> Iterator[str]:
        if not self._target.btf or not self._target.has("iter"):
            return
        for type in self._all("struct"):
            name = type.name.removeprefix(ITERATOR)
            listed = name != type.name and not name.endswith(_NOT_ITERATOR)
            if listed and matches(point.parts[0], name):
                yield f"iter:{name}"

    def _all(self, *kinds: Kind) -> Iterator[BtfType]:
        """The types of the kernel and of its modules."""
        for module in (KERNEL, *self._target.modules):
            if btf := self._btf(module):
                yield from btf.all(*kinds)

    def _btf(self, module: str) -> Btf | None:
        return self._target.btf if module == KERNEL else self._target.module_btf(module)

    def _declarations(self, path: str, function: str) -> list[str]:
        """Parameters of a program's function, by its debug information."""
        info = self._target.debug_info(path)
        if info is None:
            self._warn(f'No DWARF found for "{path}", cannot show parameter info')
            return []
        symbols = (s for s in self._target.user_symbols(path) if s.name == function)
        symbol = next(symbols, None)
        return (info.declarations(symbol.address) if symbol else None) or []

    def _types(self, keyword: str, pattern: str, verbose: bool) -> Iterator[str]:
        btf = self._target.btf
        if btf is None:
            raise MachineError("this kernel has no BTF: its types are not known")
        kinds = _TYPES[keyword]
        if "*" in pattern:
            found = [t for t in self._all(*kinds) if t.name and matches(pattern, t.name)]
        else:
            btfs = map(self._btf, (KERNEL, *self._target.modules))
            found = [t for btf in btfs if btf and (t := btf.own(pattern, *kinds))]
        named = {(t.name, t.of.module): t for t in reversed(found)}
        if not verbose:
            yield from (f"{keyword} {name}" for name in sorted({name for name, _ in named}))
            return
        for (_, module), type in sorted(named.items(), key=itemgetter(0)):
            yield f"{module or KERNEL}: {definition(type.of, type)};\n"

    def _contents(self, name: str) -> list[str]:
        """What a probe's body may read of its event, as C text."""
        kind, *parts = name.split(":")
        if kind == "tracepoint":
            return _fields(self._target.tracepoint_format(*parts) or "")
        if kind in ("uprobe", "uretprobe"):
            return self._declarations(parts[0], parts[-1]) if kind == "uprobe" else []
        btf = self._btf(parts[0]) if len(parts) > 1 else self._target.btf
        if btf is None or kind not in _TYPED:
            return []
        if kind == "iter":
            context = next((t for t in self._all("struct") if t.name == ITERATOR + parts[0]), None)
            found = members(context.of, context) if context else []
            return [f"{type} {member}" for type, member in found]
        if kind == "rawtracepoint":  # the first parameter is the tracer's own
            given = parameters(btf, f"__traceiter_{parts[-1]}")[1:]
            return [f"{type} {parameter}" for type, parameter in given]
        function = parts[-1].partition("+")[0]
        given = parameters(btf, function) if kind != "kretprobe" else []
        lines = [
            f"{type} {f'arg{index}' if kind == 'kprobe' else parameter}"
            for index, (type, parameter) in enumerate(given)
        ]
        returned = result(btf, function) if kind in ("kretprobe", "fexit") else None
        return [*lines, f"{returned} retval"] if returned else lines


_LISTERS: dict[str, Callable[[Listing, Point], Iterator[str]]] = {
    "fentry": Listing._trampolines,
    "fexit": Listing._trampolines,
    "iter": Listing._iterators,
}


def _fields(text: str) -> list[str]:
    """Declarations of a tracepoint's `format`, without those that all events share."""
    lines = (line.strip() for line in text.splitlines())
    fields = (line[len("field:") :].partition(";")[0] for line in lines if line[:6] == "field:")
    return [f for f in fields if not f.split()[-1].startswith("common_")]
