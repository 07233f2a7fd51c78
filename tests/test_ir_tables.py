"""Every row of OPS and HELPERS has what works on it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bpfscript.ir.helpers import HELPERS
from bpfscript.ir.interp import CODE, CONTROL
from bpfscript.ir.interp_helpers import HELPER_CODE, UNMODELLED
from bpfscript.ir.ops import ENDS, OPS, OpDef
from bpfscript.ir.signatures import ATTR_TYPES, HELPER_RESULTS, TARGETS

KINDS = {"I", "i1", "i8", "i64", "P", "D", "F", "V", "V*", "=", "stack"}
RESULTS = {"any", "=", "second", "-", "i1", "i64", "stack", "rodata", "map", "map_object", "kernel"}


def test_every_operation_runs() -> None:
    assert set(CODE) | CONTROL == set(OPS)
    assert not set(CODE) & CONTROL


def test_every_helper_runs_or_is_named() -> None:
    assert set(HELPER_CODE) | UNMODELLED == set(HELPERS)
    assert not set(HELPER_CODE) & UNMODELLED
    assert len(UNMODELLED) <= 4


def test_every_helper_result_has_a_type() -> None:
    assert {helper.result for helper in HELPERS.values()} == set(HELPER_RESULTS)


def test_targets_belong_to_terminators() -> None:
    ends = {name for name, row in OPS.items() if row.effects & ENDS}
    assert set(TARGETS) | {"return"} == ends


@pytest.mark.parametrize("row", OPS.values(), ids=list(OPS))
def test_rows_use_known_words(row: OpDef) -> None:
    assert set(row.args) <= KINDS
    assert row.result in RESULTS
    assert {name.rstrip("?") for name in row.attrs} <= set(ATTR_TYPES)
    assert row.doc.endswith(".")
    assert "V*" not in row.args[:-1]
    assert not row.commutes or row.args == ("I", "I")


def test_every_operation_is_in_a_filetest() -> None:
    folder = Path(__file__).parent / "filetests" / "ir"
    text = "".join(path.read_text() for path in folder.glob("*_operations.ft"))
    assert {op for op in OPS if not re.search(rf"^  (%\d+ = )?{op}\b", text, re.MULTILINE)} == set()
