"""Functions that are macros of the language itself, by name; parsed when a script uses them."""

from __future__ import annotations

from functools import cache

from bpfscript.diagnostics import Source

from . import nodes

# One text holds all overloads of a name. `functions.MACROS` lists the names.
TEXTS = {
    "assert": """\
macro assert(cond, msg) {
  if (!cond) {
    errorf("assert failed: %s", msg);
    exit(1);
  }
}
""",
    "container_of": """\
macro container_of(ptr, type, member) {
  (type*)((uint8*)ptr - offsetof(type, member))
}
""",
    # true if there is a child, as documented; bpftrace 0.27.1 has it the wrong way round
    "has_cpid": """\
macro has_cpid() { __builtin_cpid != 0 }
""",
    "leader_comm": """\
macro leader_comm() { leader_comm(curtask) }
macro leader_comm(task) { task.group_leader.comm }
""",
    "leader_tid": """\
macro leader_tid() { leader_tid(curtask) }
macro leader_tid(task) { task.group_leader.pid }
""",
    "pcomm": """\
macro pcomm() { pcomm(curtask) }
macro pcomm(task) { task.real_parent.comm }
""",
    "ppid": """\
macro ppid() { ppid(curtask) }
macro ppid(task) { task.real_parent.tgid }
""",
}


@cache
def macros(name: str) -> tuple[nodes.Macro, ...]:
    """The overloads of a name; none if it is not one of these."""
    if name not in TEXTS:
        return ()
    from .parser import parse

    program = parse(Source(f"stdlib/{name}.bt", TEXTS[name]))
    return tuple(item for item in program.items if isinstance(item, nodes.Macro))
