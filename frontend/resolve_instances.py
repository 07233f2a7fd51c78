"""Matches of a probe → its programs.

Matches share a program where the body means the same in all of them: they are of one kind, and
what the body takes from `args` lies in the same place. Where the body asks which `probe` it is,
they also need a way to tell: the attach cookie, or the number of the system call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial

from bpfscript.arch import ARCHES
from bpfscript.manifest import Attach
from bpfscript.plain import dataclass, field, replace
from bpfscript.syscalls import numbers
from bpfscript.types import Struct, Type, align_up

from . import nodes
from .builtins import argument_number
from .formats import EXIT_FIELDS, FormatField, fields, record_arguments, syscall_arguments
from .functions import FUNCTIONS, TRACING
from .resolve_base import Match, Search
from .resolve_kernel import KERNEL, PLAIN, as_kprobe, as_raw
from .typed import Argument, Instance

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from bpfscript.btf import Btf, BtfType
    from bpfscript.words import Space

    from .ctypes import CTypes
    from .program_types import ProgramTypes
    from .usdt_arguments import UsdtArgument

    Side = Literal["", "enter", "exit"]

USER_KINDS = ("uprobe", "uretprobe", "usdt")
_KSTACK = ("kstack", "__builtin_kstack")
_SIDES: tuple[Side, Side] = ("enter", "exit")
FEW = 4
"""System calls of one probe that a perf event each sees.

One raw tracepoint sees every call: what it saves where it is asked (70 of 180 ns) it pays again by
30 ns wherever it is not, and a perf event takes some 40 ms to let go of, all of them together.
"""


MANY = 16
"""Functions of one fentry probe that have a trampoline each; more have one kprobe for all.

The kernel lets a trampoline go in 150 ms, one at a time; a kprobe costs an event 100 ns more.
"""
_CALLING = ("comm", "kfunc_allowed")  # with an argument they are about functions of the kernel


class Uses:
    """What the tree of a probe asks about its context."""

    def __init__(self, probe: nodes.Probe) -> None:
        self.probe = False  # which probe it is
        self.retval = False
        self.kstack = False
        self.calls = False  # what raw tracepoints or kprobes must not
        self.whole = False  # `args` other than for one of its fields
        self.fields: set[str] = set()
        self.numbers: set[int] = set()  # N of every `argN`
        self._visit(probe)

    @property
    def args(self) -> bool:
        return self.whole or bool(self.fields)

    @property
    def wanted(self) -> set[str] | None:
        """The fields of `args` that matter; None: all."""
        return None if self.whole else self.fields

    def _visit(self, node: nodes.Node) -> None:
        if isinstance(node, nodes.FieldAccess) and _names(node.operand, "args"):
            self.fields.add(node.name)
            return
        self.whole |= _names(node, "args")
        if isinstance(node, nodes.Identifier | nodes.Call):
            number = argument_number(node.name)
            self.numbers |= set() if number is None else {number}
        if isinstance(node, nodes.Call) and node.args:
            row = FUNCTIONS.get(node.name)
            self.calls |= node.name in _CALLING or (row is not None and row.probes == TRACING)
        self.kstack |= isinstance(node, nodes.Identifier | nodes.Call) and node.name in _KSTACK
        self.retval |= _names(node, "retval", "__builtin_retval")
        self.probe |= _names(node, "probe", "__builtin_probe")
        for child in nodes.children(node):
            self._visit(child)


def _names(node: nodes.Node, *names: str) -> bool:
    """Whether a node is one of these words, also as `word()` or `*word`."""
    match node:
        case nodes.Identifier(name=name) | nodes.Call(name=name, args=()):
            return name in names
        case nodes.Unary(op="*", operand=operand):
            return _names(operand, *names)
    return False


@dataclass(frozen=True, slots=True)
class Context:
    """What a program's body is checked in: matches with equal contexts share a program."""

    kind: str
    side: Side = ""
    arguments: tuple[Argument, ...] | None = None
    only: str = ""  # matches that the program could not tell apart stay alone
    turn: int = 0  # a table of system calls has one place for each
    usdt: tuple[tuple[int, UsdtArgument], ...] = ()
    result: Type | None = None
    placed: str = ""  # Attach.kind


@dataclass(slots=True)
class Group:
    """The matches of one program to be."""

    matches: list[Match] = field(default_factory=list)
    syscalls: dict[int, int] = field(default_factory=dict)


class Instances:
    """Makes the programs of one probe."""

    def __init__(self, probe: nodes.Probe, search: Search, ctypes: CTypes) -> None:
        self.probe, self.search, self.ctypes = probe, search, ctypes
        self.uses = Uses(probe)
        self._seen: dict[tuple[Side, int], int] = {}
        self._named: set[str] = set()
        self._contexts: dict[tuple[FormatField, ...], dict[str, Argument]] = {}

    def of(self, matches: Sequence[Match]) -> Iterator[Instance]:
        matches = self._let_go_at_once(matches)
        alone = self._told_apart_by_name(matches)
        few = self.uses.calls or sum(m.event[0] == "syscalls" for m in matches) <= FEW
        groups: dict[Context, Group] = {}
        for match in matches:
            number = None if few else self._syscall(match)
            context = self._context(match, number, alone)
            group = groups.setdefault(context, Group())
            if number is not None:
                group.syscalls[number] = len(group.matches)
            group.matches.append(match)
        for i, (context, group) in enumerate(groups.items()):
            yield self._instance(nodes.clone(self.probe) if i else self.probe, context, group)

    def _let_go_at_once(self, matches: Sequence[Match]) -> Sequence[Match]:
        """What the kernel is slow to let go of is replaced, where the body can do with less."""
        many = sum(m.point.kind.name in PLAIN for m in matches) > MANY
        if many and self._needs_no_trampoline():
            matches = [as_kprobe(m) for m in matches]
        return [as_raw(m) if self._is_raw(m) else m for m in matches]

    def _needs_no_trampoline(self) -> bool:
        """Whether one kprobe does as well, which has no types and other frames on its stack."""
        uses, has = self.uses, self.search.target.has
        typed = uses.args or uses.retval or uses.kstack or uses.calls
        return not typed and has("kprobe_multi")

    def _told_apart_by_name(self, matches: Sequence[Match]) -> set[str]:
        """Kinds whose matches need a program each, for the body to know which it is."""
        if not self.uses.probe or len({m.attach.name for m in matches}) == 1:
            return set()
        kinds, has = {m.point.kind for m in matches}, self.search.target.has
        needs = {kind: "attach_cookie" if kind.cookies else "raw_cookie" for kind in kinds}
        possible = {kind for kind in kinds if kind.cookies or kind.name == "rawtracepoint"}
        able = {kind for kind in possible if has("attach_cookie") and has(needs[kind])}
        return {kind.name for kind in kinds - able}

    def _syscall(self, match: Match) -> int | None:
        """Number of the system call that a tracepoint is about, if registers give all it has."""
        category, event = match.event
        prefix, side, name = (*event.split("_", 2), "", "")[:3]
        if category != "syscalls" or prefix != "sys" or side not in _SIDES or self.uses.whole:
            return None
        return numbers(self.search.target.arch).get(name)

    def _context(self, match: Match, number: int | None, alone: set[str]) -> Context:
        kind = match.point.kind.name
        arguments = self._arguments(match, number is not None)
        shared = None if arguments is None else tuple(arguments.values())
        if number is None:
            only = match.attach.name if kind in alone else ""
            result = self._result(match) if self.uses.retval else None
            usdt, placed = self._usdt(match), match.attach.kind
            return Context(
                kind, arguments=shared, only=only, usdt=usdt, result=result, placed=placed
            )
        side = _SIDES[match.event[1].startswith("sys_exit")]
        turn = self._seen.get((side, number), 0)
        self._seen[side, number] = turn + 1
        return Context(kind, side, shared, turn=turn)

    def _is_raw(self, match: Match) -> bool:
        """Whether a raw tracepoint does as well as a perf event, which is slow to let go.

        It has no record for `args`, and other frames of its own on the stack.
        """
        if match.point.kind.name != "tracepoint" or match.event[0] == "syscalls":
            return False
        if self.uses.args or self.uses.kstack or not self.search.target.has("raw_cookie"):
            return False
        return match.event not in self.search.target.dynamic_events

    def _arguments(self, match: Match, syscall: bool) -> dict[str, Argument] | None:
        match match.point.kind.name:
            case "tracepoint":
                if not self.uses.args:
                    return {}
                return self._tracepoint_arguments(match.event, syscall)
            case "rawtracepoint":
                return self._raw_arguments(match) if self.uses.args else {}
            case "fentry" | "fexit":
                return self._function_arguments(match) if self.uses.args else {}
            case "uprobe" if self.uses.args:
                return self._program_arguments(match)
        return None

    def _usdt(self, match: Match) -> tuple[tuple[int, UsdtArgument], ...]:
        if match.marker is None or not self.uses.numbers:
            return ()
        from .resolve_usdt import arguments

        return tuple(arguments(match, self.search, self.uses.numbers).items())

    def _tracepoint_arguments(self, event: tuple[str, str], syscall: bool) -> dict[str, Argument]:
        of: tuple[FormatField, ...] = EXIT_FIELDS
        if not (syscall and event[1].startswith("sys_exit_")):
            of = tuple(fields(self.search.target.tracepoint_format(*event) or ""))
        if of not in self._contexts:
            wanted, ctypes = self.uses.wanted, self.ctypes
            if syscall:
                self._contexts[of] = syscall_arguments(of, wanted, ctypes)
            else:
                space: Space = "user" if event[0] == "syscalls" else "kernel"
                self._contexts[of] = record_arguments(of, wanted, ctypes, space)
        return self._contexts[of]

    @cached_property
    def _btf(self) -> Btf | None:
        return self.search.target.btf

    def _raw_arguments(self, match: Match) -> dict[str, Argument] | None:
        """Parameters of what calls the tracepoint's programs; the first is the kernel's own."""
        target = self.search.target
        btf = target.module_btf(match.event[0]) if match.event[0] else self._btf
        if btf is None:
            message = "rawtracepoints require kernel BTF. Try using a 'tracepoint' instead."
            self.search.error(match.point, message)
            return None
        function = btf.find(f"__traceiter_{match.event[1]}", "func")
        if function is None:
            return None
        parameters = btf.parameters(btf.type(function.to))[1:]
        return {
            name: Argument(name, self.ctypes.of(btf.type(type)), "raw", i)
            for i, (name, type) in enumerate(parameters)
            if self.uses.whole or name in self.uses.fields
        }

    def _prototype(self, match: Match) -> BtfType | None:
        """Type of the kernel function that a trampoline is of."""
        kind, (module, _, name) = match.point.kind.name, match.attach.target.rpartition(":")
        if kind not in ("fentry", "fexit") or module.startswith("bpf:"):
            return None
        target = self.search.target
        btf = self._btf if module in ("", KERNEL) else target.module_btf(module)
        function = btf.own(name, "func") if btf else None
        return function.of.type(function.to) if function else None

    def _result(self, match: Match) -> Type | None:
        prototype = self._prototype(match)
        return self.ctypes.of(prototype.of.type(prototype.to)) if prototype else None

    def _function_arguments(self, match: Match) -> dict[str, Argument] | None:
        """Parameters of a kernel function; one that is a struct takes a register or two."""
        prototype, at = self._prototype(match), 0
        if prototype is None:
            return None
        if match.attach.kind == "kretprobe":
            message = "args cannot be had at the end of a function without fexit"
            self.search.error(match.point, message)
            return {}
        found = {}
        for name, number in prototype.of.parameters(prototype):
            type = self.ctypes.of(prototype.of.type(number))
            if self.uses.whole or name in self.uses.fields:
                source = "registers" if isinstance(type, Struct) else "raw"
                found[name] = Argument(name, type, source, at)
            at += max(1, align_up(type.size, 8) // 8)
        if match.attach.kind == "kprobe" and at > len(ARCHES[self.search.target.arch].arguments):
            self.search.error(match.point, "args of more than six registers need fentry")
        return found

    def _program_arguments(self, match: Match) -> dict[str, Argument] | None:
        """Parameters of a function, by the debug information of its file."""
        from .program_arguments import arguments

        program, symbol = self._program(match), match.symbol
        if symbol is None:
            return None
        where = "" if program.info else f" for {program.path}"
        function = program.function(symbol.address)
        if function is None:
            message = (
                f'Could not parse arguments of "{match.attach.name}": no debuginfo found{where}'
            )
            self.search.error(match.point, message, "use arg0, arg1, … instead")
            return None
        registers = len(ARCHES[self.search.target.arch].arguments)
        found = arguments(function, registers, self.ctypes.fields)
        return {name: a for name, a in found.items() if self.uses.whole or name in self.uses.fields}

    def _program(self, match: Match) -> ProgramTypes:
        """C names of the file that a match is in."""
        from .program_types import ProgramTypes

        path, known = match.attach.target, self.ctypes.programs
        if path not in known:
            read = partial(self.search.target.debug_info, path)
            known[path] = ProgramTypes(path, read, self.ctypes)
        return known[path]

    def _instance(self, probe: nodes.Probe, context: Context, group: Group) -> Instance:
        first = group.matches[0]
        arguments = context.arguments
        names = tuple(m.attach.name for m in group.matches)
        if context.kind == "usdt":  # a probe may be in several places
            names = tuple(dict.fromkeys(names))
        repeated = sum(name in self._named for name in names) if context.kind == "usdt" else 0
        self._named.update(names)
        return Instance(
            probe=probe,
            kind=context.kind,
            attachments=_attachments(group.matches, context, names),
            names=names,
            arguments=None if arguments is None else {a.name: a for a in arguments},
            args_type=self._args_type(first) if arguments is not None else None,
            syscalls=group.syscalls,
            syscall_side=context.side,
            usdt=dict(context.usdt),
            result=context.result,
            c_names=self._program(first) if first.attach.kind in USER_KINDS else None,
            repeated=repeated,
        )

    def _args_type(self, match: Match) -> Struct:
        """The record of a tracepoint; other kinds have none in memory."""
        category, event = match.event
        if match.point.kind.name != "tracepoint":
            return Struct(f"struct {match.attach.name}_args", 0)
        size = 0
        if self.uses.whole:
            of = fields(self.search.target.tracepoint_format(category, event) or "")
            size = max((f.offset + f.size for f in of), default=0)
        return Struct(f"struct tracepoint:{category}:{event}_args", size)


def _attachments(
    matches: Sequence[Match], context: Context, names: Sequence[str]
) -> tuple[Attach, ...]:
    if side := context.side:
        first = matches[0].attach
        return (Attach("raw_tracepoint", first.name, target=f"sys_{side}", place=first.place),)
    if len(names) < len(matches):
        ids = {name: i for i, name in enumerate(names)}
        return tuple(replace(m.attach, cookie=ids[m.attach.name]) for m in matches)
    return tuple(replace(m.attach, cookie=i) for i, m in enumerate(matches))
