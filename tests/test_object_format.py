"""Within one format every version reads what every other wrote: the shape of the data is pinned.

Whoever changes what an artifact consists of raises `elf.FORMAT` and runs this with `--bless`, which
writes the new shape and an object of it.
"""

from __future__ import annotations

import os
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
from test_core_relocations import kernel

import bpfscript
from bpfscript.backends import elf
from bpfscript.codec import ObjectError, hints_of
from bpfscript.manifest import Artifact
from bpfscript.target import FEATURES, RecordedTarget

OBJECTS = Path(__file__).parent / "objects"
SHAPE, OBJECT = (OBJECTS / f"format-{elf.FORMAT}.{suffix}" for suffix in ("txt", "o"))
SCRIPT = 'begin { @x[1] = count(); printf("%d %s", curtask.tgid, str($1)); }'


def shape(cls: Any, seen: dict[str, str]) -> dict[str, str]:
    """Fields of a class and of all that they may hold, as text."""
    if cls.__name__ not in seen:
        hints = hints_of(cls)
        rows = [f"    {f.name}: {_shown(hints[f.name])}" for f in fields(cls)]
        seen[cls.__name__] = "\n".join([cls.__name__, *rows])
        waiting = list(hints.values())
        while waiting:
            kind = waiting.pop()
            waiting += get_args(kind)
            if isinstance(kind, type) and is_dataclass(kind):
                shape(kind, seen)
    return seen


def _shown(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)


def test_the_shape_of_the_data_belongs_to_the_format(request: pytest.FixtureRequest) -> None:
    text = "\n".join(text for _, text in sorted(shape(Artifact, {}).items())) + "\n"
    if request.config.getoption("--bless"):
        target = RecordedTarget(btf=kernel(8), features=frozenset(FEATURES))
        SHAPE.write_text(text)
        OBJECT.write_bytes(elf.write(bpfscript.compile(SCRIPT, "seven", target=target)))
    assert SHAPE.read_text() == text, "raise elf.FORMAT, then run this with --bless"


def of_version(version: str) -> bytes:
    """The object that was kept, as if that version had written it."""
    head, _, rest = OBJECT.read_bytes().partition(f"bpfscript {elf.FORMAT} ".encode())
    assert len(version) == len(rest.partition(b"\n")[0])
    return head + f"bpfscript {elf.FORMAT} {version}\n".encode() + rest.partition(b"\n")[2]


@pytest.mark.kernel
@pytest.mark.requires("btf")
@pytest.mark.parametrize("version", ["0.0.9", "7.0.0"])
def test_other_versions_of_the_format_are_run(version: str) -> None:
    with bpfscript.load(of_version(version)) as session:
        session.attach()
        text = "".join(event.text or "" for event in session.events(timeout=0.5))
        assert dict(session.maps["@x"]) == {1: 1}
    assert text == f"{os.getpid()} seven"


def test_data_of_another_shape_names_who_wrote_it() -> None:
    data = of_version("7.0.0").replace(b'"source_name"', b'"sourceXname"')
    with pytest.raises(ObjectError, match=r"sourceXname.*written by bpfscript 7\.0\.0"):
        elf.read(data)
    with pytest.raises(ObjectError, match=r"has no sourceXname$"):
        elf.read(data.replace(b" 7.0.0\n", b" 0.1.0\n"))
