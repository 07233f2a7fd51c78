"""Function calls: the table says what they take, the rules here what they give (LANGUAGE §5)."""

from __future__ import annotations

from collections.abc import Callable

from bpfscript.arch import ARCHES
from bpfscript.plain import replace
from bpfscript.target import FEATURES
from bpfscript.types import (
    BOOL,
    INT64,
    UINT8,
    UINT32,
    UINT64,
    VOID,
    Array,
    Bool,
    CgroupPath,
    Int,
    Pointer,
    Stack,
    String,
    Symbol,
    Timestamp,
    Type,
)  # fmt: skip

from . import nodes
from .builtins import BUILTINS, argument_number, builtin
from .check_memory import Memory
from .check_options import Parameters
from .functions import (
    AGGREGATES,
    FUNCTIONS,
    MISPLACED_TYPEOF,
    PERCPU_OFFSETS,
    TASK_BY_ID,
    Function,
    nearest,
)
from .join import base_name
from .probes import PROBES

_BY_DWARF = "dw_ustack (DWARF stack unwinding)"

Rule = Callable[["Calls", nodes.Call], Type | None]

CLOCKS = ("boot", "monotonic", "tai", "sw_tai")
NEEDS = {"override": "override_return", "write_user": "probe_write_user"}
"""Functions that some kernels have no helper for, and the feature."""
SENT = ("print", "time", "join", "cat", "system", "errorf", "warnf")
"""Functions whose output somebody has to be there for."""
PID_NAMESPACES = ("curr_ns", "init")


class Calls(Memory, Parameters):
    def call(self, node: nodes.Call) -> Type | None:
        row = FUNCTIONS.get(node.name)
        misplaced = [a for a in node.args if isinstance(a, nodes.TypeName | nodes.Typeof)]
        if misplaced:
            self.error(misplaced[0].span, MISPLACED_TYPEOF)
            return row.result if row else None
        if row is None:
            return self._other_call(node)
        if node.name in AGGREGATES:
            self.check_arguments(node, row)
            self.error(node.span, f"{node.name}() must be assigned directly to a map")
            return None
        if not self._available(node, row):
            return None
        if not self.check_arguments(node, row):
            return row.result
        if self.instance.pinned and node.name in SENT:
            text = f"nobody reads what {node.name}() of a pinned iterator sends"
            self.report.warning(node.span, text, "printf() writes into its file")
        rule = RULES.get(node.name)
        return rule(self, node) if rule else row.result

    def _other_call(self, node: nodes.Call) -> Type | None:
        """A builtin variable with parentheses, or imported C."""
        if not node.args and (number := argument_number(node.name)) is not None:
            return self.numbered_argument(node, number)
        if builtin(node.name) is not None:
            if node.args:
                given = len(node.args)
                self.error(node.span, f"{node.name}() requires no arguments ({given} provided)")
                return None
            return self.builtin_variable(node)
        library = self.checked.library
        if function := library.find(node.name):
            return self.c_call(node, function)
        if self.missing(node):
            return None
        hint = nearest(node.name, [*FUNCTIONS, *BUILTINS, *library.named])
        self.error(node.span, f"Unknown function: '{node.name}'", hint)
        return None

    def _available(self, node: nodes.Call, row: Function) -> bool:
        kind, name = self.kind, node.name
        if row.unsafe and not self.checked.options.unsafe:
            self.error(node.span, f"{name}() is an unsafe function being used in safe mode")
            return False
        if row.probes is None or kind.name in row.probes:
            return self._kernel_can(node)
        if name == "path":
            text = "The path function can only be used with 'fentry', 'fexit', 'iter' probes"
        elif name in ("signal", "signal_thread"):
            shown = kind.probetype or kind.name
            text = f"{name}() can not be used for this probetype {shown}"
        else:
            text = f'{name} can not be used with "{kind.name}" probes'
        self.error(node.span, text)
        return False

    def _kernel_can(self, node: nodes.Call) -> bool:
        feature = NEEDS.get(node.name)
        if feature is None or self.target.has(feature):
            return True
        text = f"{node.name}() needs what this kernel lacks: {FEATURES[feature]}"
        self.error(node.span, text)
        return False

    # Stacks and maps

    def stack_call(self, node: nodes.Call) -> Type | None:
        if node.name == "dw_ustack" and not self.allows(node.span, node.name, _BY_DWARF):
            return None
        return self.stack(node, node.name, node.args)

    def length(self, node: nodes.Call) -> Type | None:
        what = self.argument(node, 0)
        if isinstance(what, nodes.Map) and what.key is None:
            return INT64 if self.keyed_map(node, "len()", what) else None
        type = self.typed_at(node, 0)
        if type is not None and not isinstance(type, Stack):
            self.error(node.span, "call to len() expects a map, ustack, or kstack")
            return None
        return INT64

    def delete(self, node: nodes.Call) -> Type | None:
        what = self.argument(node, 0)
        if not isinstance(what, nodes.Map):
            self.error(node.args[0].span, "delete() expects a map argument")
            return None
        if what.key is not None and len(node.args) == 2:
            text = "Call to delete() has arguments that do not match any definition."
            place = (what.span, "This is an element: it is deleted by delete(@map, key).")
            self.error(node.span, text, None, place)
            return None
        if what.key is not None:
            self.access(what)
            if self.maps[what.name].value is not None:
                self.types[what] = self.maps[what.name].value or VOID
            return BOOL
        if len(node.args) == 2:
            if not self.keyed_map(node, "delete() with two arguments", what):
                return None
            return self.key_argument(node, what)
        if self.map_state(what).keyed:
            self.error(
                node.span,
                "call to delete() with a single argument expects a map without explicit keys "
                "(scalar map)",
            )
            return None
        return BOOL if self.map_by_name(what, node) else None

    def key_argument(self, node: nodes.Call, what: nodes.Map | None = None) -> Type | None:
        """The second argument as a key of the first."""
        map = what or self.argument(node, 0)
        key, type = self.argument(node, 1), self.typed_at(node, 1)
        if isinstance(map, nodes.Map) and key is not None and type is not None:
            state = self.map_state(map)
            self.require_shape(state, True, node.span)
            self.use_key(state, key, type, node.span)
        return BOOL

    def find(self, node: nodes.Call) -> Type | None:
        self.key_argument(node)
        map, target = self.argument(node, 0), self.argument(node, 2)
        if not isinstance(target, nodes.Variable):
            self.error(node.args[2].span, "find() expects a variable as its third argument")
            return None
        local = self.scopes.find(target.name)
        if local is None:
            self.error(target.span, f"Undefined or undeclared variable: {target.name}")
            return None
        self.scopes.bindings[target] = local
        if isinstance(map, nodes.Map):
            self.assign_variable(local, None, self.element_type(map), node.span)
        self.expression(target)
        return BOOL

    # Addresses

    def symbol(self, node: nodes.Call) -> Type | None:
        type = self.typed_at(node, 0)
        if type is None:
            return None
        if not isinstance(type, Int | Pointer | Symbol):
            self.error(node.span, f"{node.name}() expects an integer or pointer argument")
            return None
        return Symbol("kernel" if node.name == "ksym" else "user")

    def kernel_address(self, node: nodes.Call) -> Type | None:
        name = self.text_at(node, 0) or ""
        address = self.target.kernel_symbol(name)
        if address is None:
            self.error(node.span, f"Failed to resolve kernel symbol: {name}")
            return None
        self.assume("symbol", name, address)
        return self.literal(node, address, UINT64)

    def percpu_address(self, node: nodes.Call) -> Type | None:
        name, btf = self.text_at(node, 0) or "", self.target.btf
        if btf is None or btf.find(name, "var") is None:
            self.error(node.span, f'Could not resolve variable "{name}" from BTF')
            return None
        for symbol in (name, PERCPU_OFFSETS):
            address = self.target.kernel_symbol(symbol)
            if address is not None:
                self.assume("symbol", symbol, address)
            else:
                text = f"percpu_kaddr() needs the kernel symbol {symbol}, which is not listed here"
                self.error(node.span, text, "CONFIG_KALLSYMS_ALL lists it")
                return None
        return UINT64

    def user_address(self, node: nodes.Call) -> Type | None:
        from .user_addresses import pointer_type

        name = self.text_at(node, 0) or ""
        type = pointer_type(self.target, self.instance, name)
        if type is None:
            where = self.instance.attachments[0].target
            self.error(node.span, f"Could not resolve symbol: {where}:{name}")
        return type

    def register(self, node: nodes.Call) -> Type | None:
        name, arch = self.text_at(node, 0), self.target.arch
        if name not in ARCHES[arch].registers:
            text = f"'{name}' is not a valid register on this architecture ({arch})"
            self.error(node.span, text)
            return None
        return UINT64

    def error_pointer(self, node: nodes.Call) -> Type | None:
        type = self.type_at(node, 0)
        if isinstance(type, Int | Bool | Pointer | None):
            return BOOL
        shown = base_name(type)
        self.error(node.span, f"is_err() only supports int or pointer arguments ({shown} provided)")
        return None

    def in_space(self, node: nodes.Call) -> Type | None:
        type = self.typed_at(node, 0)
        if isinstance(type, Pointer):
            return replace(type, space="kernel" if node.name == "kptr" else "user")
        if isinstance(type, Int):
            return Pointer(VOID, "kernel" if node.name == "kptr" else "user")
        if type is not None:
            shown = base_name(type)
            text = f"{node.name}() only supports integer or pointer arguments ({shown} provided)"
            self.error(node.span, text)
        return None

    # Time and processes

    def word_at(self, node: nodes.Call, index: int) -> nodes.Identifier | None:
        argument = node.args[index] if index < len(node.args) else None
        return argument if isinstance(argument, nodes.Identifier) else None

    def clock(self, node: nodes.Call) -> Type | None:
        word = self.word_at(node, 0)
        if node.args and (word is None or word.name not in CLOCKS):
            span = node.args[0].span
            self.error(span, f"Invalid timestamp mode: {span.text}")
            return None
        return UINT64

    def process_id(self, node: nodes.Call) -> Type | None:
        word = self.word_at(node, 0)
        if node.args and word is None:
            text = f"{node.name}() only supports curr_ns and init as the argument"
            self.error(node.span, text)
            return None
        if word is not None and word.name not in PID_NAMESPACES:
            self.error(
                word.span,
                f"Invalid PID namespace mode: {word.name} (expects: curr_ns or init)",
            )
            return None
        return UINT32

    def command(self, node: nodes.Call) -> Type | None:
        if not node.args:
            return BUILTINS["comm"].type
        if self.kernel_has(TASK_BY_ID) and not self.may_call(TASK_BY_ID):
            shown = self.kind.probetype or self.kind.name
            text = f"Syntax comm(PID) is not supported in this probe type yet. Type: {shown}"
            self.error(node.span, text)
            return None
        return String(64)

    def time_text(self, node: nodes.Call) -> Type | None:
        when, mode = self.argument(node, 1), "boot"
        if isinstance(when, nodes.Call) and when.name == "nsecs":
            word = self.word_at(when, 0)
            mode = word.name if word else mode
        if mode == "monotonic":
            self.error(node.span, "strftime() can not take a monotonic timestamp")
            return None
        value = self.number_at(node, 1)
        if value is not None and value < 0:
            self.error(node.span, "strftime() does not accept negative timestamps")
            return None
        return Timestamp(self.text_at(node, 0) or "", mode)

    def cgroup_path(self, node: nodes.Call) -> Type:
        return CgroupPath(self.text_at(node, 1) or "")

    def cgroup_id(self, node: nodes.Call) -> Type | None:
        path = self.text_at(node, 0) or ""
        number = self.target.cgroup_id(path)
        if number is None:
            self.error(node.span, f"There is no cgroup at {path}")
            return None
        self.assume("cgroup", path, number)
        return self.literal(node, number, UINT64)

    def kernel_function(self, node: nodes.Call) -> Type:
        name = self.text_at(node, 0) or ""
        has = self.kernel_has if node.name == "kfunc_exist" else self.may_call
        return self.literal(node, has(name))

    def kernel_has(self, function: str) -> bool:
        btf = self.target.btf
        return btf is not None and btf.find(function, "func") is not None

    def may_call(self, function: str) -> bool:
        """Whether programs for the probe may call a function of the kernel."""
        return self.target.callable_by(function, int(PROBES[self.instance.attached].program))

    def send_signal(self, node: nodes.Call) -> Type | None:
        argument, type = self.argument(node, 0), self.typed_at(node, 0)
        if argument is None or type is None:
            return None
        value = self.constants.get(argument)
        if isinstance(value, bytes):
            number = signal_number(value.decode("ascii", "replace"))
            if number is None:
                text = f"Invalid string for signal: {value.decode('ascii', 'replace')}"
                self.error(node.span, text)
                return None
            self.types[argument] = self.literal(argument, number)
        elif not isinstance(type, Int) or (value is not None and not 1 <= value <= 64):
            self.error(
                node.span,
                f"{node.name}() accepts a string literal or an integer between 1 and 64 "
                "(inclusive)",
            )
            return None
        return VOID

    def address(self, node: nodes.Call) -> Type | None:
        """The bytes of a literal IP address."""
        from ipaddress import ip_address

        text = self.text_at(node, 0) or ""
        try:
            packed = ip_address(text).packed
        except ValueError:
            self.error(node.span, f"pton() expects a valid IPv4/IPv6 address, got {text}")
            return None
        return self.literal(node, packed, Array(UINT8, len(packed)))

    # Questions that are answered while compiling

    def question(self, node: nodes.Call) -> Type | None:
        argument, type = self.argument(node, 0), self.type_at(node, 0)
        if argument is None or type is None:
            return None
        answer = {
            "is_literal": argument in self.constants,
            "is_str": isinstance(type, String),
            "is_ptr": isinstance(type, Pointer),
            "is_array": isinstance(type, Array),
            "is_integer": isinstance(type, Int),
            "is_unsigned_integer": isinstance(type, Int) and not type.signed,
        }
        return self.literal(node, answer[node.name])

    def scalar(self, node: nodes.Call) -> Type | None:
        map = self.argument(node, 0)
        return self.literal(node, isinstance(map, nodes.Map) and not self.map_state(map).keyed)

    def string_length(self, node: nodes.Call) -> Type:
        return self.literal(node, self.string_size)


def signal_number(name: str) -> int | None:
    """Number of "KILL" or "SIGKILL", in any case."""
    import signal

    full = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
    found = getattr(signal, full, None)
    return int(found) if isinstance(found, signal.Signals) else None


RULES: dict[str, Rule] = {
    **dict.fromkeys(("printf", "errorf", "warnf", "cat", "system"), Calls.printf),
    "debugf": Calls.debugf,
    "fail": Calls.fail,
    "static_assert": Calls.static_assert,
    "print": Calls.print,
    "strftime": Calls.time_text,
    "str": Calls.string,
    "buf": Calls.buffer,
    "strlen": Calls.strlen,
    "strcap": Calls.strcap,
    "strcontains": Calls.two_strings,
    "strstr": Calls.two_strings,
    "strncmp": Calls.compare_strings,
    "ksym": Calls.symbol,
    "usym": Calls.symbol,
    "kaddr": Calls.kernel_address,
    "percpu_kaddr": Calls.percpu_address,
    "uaddr": Calls.user_address,
    "is_err": Calls.error_pointer,
    "kptr": Calls.in_space,
    "uptr": Calls.in_space,
    "reg": Calls.register,
    "bswap": Calls.swapped,
    "macaddr": Calls.mac,
    "ntop": Calls.inet,
    "pton": Calls.address,
    "path": Calls.path_text,
    "cgroup_path": Calls.cgroup_path,
    "cgroupid": Calls.cgroup_id,
    "kfunc_exist": Calls.kernel_function,
    "kfunc_allowed": Calls.kernel_function,
    "nsecs": Calls.clock,
    "pid": Calls.process_id,
    "tid": Calls.process_id,
    "comm": Calls.command,
    "signal": Calls.send_signal,
    "signal_thread": Calls.send_signal,
    "getopt": Calls.option,
    **dict.fromkeys(
        ("is_literal", "is_str", "is_ptr", "is_array", "is_integer", "is_unsigned_integer"),
        Calls.question,
    ),
    "is_scalar": Calls.scalar,
    "assert_str": lambda self, node: VOID if self.strlen(node) else None,
    "default_str_length": Calls.string_length,
    "kstack": Calls.stack_call,
    "ustack": Calls.stack_call,
    "dw_ustack": Calls.stack_call,
    "len": Calls.length,
    "delete": Calls.delete,
    "has_key": Calls.key_argument,
    "find": Calls.find,
}
