"""The command line: one table of options, and how words become a `Command`."""

from __future__ import annotations

from collections.abc import Iterator

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
    Option("dwarf-pid", "", "PID", "stacks are walked by frame pointers", ABSENT),
    Option("usdt-file-activation", "", "", "the kernel counts who uses a USDT probe", ABSENT),
)


class UsageError(Exception):
    """The command line is not understood."""


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
    from getopt import GetoptError, gnu_getopt

    own, after = words, []
    if "--" in words:
        cut = words.index("--")
        own, after = words[:cut], words[cut + 1 :]
    short = "".join(o.short + (":" if o.value else "") for o in OPTIONS if o.short)
    own = list(_with_values(own))
    long = [o.long + ("=" if o.value else "") for o in OPTIONS if o.long]
    try:
        given, rest = gnu_getopt(own, short, long)
    except GetoptError as error:
        raise UsageError(str(error)) from error
    names = {f"-{o.short}": o.means or o.long or o.short for o in OPTIONS if o.short}
    names |= {f"--{o.long}": o.means or o.long for o in OPTIONS if o.long}
    command = Command(words=rest)
    for flag, value in given:
        command.flags.setdefault(names[flag], []).append(value)
    for word in after:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            command.named[name] = value if equals else "true"
        else:
            command.words.append(word)
    return command


def _with_values(words: list[str]) -> Iterator[str]:
    """Gives each option whose value may be left out one: `--plot x.svg` → `--plot=x.svg`."""
    endings = {f"--{o.long}": o.value[5:-1] for o in OPTIONS if o.value.startswith("[FILE")}
    taken = False
    for word, following in zip(words, [*words, ""][1:], strict=True):
        if taken:
            taken = False
        elif word in endings:
            taken = following.endswith(endings[word])
            yield f"{word}={following if taken else ''}"
        else:
            yield word


def usage(program: str) -> str:
    """The help text."""
    lines = [
        f"USAGE: {program} [options] FILE [parameters]",
        f"       {program} [options] -e 'PROGRAM' [parameters]",
        f"       {program} -l [PATTERN | FILE]",
        f"       {program} run FILE.o | inspect FILE.o",
        f"       {program} target save FILE [SYMBOL | PROGRAM | LIBRARY]...",
        f"       {program} check FILE [--target FILE]...",
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
