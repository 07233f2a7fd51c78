"""Builtin variables and other bare words (LANGUAGE §4)."""

from __future__ import annotations

from bpfscript.arch import ARCHES
from bpfscript.target import FEATURES
from bpfscript.types import INT64, UINT64, VOID, Int, Pointer, Record, Stack, Struct, Symbol, Type

from . import nodes
from .builtins import BUILTINS, argument_number, builtin
from .check_base import constant_type
from .check_types import Types
from .config import KEYS, STACK_MODES, stack_mode_fault
from .functions import FUNCTIONS, USER_CODE, nearest
from .probes import PROBES, ProbeKind

Word = nodes.Identifier | nodes.Call
MAX_FRAMES, DEFAULT_FRAMES = 1024, 127


class Builtins(Types):
    @property
    def kind(self) -> ProbeKind:
        return PROBES[self.instance.kind]

    def identifier(self, node: nodes.Identifier) -> Type | None:
        if (number := argument_number(node.name)) is not None:
            return self.numbered_argument(node, number)
        if builtin(node.name) is not None:
            return self.builtin_variable(node)
        if node.name in ("__builtin_arch", "__builtin_safe_mode"):
            if node.name == "__builtin_arch":
                return self.literal(node, self.target.arch.encode())
            return self.literal(node, not self.checked.options.unsafe)
        if node.name in ("__builtin_elf_is_exe", "__builtin_elf_ino"):
            return self._user_image(node)
        constant = self.names.enum_constant(node.name)
        if constant is not None:
            value, enum = constant
            asked = self.asked(node, value, "ENUMVAL_VALUE", f"enum {enum}", node.name)
            portable = self.checked.options.portable
            if portable and not asked and self.names.of_kernel("enum", enum):
                self.assume("constant", node.name, value)
            return self.literal(node, value, Int(64, False, enum=enum))
        if self.missing(node):
            return None
        hint = nearest(node.name, [*BUILTINS, *FUNCTIONS])
        self.error(node.span, f"Unknown identifier: '{node.name}'", hint)
        return None

    def _user_image(self, node: nodes.Identifier) -> Type | None:
        """What is known of the file that a probe is in; of no file, nothing."""
        exact = node.name == "__builtin_elf_is_exe"
        files = {p.target for p in self.instance.attachments if self.kind.name in USER_CODE}
        if not files:
            return self.literal(node, False if exact else 0)
        images = [self.target.user_image(path) for path in sorted(files)]
        values = {image.fixed if exact else image.inode for image in images}
        if len(values) > 1:
            self.error(node.span, f"{node.name} in a probe of several files")
            return None
        return self.literal(node, values.pop())

    def missing(self, node: Word) -> bool:
        """Report names that are gone, or that are known but not to be had."""
        name, hint = node.name.removeprefix("__builtin_"), None
        if name.startswith("sarg") and name[4:].isdecimal():
            text = "sarg* is deleted. This was deprecated in v0.21 and was last available in v0.24."
            hint = 'Use *(reg("sp") + <stack_offset>) instead.'
        elif name == "unwatch":
            text = "unwatch() is deleted, as are watchpoints on the arguments of functions."
        else:
            return False
        self.error(node.span, text, hint)
        return True

    def numbered_argument(self, node: Word, number: int) -> Type | None:
        if not self.kind.argn:
            self.error(
                node.span,
                f"The {node.name} builtin can only be used with 'kprobes', 'uprobes' and 'usdt' "
                "probes",
            )
            return None
        if not self._outside_loop(node):
            return None
        arch = self.target.arch
        if self.kind.ctx and self.kind.name != "usdt" and number >= len(ARCHES[arch].arguments):
            self.error(node.span, f"{arch} doesn't support {node.name}")
            return None
        return INT64 if self.kind.name == "usdt" else UINT64

    def _outside_loop(self, node: Word) -> bool:
        """The probe's context cannot be had in a `for`, whose body is a function of its own."""
        if any(isinstance(loop, nodes.For) for loop in self.loops):
            name = node.name.removeprefix("__builtin_")
            self.error(node.span, f"'{name}' builtin is not allowed in a for-loop")
            return False
        return True

    def builtin_variable(self, node: Word) -> Type | None:
        row = BUILTINS[node.name.removeprefix("__builtin_")]
        match row.name:
            case "args":
                return self._arguments(node)
            case "config":
                return self._configuration()
            case "ctx":
                return self._context(node)
            case "curtask":
                task = self.names.named("struct", "task_struct") or Struct("struct task_struct", 0)
                return Pointer(task, "kernel")
            case "func":
                return self._function(node)
            case "retval":
                return self._return_value(node)
            case "kstack" | "ustack" | "dw_ustack":
                return self.stack(node, row.name, ())
            case "probe" if len(self.instance.names) == 1:
                return self.literal(node, self.instance.names[0].encode())
            case "probe":
                longest = max((name.encode() for name in self.instance.names), key=len, default=b"")
                return constant_type(longest)
            case "probetype":
                return self.literal(node, (self.kind.probetype or self.kind.name).encode())
        return row.type

    def _arguments(self, node: Word) -> Type | None:
        if not self.kind.args:
            shown = self.kind.probetype or self.kind.name
            self.error(
                node.span,
                "The args builtin can only be used with tracepoint, rawtracepoint, fentry/fexit, "
                f"and uprobe probes ({shown} used here)",
            )
            return None
        if not self._outside_loop(node):
            return None
        if self.instance.arguments is None:
            name = self.instance.names[0]
            self.error(node.span, f"Nothing is known about the arguments of {name}")
            return None
        return self.instance.args_type or Struct("struct args", 0)

    def _configuration(self) -> Type:
        values = {key: self.configuration.value(key) for key in KEYS}
        types = (constant_type(v.encode() if isinstance(v, str) else v) for v in values.values())
        return Record(tuple(values), tuple(types))

    def _context(self, node: Word) -> Type | None:
        if self.kind.name == "tracepoint":
            self.error(node.span, "Use args instead of ctx in tracepoint")
            return None
        if self.kind.name == "iter" and self._outside_loop(node):
            name = f"bpf_iter__{self.instance.attachments[0].target.rpartition(':')[2]}"
            return Pointer(self.names.named("struct", name) or Struct(name, 0), "kernel")
        if not self.kind.ctx:
            name = self.kind.name
            self.error(node.span, f"The ctx builtin can not be used with '{name}' probes")
            return None
        if not self._outside_loop(node):
            return None
        name = self.kind.ctx.removeprefix("struct ")
        return Pointer(self.names.named("struct", name) or Struct(self.kind.ctx, 0), "ctx")

    def _function(self, node: Word) -> Type | None:
        if not self.kind.func:
            name = self.kind.name
            self.error(node.span, f"The func builtin can not be used with '{name}' probes")
            return None
        return Symbol("user" if self.kind.space == "user" else "kernel")

    def _return_value(self, node: Word) -> Type | None:
        if not self.kind.retval:
            hint = " (try to use args.ret instead)" if self.kind.name == "tracepoint" else ""
            self.error(
                node.span,
                "The retval builtin can only be used with 'kretprobe' and 'uretprobe' and "
                f"'fentry' probes{hint}",
            )
            return None
        if not self._outside_loop(node):
            return None
        type = UINT64 if self.instance.result is None else self.instance.result
        if type == VOID or not 0 < type.size <= 8:
            self.error(node.span, f"retval of type '{type}' cannot be had")
            return None
        return type

    def stack(
        self, node: Word, name: str, args: tuple[nodes.Expr | nodes.TypeName | nodes.Typeof, ...]
    ) -> Type | None:
        """`kstack`, `ustack(perf, 3)`: an optional mode, then an optional limit."""
        side = "kernel" if name == "kstack" else "user"
        if name == "dw_ustack" and (fault := self._no_unwinding()):
            self.error(node.span, fault, "ustack follows frame pointers")
            return None
        mode, limit, rest = self.limits.stack_mode, DEFAULT_FRAMES, list(args)
        if mode == "build_id" and side == "kernel":
            mode = "raw"
        if rest and isinstance(word := rest[0], nodes.Identifier):
            del rest[0]
            mode = word.name
            if mode not in STACK_MODES:
                self.error(word.span, f"Error parsing stack mode: {stack_mode_fault(name)}")
                return None
            if mode == "build_id" and side == "kernel":
                self.error(node.span, "'build_id' stack mode can only be used for ustack")
                return None
        if rest and (frames := self._frames(node, name, rest.pop(0))) is not None:
            limit = frames
        if rest:
            self.error(node.span, f"{name}(): Expected stack mode as first argument")
            return None
        return Stack("kernel" if side == "kernel" else "user", mode, limit)

    def _no_unwinding(self) -> str | None:
        """Why stacks cannot be unwound by DWARF."""
        if self.checked.options.portable:
            return "an object cannot have dw_ustack: its target processes are read when it is run"
        if not self.checked.options.targets:
            return "dw_ustack requires a target process. Use -p, -c, or --dwarf-pid to specify one."
        if (arch := self.target.arch) != "x86_64":
            return f"dw_ustack is for x86_64, this machine is {arch}"
        if not self.target.has("task_pt_regs"):
            return f"dw_ustack needs what this kernel lacks: {FEATURES['task_pt_regs']}"
        return None

    def _frames(
        self, node: Word, name: str, argument: nodes.Expr | nodes.TypeName | nodes.Typeof
    ) -> int | None:
        if not isinstance(argument, nodes.TypeName | nodes.Typeof):
            self.expression(argument)
        limit = self.constants.get(argument)
        if not isinstance(limit, int) or limit < 0:
            self.error(node.span, f"{name}: invalid limit value, need non-negative literal")
            return None
        if limit > MAX_FRAMES:
            self.error(
                node.span,
                f"{name}([int limit]): limit shouldn't exceed {MAX_FRAMES}, {limit} given",
            )
            return None
        return limit
