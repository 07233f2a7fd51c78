"""`--completion`: what a shell completes of our command line, and the manual page, from the table.

bpfscript --completion bash > /usr/share/bash-completion/completions/bpfscript
bpfscript --completion man > /usr/share/man/man8/bpfscript.8
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bpfscript.options import ABSENT, COMMANDS, OPTIONS, Option

_FILES = ("FILE", "DIR", "[FILE.svg]")
_WORDS = {
    "f": ("text", "json"),
    "B": ("line", "full", "none"),
    "mode": ("codegen", "format", "test", "bench"),
    "completion": ("bash", "zsh", "fish", "man"),
    "no-feature": ("kprobe_multi", "kprobe_session", "uprobe_multi"),
}
"""What an option's value can be, where that is a word of few."""


def write(shell: str, program: str) -> str:
    """The text for one of SHELLS."""
    return SHELLS[shell](program)


def _offered() -> list[Option]:
    return [option for option in OPTIONS if option.group != ABSENT]


def _flags(option: Option) -> Iterator[str]:
    if option.short:
        yield f"-{option.short}"
    if option.long:
        yield f"--{option.long}"


def _words(option: Option) -> tuple[str, ...]:
    return _WORDS.get(option.long or option.short, ())


def _bash(program: str) -> str:
    every = " ".join(flag for option in _offered() for flag in _flags(option))
    cases = []
    for option in _offered():
        if option.value:
            given = f'-W "{" ".join(_words(option))}"' if _words(option) else "-f"
            if not _words(option) and option.value not in _FILES:
                given = "-W ''"
            cases.append(
                f'    {"|".join(_flags(option))}) COMPREPLY=($(compgen {given} -- "$word"));;'
            )
    body = "\n".join(cases)
    return f"""\
# bash completion of {program}
_{program}() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}"
  case "$before" in
{body}
    *) if [[ $word == -* ]]; then COMPREPLY=($(compgen -W "{every}" -- "$word"))
       else COMPREPLY=($(compgen -f -- "$word"))
         ((COMP_CWORD > 1)) || COMPREPLY+=($(compgen -W "{" ".join(COMMANDS)}" -- "$word")); fi;;
  esac
}}
complete -o filenames -F _{program} {program}
"""


def _zsh(program: str) -> str:
    lines = []
    for option in _offered():
        flags = list(_flags(option))
        text = _quoted(_text(option)).replace("[", r"\[").replace("]", r"\]").replace(":", r"\:")
        action = f"({' '.join(_words(option))})" if _words(option) else ""
        if option.value in _FILES:
            action = "_files"
        value = f":{option.value.lower()}:{action}" if option.value else ""
        lines += [f"  '*{flag}[{text}]{value}'" for flag in flags]
    return (
        f"#compdef {program}\n_arguments -s \\\n"
        + " \\\n".join([*lines, "  '*:file:_files'"])
        + "\n"
    )


def _fish(program: str) -> str:
    lines = [f"# fish completion of {program}"]
    for name, (_, does) in COMMANDS.items():
        lines.append(f"complete -c {program} -n __fish_use_subcommand -a {name} -d '{does}'")
    for option in _offered():
        parts = [f"complete -c {program}"]
        parts += [f"-s {option.short}"] if option.short else []
        parts += [f"-l {option.long}"] if option.long else []
        if option.value:
            parts.append("-r" if option.value in _FILES else "-x")
        if _words(option):
            parts.append(f"-a '{' '.join(_words(option))}'")
        lines.append(" ".join([*parts, f"-d '{_quoted(_text(option), fish=True)}'"]))
    return "\n".join(lines) + "\n"


def _man(program: str) -> str:
    """In man(7)'s macros."""

    def safe(text: str) -> str:
        text = text.replace("\\", r"\e").replace("-", r"\-")
        return f"\\&{text}" if text[:1] in (".", "'") else text

    lines = [
        f".TH {program.upper()} 8",
        ".SH NAME",
        f"{program} \\- trace Linux with scripts in the language of bpftrace",
        ".SH SYNOPSIS",
        rf".B {program}",
        r"[options] FILE | \- | \-e 'PROGRAM' [parameters] [\-\- \-\-name=value]",
    ]
    lines.append(".SH COMMANDS")
    for name, (takes, does) in COMMANDS.items():
        lines += [".TP", f"\\fB{name}\\fR {safe(takes)}", does]
    for group in dict.fromkeys(option.group for option in _offered()):
        lines.append(f".SH {group.upper()}")
        for option in _offered():
            if option.group == group:
                flags = ", ".join(safe(flag) for flag in _flags(option))
                lines += [".TP", f"\\fB{flags}\\fR {option.value}".rstrip(), safe(_text(option))]
    lines += [
        ".SH ENVIRONMENT",
        "Every key of a script's config block, as BPFTRACE_KEY or BPFSCRIPT_KEY;",
        "BPFTRACE_COLOR and NO_COLOR for colour.",
        ".SH EXIT STATUS",
        "What the script says with exit(), else 0; 1 for a fault of the script or of the",
        "command line; 255 where the kernel refuses.",
    ]
    return "\n".join(lines) + "\n"


def _text(option: Option) -> str:
    return option.text or f"the same as --{option.means}"


def _quoted(text: str, *, fish: bool = False) -> str:
    return text.replace("'", r"\'" if fish else r"'\''")


SHELLS: dict[str, Callable[[str], str]] = {
    "bash": _bash, "zsh": _zsh, "fish": _fish, "man": _man,
}  # fmt: skip
