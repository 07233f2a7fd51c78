"""Takes out of a tool's output what may differ from run to run.

`@t[4711]: 0xffff8881` becomes `@t[N]: 0xN` by `numbers addresses`.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Sequence

NOISE = re.compile(
    r"available_filter_functions|couldn't set RLIMIT_MEMLOCK|does not support .* iterator"
)
START = r"(?:(?<=\\[nt])|(?<![\w.]))"  # of a word, also after an escape in JSON
POSITION = re.compile(r"^([^\s:]+:\d+(?::\d+)?)(?:-\d+)?: (ERROR|WARNING)", re.MULTILINE)
ATTACHED = re.compile(r"^Attached \d+ probes?$|\"attached_probes\"", re.MULTILINE)
ROW = re.compile(r"^[\[(].*?[\])] +\d+ \|[@ ]*\|$", re.MULTILINE)
BUCKET = re.compile(r'\{("min": -?\d+, )?("max": -?\d+, )?"count": \d+\}')
SLOT = re.compile(r"^[\d:.]+ [|*.].* \S+$", re.MULTILINE)


def numbers(text: str) -> str:
    """Every number is N; the blanks before it, which depend on its width, are one."""
    return re.sub(rf" *{START}-?\d+\b", lambda m: " N" if m[0][0] == " " else "N", text)


def addresses(text: str) -> str:
    """Hexadecimal numbers of eight digits or more, with or without 0x, are 0xN."""
    return re.sub(rf"{START}(0x[0-9a-f]+|[0-9a-f]{{8,16}})\b", "0xN", text)


def times(text: str) -> str:
    """Times of day are hh:mm:ss."""
    return re.sub(r"\b\d\d:\d\d:\d\d\b", "hh:mm:ss", text)


def entries(text: str) -> str:
    """Map entries in order of their text, without blank lines; JSON objects in order of keys."""
    blocks: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("{"):
            blocks.append([_sorted_json(line)])
        elif line.startswith("@") or not blocks:
            blocks.append([line])
        elif line:
            blocks[-1].append(line)
    return "".join(line + "\n" for block in sorted(blocks) for line in block)


def _sorted_json(line: str) -> str:
    try:
        return json.dumps(json.loads(line), sort_keys=True)
    except json.JSONDecodeError:
        return line


def lines(text: str) -> str:
    """Lines in order of their text."""
    return "".join(sorted(text.splitlines(keepends=True)))


def distinct(text: str) -> str:
    """Lines that repeat the one before are dropped."""
    return "".join(line for line, _ in itertools.groupby(text.splitlines(keepends=True)))


def shape(text: str) -> str:
    """Histograms of any size are one row, other numbers N, repeated lines one."""
    text = SLOT.sub("SLOT", ROW.sub("ROW", text))
    text = re.sub(r"BUCKET(, ?BUCKET)*", "BUCKETS", BUCKET.sub("BUCKET", text))
    return distinct(numbers(text))


def merged(text: str) -> str:
    """Entries that became equal are one; wants `entries` and `numbers` before."""
    return distinct(re.sub(r"(\"[^\"]*\": N)(, \1)+", r"\1", text))


NORMALISERS: dict[str, Callable[[str], str]] = {
    f.__name__: f for f in (numbers, addresses, times, entries, lines, distinct, shape, merged)
}


def stdout(text: str, names: Sequence[str], replace: Sequence[tuple[str, str]]) -> str:
    """`text` after the normalisers of these names and the regular expressions."""
    for name in names:
        text = NORMALISERS[name](text)
    for pattern, replacement in replace:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return text


def _exact(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not NOISE.search(line))


def _errors(text: str) -> str:
    """Where in the script the first error is, and how many probes were attached.

    Upstream reports some errors inside its library, with the script's place on a later line.
    """
    errors = [place for place, severity in POSITION.findall(text)
              if severity == "ERROR" and not place.startswith("stdlib/")]  # fmt: skip
    attached = [line for line in text.splitlines() if ATTACHED.match(line)]
    return "\n".join([*errors[:1], *attached])


def _places(text: str) -> str:
    """The places of all errors and warnings of the script."""
    return "\n".join(
        sorted(
            f"{place} {severity}"
            for place, severity in POSITION.findall(text)
            if not place.startswith("stdlib/")
        )
    )


STDERR: dict[str, Callable[[str], str]] = {
    "errors": _errors,
    "places": _places,
    "exact": _exact,
    "none": lambda text: "",
}
