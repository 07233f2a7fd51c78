"""The command line: one table of options, and how words become a `Command`."""

from __future__ import annotations

from bpfscript.plain import dataclass, field

COMPILER, OTHERS, ABSENT = "Compiler", "Others", ""


@dataclass(frozen=True, slots=True)
class Option:
    """A row of the table.

    value: what it takes; "" for a switch
    group: where the help has it; ABSENT: bpftrace's, refused here, and `text` is the hint
    means: the option that this is another name of; the help has only that one
    """

    long: str
    short: str
    value: str
    text: str
    group: str = "Options"
    means: str = ""


OPTIONS = (
    Option("", "e", "PROGRAM", "run this program text"),
    Option("list", "l", "", "list probes that match, or those of a script; -v: with arguments"),
    Option("cmd", "c", "COMMAND", "start this command, trace it, end with it"),
    Option("pid", "p", "PID", "trace this process only, end with it"),
    Option("dwarf-pid", "", "PID", "let dw_ustack unwind this process, too; repeatable"),
    Option("output", "o", "FILE", "write what the script prints to FILE"),
    Option("", "f", "FORMAT", "output format: text, json"),
    Option("", "B", "MODE", "output buffering: line, full, none"),
    Option("quiet", "q", "", "say nothing of one's own"),
    Option("verbose", "v", "", "say what is done; with -l: show arguments and definitions"),
    Option("warnings", "k", "", "report failed reads and map look-ups at run time"),
    Option("no-warnings", "", "", "report no warnings"),
    Option("unsafe", "", "", "allow system(), signal() and their kin"),
    Option("flame", "", "FILE", "draw counts of stacks as a flame graph: FILE.svg, FILE.html"),
    Option("plot", "", "[FILE.svg]", "draw histograms and time series, finer than text or as SVG"),
    Option("trace-json", "", "FILE", "write events for Perfetto and chrome://tracing"),
    Option("max-overhead", "", "PERCENT", "let go of the costliest probe above this much CPU"),
    Option("stats", "", "", "tell at the end what each probe took"),
    Option("dry-run", "", "", "stop once everything is attached"),
    Option("include", "", "FILE", "C header to include first; repeatable"),
    Option("", "I", "DIR", "where to look for C headers; repeatable"),
    Option("probe-filter", "", "REGEX", "keep only probes whose name matches"),
    Option("traceable-functions", "", "FILE", "read the kernel's traceable functions from FILE"),
    Option(
        "no-feature", "", "NAME[,NAME]", "do without kprobe_multi, kprobe_session, uprobe_multi"
    ),
    Option("fmt", "", "", "print the script in its standard form", COMPILER),
    Option("test", "", "", "run the test probes", COMPILER),
    Option("bench", "", "", "run the bench probes", COMPILER),
    Option("mode", "", "MODE", "codegen (compile only), format, test, bench", COMPILER),
    Option(
        "debug", "d", "STAGE[,STAGE]", "print nodes types ir opt legal plan llvm asm elf", COMPILER
    ),
    Option("emit", "", "FILE", "write the ELF object and stop", COMPILER),
    Option("aot", "", "FILE", "write an executable that runs the script's object", COMPILER),
    Option("emit-elf", "", "FILE", "", COMPILER, means="emit"),
    Option("emit-llvm", "", "FILE", "write LLVM IR to FILE.original.ll", COMPILER),
    Option("target", "", "FILE", "compile for the machine that `target save` recorded", COMPILER),
    Option("backend", "", "NAME", "code generator: native, llvm", COMPILER),
    Option("verify-ir", "", "", "check the IR after every pass", COMPILER),
    Option("verify-llvm-ir", "", "", "", COMPILER, means="verify-ir"),
    Option("no-optimise", "", "", "leave out the optimising passes", COMPILER),
    Option("no-cache", "", "", "use nothing that an earlier run kept, keep nothing", OTHERS),
    Option("info", "", "", "tell what this kernel offers", OTHERS),
    Option(
        "completion", "", "SHELL", "print completion for bash, zsh, fish, or the man page", OTHERS
    ),
    Option("help", "h", "", "show this", OTHERS),
    Option("version", "V", "", "show the version", OTHERS),
    Option("btf", "b", "", "accepted: BTF is always used", OTHERS, means="btf"),
    Option("debuginfo", "", "DIR", "debug information is looked for in the usual places", ABSENT),
    Option("usdt-file-activation", "", "", "the kernel counts who uses a USDT probe", ABSENT),
)


COMMANDS = {
    "run": ("FILE.o", "trace with an object, without the compiler"),
    "inspect": ("FILE.o", "show what an object holds"),
    "target": ("save FILE [SYMBOL | PROGRAM | LIBRARY]...", "record this machine in a file"),
    "check": ("FILE [--target FILE]...", "say whether and how a script would run there"),
}
"""First words that are no script: what they take, what they do."""


class UsageError(Exception):
    """The command line is not understood. `help`: showing all options would help."""

    help = False


class Misunderstood(UsageError):
    """It is not that of a tool like this."""

    help = True


@dataclass(slots=True)
class Command:
    """A command line, understood. `flags` by long name, or short where there is no long one."""

    flags: dict[str, list[str]] = field(default_factory=dict)
    # FILE (unless -e or -l), then positional parameters
    words: list[str] = field(default_factory=list)
    named: dict[str, str] = field(default_factory=dict)  # --name[=value] after `--`

    def has(self, name: str) -> bool:
        return name in self.flags

    def all(self, name: str) -> list[str]:
        """Its values, in order; those of a switch are empty."""
        return self.flags.get(name, [])

    def last(self, name: str) -> str | None:
        """The value given last."""
        return self.flags[name][-1] if name in self.flags else None


def parse(words: list[str]) -> Command:
    """Split a command line as getopt_long does: options anywhere, `--` ends them.

    Raises UsageError.
    """
    own, after = words, []
    if "--" in words:
        cut = words.index("--")
        own, after = words[:cut], words[cut + 1 :]
    command, waiting = Command(), list(own)
    while waiting:
        word = waiting.pop(0)
        if word.startswith("--"):
            _long(command, word[2:], waiting)
        elif word.startswith("-") and word != "-":
            _short(command, word[1:], waiting)
        else:
            command.words.append(word)
    for word in after:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            command.named[name] = value if equals else "true"
        else:
            command.words.append(word)
    return command


def _long(command: Command, word: str, waiting: list[str]) -> None:
    """`--name`, `--name=value`, `--name value`, where the name may be cut short."""
    name, equals, value = word.partition("=")
    found = [o for o in OPTIONS if o.long == name]
    found = found or [o for o in OPTIONS if o.long and o.long.startswith(name)]
    if not found:
        raise Misunderstood(f"option --{name} not recognized")
    if len(found) > 1:
        raise Misunderstood(f"option --{name} not a unique prefix")
    (option,) = found
    if equals and not option.value:
        raise Misunderstood(f"option --{option.long} must not have an argument")
    if not equals:
        value = _value(option, f"--{option.long}", waiting)
    _add(command, option, value)


def _short(command: Command, letters: str, waiting: list[str]) -> None:
    """`-a`, `-ab`, `-avalue`, `-a value`."""
    for i, letter in enumerate(letters):
        option = next((o for o in OPTIONS if o.short == letter), None)
        if option is None:
            raise Misunderstood(f"option -{letter} not recognized")
        if option.value:
            rest = letters[i + 1 :]
            _add(command, option, rest or _value(option, f"-{letter}", waiting))
            return
        _add(command, option, "")


def _value(option: Option, shown: str, waiting: list[str]) -> str:
    """What the next word gives it, if it takes a value; `[FILE.x]` may be left out, and ends so."""
    if not option.value:
        return ""
    if option.value.startswith("["):
        return waiting.pop(0) if waiting and waiting[0].endswith(option.value[5:-1]) else ""
    if not waiting:
        raise Misunderstood(f"option {shown} requires argument")
    return waiting.pop(0)


def _add(command: Command, option: Option, value: str) -> None:
    name = option.means or option.long or option.short
    command.flags.setdefault(name, []).append(value)


def usage(program: str) -> str:
    """The help text."""
    lines = [
        f"USAGE: {program} [options] FILE [parameters]",
        f"       {program} [options] -e 'PROGRAM' [parameters]",
        f"       {program} -l [PATTERN | FILE]",
        *(f"       {program} {name} {takes}" for name, (takes, _) in COMMANDS.items()),
        "       - as FILE reads standard input; parameters with a name follow `--`: --name=value",
    ]
    shown = [o for o in OPTIONS if o.group != ABSENT and not o.means]
    for group in dict.fromkeys(o.group for o in shown):
        lines += ["", f"{group}:"]
        for o in shown:
            if o.group == group:
                short = f"-{o.short}" if o.short else "  "
                long = f"--{o.long}" if o.long else ""
                comma = "," if o.short and o.long else " "
                left = f"{short}{comma} {long}".rstrip() + f" {o.value}"
                lines.append(f"    {left:<30} {o.text}")
    lines += [
        "",
        "Examples:",
        f"    {program} -e 'tracepoint:syscalls:sys_enter_* {{ @[probe] = count(); }}'",
        f"    {program} -e 'profile:hz:99 {{ @[kstack] = count(); }}'",
        f"    {program} -l 'tracepoint:sched:*'",
    ]
    return "\n".join(lines) + "\n"
