"""Checked script → ir.Module: one function a program, maps, events. The rest is in lower_*.py."""

from __future__ import annotations

from bpfscript.ir.core import Entry, Function, Module, Value
from bpfscript.ir.types import CTX, I32
from bpfscript.manifest import GLOBALS_LAYOUT, Internal, MapDef, MapType, ProbeInfo, ProgramType
from bpfscript.target import Target
from bpfscript.types import Aggregate

from . import nodes
from .body import Body
from .lower_builtins import process
from .lower_expressions import condition
from .lower_statements import block, frame_layout
from .probes import PROBES
from .typed import Checked, Instance, Local, MapInfo

_PER_CPU = {MapType.HASH: MapType.PERCPU_HASH, MapType.LRU_HASH: MapType.LRU_PERCPU_HASH}

_SECTIONS = {
    ProgramType.RAW_TRACEPOINT: "raw_tp",
    ProgramType.TRACEPOINT: "tracepoint",
    ProgramType.PERF_EVENT: "perf_event",
}
"""libbpf's section prefix where it is not the kind of probe."""


def lower(checked: Checked, target: Target) -> Module:
    """The module of a checked script. Raises ScriptError for what this version cannot do."""
    options = checked.options
    module = Module(
        warnings=options.warnings, split=options.split, portable=options.portable,
        library=checked.library,
    )  # fmt: skip
    module.assumes.update(checked.assumed)
    for info in checked.maps.values():
        module.maps[info.name] = map_definition(info, checked)
    if _uses_globals(checked):
        size = 8 * len(GLOBALS_LAYOUT)
        module.maps[Internal.GLOBALS] = MapDef(
            Internal.GLOBALS, MapType.ARRAY, None, None, 4, size, 1
        )
    for index, instance in enumerate(checked.instances):
        lower_instance(checked, target, module, instance, index)
    return module


def map_definition(info: MapInfo, checked: Checked) -> MapDef:
    """The BPF map of a map of the script. A scalar has the one key 0."""
    kind = info.kind or MapType.HASH
    if isinstance(info.value, Aggregate):
        kind = _PER_CPU.get(kind, kind)
    key_size = info.key.size if info.key else 4
    entries = info.entries or (checked.limits.max_map_keys if info.key else 1)
    return MapDef(
        info.name, kind, info.key, info.value, key_size, info.value.size, entries,
        declared=info.kind is not None,
    )  # fmt: skip


def lower_instance(
    checked: Checked, target: Target, module: Module, instance: Instance, index: int
) -> None:
    """One program: filters, then the body."""
    name = f"{instance.kind}_{index + 1}"
    probe = ProbeInfo(name, instance.attachments, instance.names, instance.repeated)
    function = Function(probe.program, [Value(CTX)], entry=_entry(instance, probe))
    module.functions.append(function)
    body = Body(checked, target, module, instance, function)
    start = body.b.block("entry")
    body.start(start)
    with body.spanned(instance.probe.span):
        _frame(body)
        if checked.options.pid is not None and PROBES[instance.kind].filtered:
            pid = process(body)
            _only_if(body, body.emit("eq", pid, body.const(checked.options.pid, I32)))
        if instance.probe.predicate is not None:
            _only_if(body, condition(body, instance.probe.predicate))
        block(body, instance.probe.body)
        if body.open:
            body.b.ret(body.const(0))
    body.variables.finish()


def _entry(instance: Instance, probe: ProbeInfo) -> Entry:
    kind = instance.attached
    type = PROBES[kind].program
    if instance.syscall_side:
        kind = f"syscall_{instance.syscall_side}"
    section = _section(_SECTIONS.get(type, kind), instance)
    return Entry(type, section, kind, probe, instance.syscalls)


def _section(prefix: str, instance: Instance) -> str:
    """libbpf's section name; the place to attach to only where it is one and libbpf can find it."""
    if len(instance.attachments) != 1:
        return prefix
    attach = instance.attachments[0]
    if attach.kind in ("tracepoint", "raw_tracepoint"):
        return f"{prefix}/{attach.target.replace(':', '/')}"
    if attach.kind in ("kprobe", "kretprobe", "fentry", "fexit", "iter"):
        return f"{prefix}/{attach.target.rpartition(':')[2]}"
    function = attach.symbol.isascii() and attach.symbol.replace(".", "_").isidentifier()
    if function and attach.name == f"{attach.kind}:{attach.target}:{attach.symbol}":
        return f"{prefix}/{attach.target}:{attach.symbol}"
    return prefix


def _frame(body: Body) -> None:
    """Memory shared with the callbacks of `for` loops over maps, if there are any."""
    if not _has_map_loop(body.instance.probe):
        return
    seen: dict[Local, None] = {}
    for node in nodes.walk(body.instance.probe):
        if isinstance(node, nodes.Variable) and node in body.checked.locals:
            local = body.checked.locals[node]
            if local.captured:
                seen[local] = None
    body.frame_offsets, size = frame_layout(list(seen))
    body.frame = body.emit("slot", size=size)
    body.b.emit("fill", body.frame, off=0, size=size)


def _has_map_loop(node: nodes.Node) -> bool:
    return any(isinstance(n, nodes.For) and isinstance(n.over, nodes.Map) for n in nodes.walk(node))


def _uses_globals(checked: Checked) -> bool:
    names = {"elapsed", "cpid", "__builtin_elapsed", "__builtin_cpid"}
    return any(
        isinstance(node, nodes.Identifier | nodes.Call) and node.name in {*names, "sw_tai"}
        for instance in checked.instances
        for node in nodes.walk(instance.probe)
    )


def _only_if(body: Body, test: Value) -> None:
    """Leave the program unless the test holds."""
    go, skip = body.b.block("go"), body.b.block("skip")
    body.b.branch(test, go, skip)
    body.start(skip)
    body.b.ret(body.const(0))
    body.start(go)
