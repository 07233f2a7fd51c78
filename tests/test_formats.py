from __future__ import annotations

import pytest
from resolving import record

from bpfscript.diagnostics import CompilerBug
from bpfscript.frontend.ctypes import CTypes
from bpfscript.frontend.formats import fields, record_arguments, syscall_arguments, type_of
from bpfscript.types import (
    BOOL,
    INT16,
    INT32,
    INT64,
    UINT8,
    UINT64,
    VOID,
    Array,
    Int,
    Pointer,
    String,
    Struct,
    Type,
    Unsupported,
)


def no_btf() -> None:
    raise CompilerBug("BTF was read")


PLAIN = CTypes(no_btf)
WITHOUT = CTypes(lambda: None)


@pytest.mark.parametrize(
    ("declaration", "size", "signed", "type"),
    [
        ("int x", 4, 1, INT32),
        ("int x", 8, 0, UINT64),
        ("pid_t x", 4, 1, INT32),
        ("umode_t x", 8, 0, UINT64),
        ("short x", 2, 1, INT16),
        ("unsigned long long x", 8, 0, UINT64),
        ("bool x", 1, 0, BOOL),
        ("char x[16]", 16, 0, String(16)),
        ("unsigned char x[6]", 6, 0, Array(UINT8, 6)),
        ("unsigned long x[6]", 48, 0, Array(UINT64, 6)),
        ("__u8 x[IFNAMSIZ]", 4, 0, Array(UINT8, 4)),
        ("const char * x", 8, 0, Pointer(UINT8, "kernel")),
        ("const char *const * x", 8, 0, Pointer(Pointer(UINT8, "kernel"), "kernel")),
        ("void __seg_gs * x", 8, 0, Pointer(VOID, "kernel")),
        ("unsigned long * x", 8, 0, Pointer(UINT64, "kernel")),
        ("__data_loc char[] x", 4, 0, INT64),
        ("enum dma_data_direction x", 4, 0, Int(32, False, enum="dma_data_direction")),
    ],
)
def test_types_without_btf(declaration: str, size: int, signed: int, type: Type) -> None:
    (field,) = fields(record((declaration, 8, size, signed)))
    assert field.name == "x"
    assert type_of(field, PLAIN, "kernel") == type


def test_types_that_only_the_kernel_knows() -> None:
    text = record(
        ("struct iovec * a", 8, 8, 0), ("xfs_ino_t b", 16, 8, 0), ("struct odd c", 24, 24, 0)
    )
    found = record_arguments(fields(text), None, WITHOUT, "kernel")
    assert found["a"].type == Pointer(Struct("struct iovec", 0), "kernel")
    assert found["b"].type == UINT64
    assert found["c"].type == Unsupported(24)


def test_common_fields_are_hidden() -> None:
    assert [f.name for f in fields(record(("int a", 8, 4, 1)))] == ["a"]
    assert fields("") == []


def test_sources() -> None:
    text = record(("__data_loc char[] file", 8, 4, 0), ("int n", 12, 4, 1))
    found = record_arguments(fields(text), None, PLAIN, "kernel")
    assert [(a.name, a.source, a.offset) for a in found.values()] == [
        ("file", "data_loc", 8),
        ("n", "context", 12),
    ]


def test_system_calls_take_arguments_from_registers() -> None:
    text = record(("int __syscall_nr", 8, 4, 1), ("int fd", 16, 8, 0), ("char * buf", 24, 8, 0))
    found = syscall_arguments(fields(text), None, PLAIN)
    assert [(a.name, a.source, a.offset) for a in found.values()] == [
        ("__syscall_nr", "syscall_number", 0),
        ("fd", "syscall", 0),
        ("buf", "syscall", 1),
    ]
    assert found["buf"].type == Pointer(UINT8, "user")
    assert list(syscall_arguments(fields(text), {"buf"}, PLAIN)) == ["buf"]
    result = record(("int __syscall_nr", 8, 4, 1), ("long ret", 16, 8, 1))
    (ret,) = syscall_arguments(fields(result), {"ret"}, PLAIN).values()
    assert (ret.type, ret.source) == (INT64, "syscall_return")
