"""Reads `cases/AREA.case`: the conformance cases, some lines each.

    NAME writes-by-fd
    NEEDS tracepoint
    PROG tracepoint:syscalls:sys_enter_write
      /pid == cpid && comm == "dd"/ { @[args.fd] = count(); }
    ARGS -c 'dd if=/dev/zero of=/dev/null count=5 status=none'
    COMPARE entries

A field is a keyword at the start of a line; indented lines continue it. A case begins at its NAME,
`#` begins a comment. The tool is called as `TOOL [-f json] [-e PROG] ARGS` in a directory of the
case's own.

PROG       the script, given with -e
ARGS       further arguments, split like a shell does; `{pid}` is BEFORE's process, also in PROG
FILE       name, then contents on the indented lines; may be repeated
STDIN      text for standard input
ENV        NAME=VALUE, split like a shell does
BEFORE     a command started before the tool, ended after it
WORKLOAD   a command run when the tool has attached; when it is done, the tool gets SIGNAL
SIGNAL     names of signals sent once attached, 0.1 s apart (INT if there is a WORKLOAD)
COMPARE    normalisers of stdout, applied in order (none: exact); see `normalise.NORMALISERS`
REPLACE    `REGEX => TEXT`, applied to stdout after COMPARE; may be repeated
STDERR     which part of stderr is compared; see `normalise.STDERR` (errors)
FORMATS    text, json or both (both)
NEEDS      what the machine must have; see `machine.FEATURES`
TIMEOUT    seconds (15)
DIFFERENT  why bpfscript differs here on purpose
ALSO       0.17, if the script gives the same under that version (`vintage`)
EXPECT     text that bpfscript's stdout then has; upstream may or may not agree

Commands may name a program of `programs/`, as `./threads` for `threads.c`: it is copied there.
"""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

CASES = Path(__file__).parent / "cases"
SCRIPT = frozenset({"NAME", "PROG", "ARGS", "FILE", "STDIN", "ENV"})
COURSE = frozenset({"BEFORE", "WORKLOAD", "SIGNAL", "TIMEOUT", "NEEDS"})
OUTCOME = frozenset({"COMPARE", "REPLACE", "STDERR", "FORMATS", "DIFFERENT", "EXPECT", "ALSO"})
FIELDS = SCRIPT | COURSE | OUTCOME
REPEATED = frozenset({"FILE", "REPLACE"})


class CaseError(Exception):
    """A case file that does not follow the format; says where."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case. `name` is `area/NAME`; the rest are the fields of the file in lower case."""

    name: str
    prog: str | None = None
    args: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    stdin: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    workload: tuple[str, ...] = ()
    signals: tuple[str, ...] = ()
    compare: tuple[str, ...] = ()
    replace: tuple[tuple[str, str], ...] = ()
    stderr: str = "errors"
    formats: tuple[str, ...] = ("text", "json")
    needs: tuple[str, ...] = ()
    timeout: float = 15.0
    different: str | None = None
    expect: str | None = None
    also: tuple[str, ...] = field(default=(), repr=False)

    @property
    def area(self) -> str:
        return self.name.partition("/")[0]

    def mentions(self, program: str) -> bool:
        """Whether some command or attach point of the case names ./PROGRAM."""
        texts = (self.prog or "", *self.args, *self.before, *self.workload, *self.files.values())
        return any(f"./{program}" in text for text in texts)


def load(folder: Path = CASES) -> list[Case]:
    """All cases, in the order of their files. Raises CaseError, also when two share a name."""
    cases = [case for path in sorted(folder.glob("*.case")) for case in read(path)]
    names = [case.name for case in cases]
    if twice := {name for name in names if names.count(name) > 1}:
        raise CaseError(f"more than one case is called {', '.join(sorted(twice))}")
    return cases


def read(path: Path) -> list[Case]:
    """The cases of one file; the area is the file's name."""
    groups: list[list[tuple[str, str]]] = []
    for key, value in _fields(path):
        if key == "NAME":
            groups.append([])
        if not groups:
            raise CaseError(f"{path.name}: {key} before the first NAME")
        groups[-1].append((key, value))
    return [_case(path.stem, group) for group in groups]


def _fields(path: Path) -> Iterator[tuple[str, str]]:
    """(keyword, text) in order; the text's further lines have lost their common indentation."""
    key, first, rest = "", "", list[str]()
    for number, line in enumerate([*path.read_text().splitlines(), "NAME"], 1):
        if not line.strip() or line[0].isspace():
            rest.append(line)
        elif not line.startswith("#"):
            if key:
                yield key, "\n".join(filter(None, (first, _dedent(rest))))
            key, _, first = line.partition(" ")
            rest = []
            if key not in FIELDS:
                raise CaseError(f"{path.name}:{number}: no such field: {key}")


def _dedent(lines: list[str]) -> str:
    return textwrap.dedent("\n".join(lines)).strip("\n")


def _case(area: str, group: list[tuple[str, str]]) -> Case:
    one = dict(group)
    if twice := {key for key, _ in group if [k for k, _ in group].count(key) > 1} - REPEATED:
        raise CaseError(f"{area}/{one['NAME']}: more than one {', '.join(sorted(twice))}")

    def words(key: str) -> tuple[str, ...]:
        return tuple(shlex.split(one.get(key, "")))

    files = (value.partition("\n") for key, value in group if key == "FILE")
    replace = (value.partition(" => ") for key, value in group if key == "REPLACE")
    return Case(
        name=f"{area}/{one['NAME']}",
        prog=one.get("PROG"),
        args=words("ARGS"),
        files={name: text + "\n" for name, _, text in files},
        stdin=one.get("STDIN"),
        env=dict(word.split("=", 1) for word in words("ENV")),
        before=words("BEFORE"),
        workload=words("WORKLOAD"),
        signals=words("SIGNAL") or (("INT",) if "WORKLOAD" in one else ()),
        compare=words("COMPARE"),
        replace=tuple((pattern, text) for pattern, _, text in replace),
        stderr=one.get("STDERR", "errors"),
        formats=words("FORMATS") or ("text", "json"),
        needs=words("NEEDS"),
        timeout=float(one.get("TIMEOUT", "15")),
        different=one.get("DIFFERENT"),
        expect=one.get("EXPECT"),
        also=words("ALSO"),
    )
