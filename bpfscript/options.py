"""The command line: one table of options, and how words become a `Command`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Option:
    """A row of the table. `value` names what it takes, "" for a switch."""

    long: str
    short: str
    value: str
    text: str
    group: str = "Options"


OPTIONS = (
    Option("", "e", "PROGRAM", "run this program text"),
    Option(
        "list", "l", "", "list probes that match, or those of a script; with -v their arguments"
    ),
    Option("cmd", "c", "COMMAND", "start this command, trace it, end with it"),
    Option("pid", "p", "PID", "trace this process only, end with it"),
    Option("output", "o", "FILE", "write what the script prints to FILE"),
    Option("format", "f", "FORMAT", "text or json"),
    Option("", "B", "MODE", "output buffering: line, full, none"),
    Option("quiet", "q", "", "say nothing of one's own"),
    Option("verbose", "v", "", "say what is done"),
    Option("warnings", "k", "", "report failed reads and map look-ups at run time"),
    Option("no-warnings", "", "", "report no warnings"),
    Option("unsafe", "", "", "allow system(), signal() and their kin"),
    Option("dry-run", "", "", "stop once everything is attached"),
    Option("include", "", "FILE", "C header to include first; repeatable"),
    Option("", "I", "DIR", "where to look for C headers; repeatable"),
    Option("probe-filter", "", "REGEX", "keep only probes whose name matches"),
    Option(
        "debug", "d", "STAGE", "print a stage: nodes types ir opt legal llvm asm elf", "Compiler"
    ),
    Option("emit", "", "FILE", "write the ELF object and stop", "Compiler"),
    Option("backend", "", "NAME", "code generator: llvm", "Compiler"),
    Option("verify-ir", "", "", "check the IR after every pass", "Compiler"),
    Option("no-optimise", "", "", "leave out the optimising passes", "Compiler"),
    Option("info", "", "", "tell what this kernel offers", "Others"),
    Option("help", "h", "", "show this", "Others"),
    Option("version", "V", "", "show the version", "Others"),
)


class UsageError(Exception):
    """The command line is not understood."""


@dataclass(slots=True)
class Command:
    """A command line, understood. `flags` by long name, or short where there is no long one."""

    flags: dict[str, list[str]] = field(default_factory=dict)
    words: list[str] = field(
        default_factory=list
    )  # FILE (unless -e or -l), then positional parameters
    named: dict[str, str] = field(default_factory=dict)  # --name[=value] after `--`

    def has(self, name: str) -> bool:
        return name in self.flags

    def last(self, name: str, default: str | None = None) -> str | None:
        """The value given last."""
        return self.flags[name][-1] if name in self.flags else default


def parse(words: list[str]) -> Command:
    """Split a command line as getopt_long does: options anywhere, `--` ends them. Raises UsageError."""
    from getopt import GetoptError, gnu_getopt

    own, after = words, []
    if "--" in words:
        cut = words.index("--")
        own, after = words[:cut], words[cut + 1 :]
    short = "".join(o.short + (":" if o.value else "") for o in OPTIONS if o.short)
    long = [o.long + ("=" if o.value else "") for o in OPTIONS if o.long]
    try:
        given, rest = gnu_getopt(own, short, long)
    except GetoptError as error:
        raise UsageError(str(error)) from error
    names = {f"-{o.short}": o.long or o.short for o in OPTIONS if o.short}
    names |= {f"--{o.long}": o.long for o in OPTIONS if o.long}
    command = Command(words=rest)
    for flag, value in given:
        command.flags.setdefault(names[flag], []).append(value)
    for word in after:
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            command.named[name] = value if "=" in word else "true"
        else:
            command.words.append(word)
    return command


def usage(program: str) -> str:
    """The help text."""
    lines = [
        f"USAGE: {program} [options] FILE [parameters]",
        f"       {program} [options] -e 'PROGRAM' [parameters]",
        f"       {program} -l [PATTERN]",
    ]
    for group in dict.fromkeys(o.group for o in OPTIONS):
        lines += ["", f"{group}:"]
        for o in OPTIONS:
            if o.group == group:
                short = f"-{o.short}" if o.short else "  "
                long = f"--{o.long}" if o.long else ""
                comma = "," if o.short and o.long else " "
                left = f"{short}{comma} {long} {o.value}".rstrip()
                lines.append(f"    {left:<26} {o.text}")
    lines += [
        "",
        "Examples:",
        f"    {program} -e 'tracepoint:syscalls:sys_enter_* {{ @[probe] = count(); }}'",
        f"    {program} -e 'profile:hz:99 {{ @[kstack] = count(); }}'",
        f"    {program} -l 'tracepoint:sched:*'",
    ]
    return "\n".join(lines) + "\n"
