"""The config block and the environment."""

from __future__ import annotations

import pytest
from check_support import checked, errors, warnings, with_config

from bpfscript.frontend.config import KEYS, Invalid, read_value
from bpfscript.frontend.typed import Limits
from bpfscript.manifest import Settings


def test_block_and_environment() -> None:
    found = checked('config = { max_strlen=64; str_trunc_trailer="+" } begin { }')
    assert (found.limits.max_strlen, found.settings.str_trunc_trailer) == (64, "+")
    found = checked("config = { BPFTRACE_MAX_STRLEN=64 } begin { }", with_config(MAX_STRLEN="128"))
    assert found.limits.max_strlen == 128


def test_defaults() -> None:
    found = checked("begin { }")
    assert (found.limits, found.settings) == (Limits(), Settings())


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("bad_config=raw", "bad_config: not a known configuration option"),
        ('btf="/x"', "btf: can only be set as an environment variable"),
        (
            "cpp_demangle=maybe",
            "cpp_demangle: Invalid bool value: valid values are true, false, 1 or 0.",
        ),
        ("max_strlen=x", "max_strlen: expecting a number, got x"),
    ],
)
def test_faults(entry: str, message: str) -> None:
    assert errors(f"config = {{ {entry} }} begin {{ }}") == [f"12: {message}"]


def test_old_names() -> None:
    assert warnings("config = { strlen=64; symbol_source=x } begin { }") == [
        "12: strlen has been renamed, please use max_strlen",
        "23: symbol_source is deprecated and has no effect",
    ]


def test_every_key_of_limits_and_settings_can_be_set() -> None:
    known = {*Limits.__dataclass_fields__, *Settings.__dataclass_fields__}
    assert known <= set(KEYS)


def test_words() -> None:
    assert read_value("unstable_tseries", True) == "enable"
    assert read_value("cache_user_symbols", "none") == "NONE"
    assert read_value("print_maps_on_exit", "off") is False
    for key in ("license", "stack_mode", "missing_probes", "unstable_typeinfo"):
        with pytest.raises(Invalid):
            read_value(key, "potato")


def test_unstable_features_warn_once() -> None:
    series = "begin { @a = tseries(1, 1s, 3); @b = tseries(1, 1s, 4) }"
    (warning,) = warnings(series)
    assert "unstable feature" in warning
    assert warnings("config = { unstable_tseries = enable } " + series) == []
    assert len(errors("config = { unstable_tseries = error } " + series)) == 2
