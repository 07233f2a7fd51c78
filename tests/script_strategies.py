"""hypothesis strategies for scripts: nearly all of them well-typed, and what becomes of them broken.

One statement a line, blocks indented, so that a failing script is cut down line by line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from hypothesis import strategies as st
from script_expressions import (
    AGGREGATES,
    ARITHMETIC,
    BOOL,
    INT,
    MACROS,
    ODD,
    PLACES,
    READABLE,
    STRING,
    Expressions,
    Kind,
    MapKind,
    Place,
)

DECLARED = ("hash", "lruhash")
POSITIONAL = ("1234", "some text", "0x10")
"""What `$1` and its like are in these scripts."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[@$]?\w+|<<=?|>>=?|[-+&|=!<>]=|&&|\|\||\+\+|--|\.\.|\s+|.')


def scripts() -> st.SearchStrategy[str]:
    """Whole scripts."""
    return st.randoms(use_true_random=False).map(script)


def mutated() -> st.SearchStrategy[str]:
    """Scripts with some tokens deleted, doubled or swapped."""
    return st.randoms(use_true_random=False).map(lambda r: mutate(r, script(r)))


def mutate(r: Random, text: str) -> str:
    """Works on any text that has a token."""
    tokens = _TOKEN.findall(text)
    for _ in range(r.randrange(1, 5)):
        at, other = r.randrange(len(tokens)), r.randrange(len(tokens))
        match r.randrange(4):
            case 0:
                tokens[at] = ""
            case 1:
                tokens[at] += " " + tokens[at]
            case 2:
                tokens[at], tokens[other] = tokens[other], tokens[at]
            case 3:
                tokens[at] = tokens[other]
    return "".join(tokens)


def script(r: Random) -> str:
    """A script of one to four probes that share maps."""
    maps = [_map(r, i) for i in range(r.randrange(1, 6))]
    places = [r.choice(PLACES) for _ in range(r.choice((1, 1, 1, 2, 2, 3, 4)))]
    longest = r.choice((8, 32, 64, 200, 512, 1024))
    lines = [f"config = {{ max_strlen = {longest} }}"]
    lines += [f"let {m.name} = {r.choice(DECLARED)}(100);" for m in maps if _declarable(r, m)]
    macros, functions = r.randrange(3) == 0, ("f0", "f1")[: r.choice((0, 0, 0, 1, 2))]
    lines += MACROS.splitlines() if macros else []
    for name in functions:
        lines += _function(r, name, longest)
    writers = [r.randrange(len(places)) for _ in maps]
    for number, place in enumerate(places):
        written = [m for m, n in zip(maps, writers, strict=True) if n == number]
        made = _Statements(r, place, maps, longest, r.choice((2, 4, 8)))
        made.functions, made.macros = functions, macros
        lines += made.probe(written)
    return "\n".join(lines) + "\n"


def _declarable(r: Random, made: MapKind) -> bool:
    return made.key is not None and made.value is not None and r.randrange(8) == 0


def _function(r: Random, name: str, longest: int) -> list[str]:
    """Of two integers; with a loop, and ways out of it."""
    make = Expressions(r, PLACES[0], [], [{"$a": INT, "$b": INT}], longest)
    return [
        f"fn {name}($a : int64, $b : uint64) : int64 {{",
        f"  for ($i : 0..{r.choice(('3', '1000', '$b'))}) {{",
        f"    if ({make.truth(2)}) {{ return (int64){make.number(2)}; }}",
        f"    if ($i > {make.number(1)}) {{ break; }}",
        "  }",
        f"  return (int64){make.number(3)};",
        "}",
    ]


def _map(r: Random, number: int) -> MapKind:
    make = Expressions(r, PLACES[0], [])
    key = None if r.randrange(3) == 0 else make.kind() if r.randrange(2) else INT
    if key and r.randrange(4) == 0:
        key = Kind("tuple", tuple(r.choice((INT, STRING, BOOL)) for _ in range(r.randrange(2, 6))))
    if r.randrange(5) < 3:
        return MapKind(f"@m{number}", key, make.kind())
    call = {
        "count": "count()",
        "hist": r.choice(("hist(%s)", "hist(%s, 0)", "hist(%s, 5)")),
        "lhist": r.choice(("lhist(%s, 0, 100, 10)", "lhist(%s, 5, 1000, 1)")),
        "tseries": r.choice(("tseries(%s, 1s, 3)", 'tseries(%s, 10ms, 20, "avg")')),
    }
    name = r.choice(AGGREGATES)
    return MapKind(f"@m{number}", key, None, call.get(name, f"{name}(%s)"))


class _Statements(Expressions):
    """Makes the statements of one probe; `size` of them at the top, fewer further in."""

    def __init__(
        self, r: Random, place: Place, maps: list[MapKind], longest: int, size: int
    ) -> None:
        super().__init__(r, place, maps, longest=longest)
        self.size, self.names, self.loops = size, 0, 0
        self.lines: list[str] = []
        self.level = 0

    def probe(self, written: list[MapKind]) -> list[str]:
        predicate = f" /{self.condition(2)}/" if self.chance(20) else ""
        with self._block(f"{self.place.text}{predicate} {{"):
            maps, self.maps = self.maps, []  # what was not written yet cannot be read
            for made in written:
                self._write(made)
            self.maps = maps
            self._body(self.size, 3)
        return self.lines

    def line(self, text: str) -> None:
        self.lines.append("  " * self.level + text)

    @contextmanager
    def _block(self, head: str) -> Iterator[None]:
        self.line(head)
        self.level += 1
        self.scopes.append({})
        yield
        self.scopes.pop()
        self.level -= 1
        self.line("}")

    def _body(self, size: int, depth: int) -> None:
        for _ in range(self.r.randrange(1, size + 1)):
            self._statement(depth)

    def _new(self, kind: Kind) -> str:
        self.names += 1
        name = f"$v{self.names}"
        self.scopes[-1][name] = kind
        return name

    def _write(self, made: MapKind) -> None:
        place = self.element(made, 1)
        if made.value is not None:
            self.line(f"{place} = {self.of(made.value, 3)};")
        else:
            argument = self.number(3) if "%s" in made.call else ()
            self.line(f"{place} = {made.call % argument};")

    def _statement(self, depth: int) -> None:
        makers = [self._let, self._let, self._assign, self._update, self._print, self._printf]
        makers += [lambda: self._write(self.r.choice(self.maps))] * 3
        makers += [self._step, self._whole_map, self._find]
        if depth > 0:
            makers += [
                lambda: self._if(depth),
                lambda: self._range(depth),
                lambda: self._while(depth),
            ]
            makers += [
                lambda: self._each(depth),
                lambda: self._unroll(depth),
                lambda: self._if(depth),
            ]
        if self.chance(3):
            makers = [self._leave]
        if self.chance(1) and depth > 0:
            makers = [lambda: self._chain(depth)]
        self.r.choice(makers)()

    def _let(self) -> None:
        kind = self.kind()
        value = self.of(kind, 3)
        if kind == INT and self.chance(25):
            type = self.r.choice(("int64", "uint64", "uint64"))
            self.line(f"let {self._new(kind)} : {type} = ({type}){value};")
        elif kind == STRING and self.chance(20):
            self.line(f"let {self._new(kind)} : string[{self.r.choice((64, 200))}] = comm;")
        else:
            self.line(f"{'let ' if self.chance(50) else ''}{self._new(kind)} = {value};")

    def _assign(self) -> None:
        names = [(name, k) for scope in self.scopes for name, k in scope.items()]
        if names:
            name, kind = self.r.choice(names)
            self.line(f"{name} = {self.of(kind, 2)};")

    def _update(self) -> None:
        operator = self.r.choice(ARITHMETIC)
        targets = self._targets()
        if targets:
            self.line(f"{self.r.choice(targets)} {operator}= {self.number(2)};")

    def _targets(self) -> list[str]:
        maps = [m for m in self.maps if m.value == INT]
        return self.variables(INT) + [self.element(m, 1) for m in maps]

    def _step(self) -> None:
        if targets := self._targets():
            target, step = self.r.choice(targets), self.r.choice(("++", "--"))
            self.line(f"{target}{step};" if self.chance(50) else f"{step}{target};")

    def _print(self) -> None:
        if self.chance(30):
            self.line(f"print({self.r.choice(self.maps).name});")
        else:
            self.line(f"print({self.of(self.kind(), 3)});")

    def _printf(self) -> None:
        count = min(self.r.choice((0, 1, 2, 3, 5, 8, 30)), self.longest // 4 - 1)
        kinds = [self.r.choice((INT, INT, STRING, BOOL, *ODD, self.kind())) for _ in range(count)]
        formats = [self.r.choice(("%d", "%u", "%lx", "%5d", "%s")) if k == INT
                   else "%r" if k.name == "buffer" else "%s" for k in kinds]  # fmt: skip
        values = [f", {self.of(k, 2)}" if k != INT else f", ({self.number(2)} + 0)" for k in kinds]
        self.line(
            f'{self.r.choice(("printf", "printf", "warnf", "errorf"))}("{" ".join(formats)}\\n"{"".join(values)});'
        )

    def _find(self) -> None:
        """If an element is there, it is copied to a variable."""
        found = [(m, names) for m in self.maps
                 if m.key and m.value and (names := self.variables(m.value))]  # fmt: skip
        if not found:
            self.line(self.r.choice(('time("%H");', 'debugf("%s", comm);', 'cat("/%d", pid);')))
            return
        made, names = self.r.choice(found)
        assert made.key
        with self._block(
            f"if (find({made.name}, {self.of(made.key, 2)}, {self.r.choice(names)})) {{"
        ):
            self.line(f"{made.name.replace('@', '@n')} = count();")

    def _whole_map(self) -> None:
        made = self.r.choice(self.maps)
        if made.key is None:
            self.line(f"{self.r.choice(('clear', 'zero', 'print', 'delete'))}({made.name});")
        elif self.chance(50):
            self.line(f"delete({made.name}, {self.of(made.key, 2)});")
        else:
            self.line(f"{self.r.choice(('clear', 'zero', 'print'))}({made.name});")

    def _leave(self) -> None:
        words = (
            ["return"]
            if self.inside_for
            else ["return", "return 1", "exit()", f"exit({self.number(1)})"]
        )
        self.line(self.r.choice([*words, *(["break", "continue"] * 2 if self.loops else [])]) + ";")

    def _if(self, depth: int) -> None:
        with self._block(f"if ({self.condition(3)}) {{"):
            self._body(3, depth - 1)
        if self.chance(40):
            with self._block("else {"):
                self._body(3, depth - 1)

    def _chain(self, depth: int) -> None:
        subject = self.atom()
        for number in range(self.r.randrange(3, 50)):
            with self._block(f"{'else ' if number else ''}if ({subject} == {number}) {{"):
                self._body(1, 0)

    @contextmanager
    def _loop(self, head: str) -> Iterator[None]:
        self.loops += 1
        with self._block(head):
            yield
        self.loops -= 1

    def _range(self, depth: int) -> None:
        bounds = [self.r.choice(("0", "1", "(-3)", "5", "10", "1000", "1000000", "100000000000",
                                 f"({self.number(1)})", "pid")) for _ in range(2)]  # fmt: skip
        name = f"$i{self.names}"
        self.names += 1
        self.inside_for += 1
        with self._loop(f"for ({name} : {bounds[0]}..{bounds[1]}) {{"):
            self.scopes[-1][name] = INT
            self._body(3, depth - 1)
        self.inside_for -= 1

    def _while(self, depth: int) -> None:
        counted = self.variables(INT)
        test = (
            f"{self.r.choice(counted)} < {self.literal()}"
            if counted and self.chance(70)
            else self.condition(2)
        )
        with self._loop(f"while ({test}) {{"):
            self._body(3, depth - 1)

    def _unroll(self, depth: int) -> None:
        with self._loop(f"unroll ({self.r.choice((1, 2, 3, 5, 20 if depth == 3 else 2))}) {{"):
            self._body(2, min(depth - 1, 1))

    def _each(self, depth: int) -> None:
        keyed = [m for m in self.maps if m.key and (m.value or m.aggregate in READABLE)]
        if not keyed:
            return
        made = self.r.choice(keyed)
        assert made.key
        name = f"$k{self.names}"
        self.names += 1
        self.inside_for += 1
        with self._loop(f"for ({name} : {made.name}) {{"):
            self.scopes[-1][name] = Kind("tuple", (made.key, made.value or INT))
            self._body(3, depth - 1)
        self.inside_for -= 1


__all__ = ["BOOL", "POSITIONAL", "mutate", "mutated", "script", "scripts"]
