"""Random expressions of the language by kind, for script_strategies.

A kind is the sort of type that an expression has: what may be assigned to what, printed, compared.
Widths and signs differ within a kind; the checker joins them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random


@dataclass(frozen=True)
class Kind:
    """`name` with the kinds of its elements; `fields` are the names of a record's."""

    name: str
    of: tuple[Kind, ...] = ()
    fields: tuple[str, ...] = ()
    size: int = 0


INT, BOOL, STRING = Kind("int"), Kind("bool"), Kind("string")
NAMES = ("strerror", "signal_name", "syscall_name")
ODD = tuple(map(Kind, ("buffer", "inet", "mac", "ksym", "usym", "kstack", "ustack", "username",
                       "time", "array", "cgroup", *NAMES)))  # fmt: skip
AGGREGATES = ("count", "sum", "min", "max", "avg", "stats", "hist", "lhist", "tseries")
READABLE = AGGREGATES[:5]

EDGES = ("0", "1", "2", "3", "7", "8", "63", "64", "100", "127", "128", "255", "256", "32767",
         "65535", "65536", "2147483647", "2147483648", "4294967295", "4294967296",
         "9223372036854775807", "9223372036854775808", "18446744073709551615", "0xff", "1us")  # fmt: skip
TYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
ARITHMETIC = ("+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>")
RELATIONS = ("==", "!=", "<", "<=", ">", ">=")
WORDS = ("", "a", "bash", "sched_switch", "x" * 15, "y" * 16, "z" * 63, "ab" * 40, "\\n%s", "é")

NUMBERS = ("pid", "tid", "uid", "gid", "cpu", "nsecs", "elapsed", "rand", "jiffies", "cgroup",
           "ncpus", "numaid", "cpid", "usermode")  # fmt: skip
TASK = ("curtask.pid", "curtask.tgid", "curtask.flags", "curtask.prio", "curtask.mm.mm_count.counter",
        "curtask.parent.pid", "curtask.real_parent.tgid", "curtask.group_leader.pid",
        "curtask.se.vruntime", "curtask.se.on_rq", "curtask.nsproxy.net_ns.ns.inum",
        "curtask.files.fdt.max_fds", "curtask.in_execve", "curtask.signal.nr_threads",
        "curtask.cpus_mask.bits[0]", "curtask.mm.saved_auxv[3]")  # fmt: skip

CONSTANTS = ("sizeof(uint64)", "sizeof(struct task_struct)", "offsetof(struct task_struct, comm)",
             "comptime (1 + 2)", 'getopt("a", 5)', "default_str_length()", "strcap(comm)")  # fmt: skip
CLOCKS = ("nsecs(boot)", "nsecs(monotonic)", "nsecs(sw_tai)", "ppid()", "leader_tid()")
MACROS = """\
macro both(a, b) { (a + (b & 0xff)) }
macro longer(a, b) { strlen(a) > strlen(b) ? a : b }
macro next($x) { $x++; $x }"""


@dataclass(frozen=True)
class Place:
    """A kind of probe: its attach point, and which expressions only it has."""

    text: str
    numbers: tuple[str, ...] = ()
    strings: tuple[str, ...] = ()
    context: tuple[str, ...] = ()  # numbers that need the context: not inside loops over maps


REGISTERS = ('reg("ip")', 'reg("sp")', 'reg("ax")')
PLACES = (
    Place("begin", strings=("probe",)),
    Place("end"),
    Place("interval:ms:100", strings=("probe",), context=REGISTERS),
    Place("profile:hz:99", context=REGISTERS),
    Place("software:cpu-clock:1000000", context=REGISTERS),
    Place("tracepoint:sched:sched_switch",
          ("args.prev_pid", "args.next_prio", "args.prev_state"), ("args.prev_comm", "args.next_comm")),
    Place("tracepoint:sched:sched_process_exec", ("args.pid", "args.old_pid"), ("str(args.filename)",)),
    Place("tracepoint:syscalls:sys_enter_openat", ("args.flags", "args.dfd", "(uint64)args.filename"),
          ("str(args.filename)", "str(args.filename, 16)")),
    Place("tracepoint:syscalls:sys_exit_read,tracepoint:syscalls:sys_exit_write", ("args.ret",)),
    Place("tracepoint:syscalls:sys_enter_*", strings=("probe",)),
    Place("rawtracepoint:sched_switch", ("args.prev.pid", "args.next.tgid", "(uint8)args.preempt"),
          ("args.prev.comm", "args.next.comm"), ("arg0", "arg1", "arg2")),
    Place("rawtracepoint:sys_enter", context=("arg0", "arg1")),
    Place("uprobe:/lib/x86_64-linux-gnu/libc.so.6:free", strings=("str(uptr(64))",),
          context=("arg0", "arg5", *REGISTERS)),
    Place("uprobe:/lib/x86_64-linux-gnu/libc.so.6:malloc,uprobe:/lib/x86_64-linux-gnu/libc.so.6:free",
          strings=("probe",), context=("arg0", "arg1", *REGISTERS)),
    Place("uretprobe:/lib/x86_64-linux-gnu/libc.so.6:malloc", context=("retval", *REGISTERS)),
)  # fmt: skip


@dataclass
class MapKind:
    """A map of the script: kinds of key (None: scalar) and value, or its aggregation."""

    name: str
    key: Kind | None
    value: Kind | None
    call: str = ""  # of an aggregation, with its constant arguments: "hist(%s, 2)"

    @property
    def aggregate(self) -> str:
        return self.call.partition("(")[0]


@dataclass
class Expressions:
    """Makes expressions in one place of a script."""

    r: Random
    place: Place
    maps: list[MapKind]
    scopes: list[dict[str, Kind]] = field(default_factory=lambda: [{}])
    longest: int = 1024  # of strings
    inside_for: int = 0
    functions: tuple[str, ...] = ()  # `fn`s of the script: two integers to an int64
    macros: bool = False  # whether the script has MACROS

    def chance(self, percent: int) -> bool:
        return self.r.randrange(100) < percent

    def kind(self, depth: int = 2) -> Kind:
        """Of values that variables, map values and tuple elements may have."""
        which = self.r.randrange(12)
        if which < 5 or depth <= 0:
            return INT
        if which < 6:
            return BOOL
        if which < 8:
            return STRING
        if which < 9:
            return self.r.choice(ODD)
        of = tuple(self.kind(depth - 1) for _ in range(self.r.randrange(1, 5)))
        if which < 11:
            return Kind("tuple", of)
        return Kind("record", of, tuple("abcdefg"[: len(of)]))

    def variables(self, kind: Kind) -> list[str]:
        return [name for scope in self.scopes for name, k in scope.items() if k == kind]

    def of(self, kind: Kind, depth: int) -> str:
        """An expression of a kind, at most about `depth` operators deep."""
        if depth > 0 and self.chance(35) and (found := self._stored(kind, depth)):
            return found
        if depth > 0 and self.chance(7):
            return f"({self.condition(depth - 1)} ? {self.of(kind, depth - 1)} : {self.of(kind, depth - 1)})"
        match kind.name:
            case "int":
                return self.number(depth)
            case "bool":
                return self.truth(depth)
            case "string":
                return self.string(depth)
            case "tuple":
                parts = [self.of(k, depth - 1) for k in kind.of]
                return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
            case "record":
                pairs = zip(kind.fields, kind.of, strict=True)
                return f"({', '.join(f'{n} = {self.of(k, depth - 1)}' for n, k in pairs)})"
        return self._odd(kind.name, depth)

    def _stored(self, kind: Kind, depth: int) -> str | None:
        """A variable, a map element or a part of one."""
        found = self.variables(kind)
        found += [f"{name}.{i}" for s in self.scopes for name, k in s.items() if k.name == "tuple"
                  for i, e in enumerate(k.of) if e == kind]  # fmt: skip
        found += [f"{name}.{f}" for s in self.scopes for name, k in s.items() if k.name == "record"
                  for f, e in zip(k.fields, k.of, strict=True) if e == kind]  # fmt: skip
        maps = [m for m in self.maps if (m.value or (m.aggregate in READABLE and INT)) == kind]
        if maps and (not found or self.chance(40)):
            return self.element(self.r.choice(maps), depth - 1)
        return self.r.choice(found) if found else None

    def element(self, made: MapKind, depth: int) -> str:
        """`@m[key]`."""
        if made.key is None:
            return made.name
        if made.key.name == "tuple" and len(made.key.of) > 1 and self.chance(50):
            return f"{made.name}[{', '.join(self.of(k, depth) for k in made.key.of)}]"
        return f"{made.name}[{self.of(made.key, depth)}]"

    # Numbers

    def literal(self) -> str:
        text = self.r.choice(EDGES)
        return f"-{text}" if self.chance(20) and len(text) < 19 else text

    def number(self, depth: int) -> str:
        if depth <= 0:
            return self.literal() if self.chance(50) else self.atom()
        one = self.number
        makers: tuple[Callable[[], str], ...] = (
            self.atom,
            self.literal,
            lambda: f"({one(depth - 1)} {self.r.choice(ARITHMETIC)} {self.atom()})",
            lambda: f"({self.atom()} {self.r.choice(ARITHMETIC)} {one(depth - 1)})",
            lambda: f"({self.r.choice(TYPES)}){one(depth - 1)}",
            lambda: f"({self.r.choice(TYPES)}){self.of(self.r.choice((BOOL, INT)), depth - 1)}",
            lambda: f"{self.r.choice('-~')}({self.atom()} + {one(depth - 1)})",
            lambda: f"({self.condition(depth - 1)} ? {one(depth - 1)} : {one(depth - 1)})",
            lambda: self._number_of_other(depth - 1),
        )
        return self.r.choice(makers)()

    def atom(self) -> str:
        names: list[str] = list(NUMBERS)
        names += (*self.place.numbers, *self.place.context) if not self.inside_for else ()
        names += self.variables(INT) * 2
        if self.chance(15):
            names = list(TASK)
        if self.chance(4):
            names = ["$1", "$3", "$#", *CONSTANTS, *CLOCKS]
        return self.r.choice(names)

    def _number_of_other(self, depth: int) -> str:
        match self.r.randrange(14):
            case 0:
                return f"strncmp({self.string(depth)}, {self.string(depth)}, {self.r.choice((0, 1, 4, 16, 64, 200))})"
            case 1:
                return f"strlen({self.string(depth)})"
            case 2:
                return f"strstr({self.string(depth)}, {self.string(depth)})"
            case 3 if not self.inside_for:
                return f"len({self.r.choice(('kstack', 'ustack', 'kstack(3)', 'ustack(perf, 5)'))})"
            case 3 | 4:
                keyed = [m for m in self.maps if m.key]
                return f"len({self.r.choice(keyed).name})" if keyed else "1"
            case 5:
                return f"bswap({self.r.choice(self.variables(INT) or ['pid'])})"
            case 6:
                return f"(({self.string(depth)})[{self.r.choice(('0', '1', '(uint8)pid', 'cpu'))}])"
            case 7 if strings := self.variables(STRING):
                return f"{self.r.choice(strings)}[{self.r.choice(('0', 'pid', '(uint64)nsecs'))}]"
            case 7 | 8:
                return f"*(uint{self.r.choice((8, 16, 32, 64))} *)({self.number(depth - 1)})"
            case 9:
                return f"memcmp({self.string(0)}, {self.string(0)}, {self.r.choice((0, 1, 5, 16))})"
            case 10:
                return f"({{ let $e = {self.number(depth - 1)}; ($e + {self.atom()}) }})"
            case 11:
                one, other = self.number(depth - 1), self.number(depth - 1)
                return f"(if ({self.condition(depth - 1)}) {{ {one} }} else {{ {other} }})"
            case 12 if self.functions:
                one, other = self.number(depth - 1), self.number(depth - 1)
                return f"{self.r.choice(self.functions)}((int64){one}, (uint64){other})"
            case 13 if self.macros:
                if (names := self.variables(INT)) and self.chance(30):
                    return f"next({self.r.choice(names)})"
                return f"both({self.number(depth - 1)}, {self.atom()})"
        return "0"

    # Truth

    def condition(self, depth: int) -> str:
        return self.truth(depth) if self.chance(75) else self.number(depth)

    def truth(self, depth: int) -> str:
        if depth <= 0:
            return self.r.choice(("true", "false", *self.variables(BOOL), "(pid == 1)"))
        relation = self.r.choice(RELATIONS)
        match self.r.randrange(9):
            case 0 | 1 | 2:
                return f"({self.number(depth - 1)} {relation} {self.number(depth - 1)})"
            case 3:
                return f"({self.condition(depth - 1)} {self.r.choice(('&&', '||'))} {self.condition(depth - 1)})"
            case 4:
                return f"!({self.condition(depth - 1)})"
            case 5:
                return f"({self.string(depth - 1)} {relation[:2] if relation in ('==', '!=') else '=='} {self.string(depth - 1)})"
            case 6:
                return f"strcontains({self.string(depth - 1)}, {self.string(depth - 1)})"
            case 7:
                keyed = [m for m in self.maps if m.key]
                if keyed:
                    made = self.r.choice(keyed)
                    assert made.key
                    return f"{self.r.choice(('has_key', 'delete'))}({made.name}, {self.of(made.key, depth - 1)})"
                return "true"
        kind = self.kind()
        if kind.name in ("tuple", "record", "array", "buffer"):
            return f"({self.of(kind, depth - 1)} {self.r.choice(('==', '!='))} {self.of(kind, depth - 1)})"
        return f"(bool){self.number(depth - 1)}"

    # Strings and others

    def string(self, depth: int) -> str:
        words = [word for word in WORDS if len(word) < self.longest]
        atoms = [f'"{self.r.choice(words)}"', "comm", "curtask.comm"]
        atoms += [self.r.choice(("pcomm()", "leader_comm()"))] if self.chance(5) else []
        atoms += self.place.strings if not self.inside_for else ()
        atoms += self.variables(STRING) * 2
        if depth <= 0:
            return self.r.choice(atoms)
        match self.r.randrange(11):
            case 0 | 1 | 2 | 3:
                return self.r.choice(atoms)
            case 4:
                return f"str({self.number(depth - 1)})"
            case 5:
                return f"str({self.number(depth - 1)}, {self.r.choice((1, 8, 64, 1000))})"
            case 6:
                return f"str({self.number(depth - 1)}, {self.atom()})"
            case 7:
                return "str($1)"
            case 8 if self.longest == 1024:  # what str_concat gives
                return f"str_concat({self.string(depth - 1)}, {self.string(depth - 1)})"
            case 9 if self.macros:
                return f"longer({self.r.choice(atoms)}, {self.r.choice(atoms)})"
        return (
            f"({self.condition(depth - 1)} ? {self.string(depth - 1)} : {self.string(depth - 1)})"
        )

    def _odd(self, name: str, depth: int) -> str:
        number = self.number(depth - 1)
        match name:
            case "buffer":
                size = self.r.choice(("1", "7", "64", "300", f"{self.atom()}"))
                return f"buf({number}, {size})" if self.chance(70) else f"buf({self.string(0)}, 8)"
            case "inet":
                return self.r.choice((f"ntop({number})", f"ntop(2, {number})", 'ntop(pton("::1"))'))
            case "mac":
                return f"macaddr({number})"
            case "strerror" | "signal_name" | "syscall_name":
                return f"{name}((int64){number})"
            case "ksym" | "usym":
                return f"{name}({number})"
            case "kstack" | "ustack":
                held = f"{name}(7)"
                return (
                    held
                    if not self.inside_for
                    else self.r.choice(self.variables(Kind(name)) or [held])
                )
            case "username":
                return self.r.choice(("username", "(username_t)uid", f"(username_t)({number})"))
            case "time":
                return f'strftime("%H:%M", {self.r.choice((number, "nsecs"))})'
            case "array":
                return self.r.choice(
                    (f"(uint8[8])({number} + pid)", f"(uint8[8])({self.atom()} + 0)")
                )
            case "cgroup":
                return f"cgroup_path({number})"
        raise AssertionError(name)
