"""Argument specifications of static probes."""

from __future__ import annotations

import pytest

from bpfscript.frontend.usdt_arguments import ArgumentFault, UsdtArgument, parse, register

VARIABLES = {"flag": 0x4010, "gs": 0x4018}


def parsed(text: str) -> UsdtArgument:
    return parse(text, 0x1200, VARIABLES.get)


@pytest.mark.parametrize(
    ("text", "kind", "size", "signed", "value", "registers"),
    [
        ("-4@%edi", "register", 4, True, 0, ("di", "", 1)),
        ("8@%rax", "register", 8, False, 0, ("ax", "", 1)),
        ("1@%ah", "register", 1, False, 8, ("ax", "", 1)),
        ("-1@%r10b", "register", 1, True, 0, ("r10", "", 1)),
        ("8@-16(%rbp)", "memory", 8, False, -16, ("bp", "", 1)),
        ("-4@(%rax,%rbx,4)", "memory", 4, True, 0, ("ax", "bx", 4)),
        ("-4@-24(%rsp,%rax,4)", "memory", 4, True, -24, ("sp", "ax", 4)),
        ("4@0x10(%rdi,%rsi)", "memory", 4, False, 16, ("di", "si", 1)),
        ("4@8(,%rdx,8)", "memory", 4, False, 8, ("", "dx", 8)),
        ("1@flag(%rip)", "memory", 1, False, 0x4010 - 0x1200, ("ip", "", 1)),
        ("-4@4+gs(%rip)", "memory", 4, True, 0x401C - 0x1200, ("ip", "", 1)),
        ("-4@gs-4(%rip)", "memory", 4, True, 0x4014 - 0x1200, ("ip", "", 1)),
        ("-4@flag", "memory", 4, True, 0x4010, ("", "", 1)),
        ("4@$5", "constant", 4, False, 5, ("", "", 1)),
        ("-8@$-5", "constant", 8, True, -5, ("", "", 1)),
        ("%rcx", "register", 8, False, 0, ("cx", "", 1)),
    ],
)
def test_forms(
    text: str, kind: str, size: int, signed: bool, value: int, registers: tuple[str, str, int]
) -> None:
    assert parsed(text) == UsdtArgument(kind, size, signed, value, *registers)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("8f@%xmm0", "it is a floating-point number"),
        ("16@(%rax)", "it has 16 bytes"),
        ("8@%xmm0", "it is in the register xmm0, which probes cannot read"),
        ("4@nothing(%rip)", "the file has no variable 'nothing'"),
        ("4@8(%rax", "'8(%rax' is not understood"),
        ("4@+-(%rax)", "'+-' is not understood"),
        ("4@$", "'' is not understood"),
    ],
)
def test_faults(text: str, reason: str) -> None:
    with pytest.raises(ArgumentFault) as error:
        parsed(text)
    assert str(error.value) == reason


@pytest.mark.parametrize(
    ("names", "whole"),
    [
        ("rax eax ax al", "ax"),
        ("rsi esi si sil", "si"),
        ("r9 r9d r9w r9b", "r9"),
        ("rbp ebp", "bp"),
    ],
)
def test_parts_of_registers(names: str, whole: str) -> None:
    assert {register(name) for name in names.split()} == {(whole, 0)}
