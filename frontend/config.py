"""The config block and the environment: what a script is compiled and run with (LANGUAGE §8.3)."""

from __future__ import annotations

from collections.abc import Mapping

from bpfscript.diagnostics import Reporter, Span
from bpfscript.manifest import Settings
from bpfscript.plain import replace
from bpfscript.target import MachineError

from . import nodes
from .typed import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal, TypeVar

    Kind = Literal[
        "bool", "number", "text", "missing", "stack_mode", "symbols", "license", "unstable"
    ]

    T = TypeVar("T", Limits, Settings)

    Unstable = Literal["error", "warn", "enable"]

# Key -> how its value is written. Those that neither Limits nor Settings have change nothing here.
KEYS: dict[str, Kind] = {
    "cache_user_symbols": "symbols",
    "cpp_demangle": "bool",
    "lazy_symbolication": "bool",
    "license": "license",
    "log_size": "number",
    "max_bpf_progs": "number",
    "max_cat_bytes": "number",
    "max_map_keys": "number",
    "max_probes": "number",
    "max_strlen": "number",
    "missing_probes": "missing",
    "on_stack_limit": "number",
    "perf_rb_pages": "number",
    "print_maps_on_exit": "bool",
    "show_debug_info": "bool",
    "stack_mode": "stack_mode",
    "str_trunc_trailer": "text",
    "use_blazesym": "bool",
    "unstable_tseries": "unstable",
    "unstable_dw_ustack": "unstable",
    "unstable_typeinfo": "unstable",
    "unstable_import_statement": "unstable",
}
RENAMED = {
    "strlen": "max_strlen",
    "no_cpp_demangle": "cpp_demangle",
    "cat_bytes_max": "max_cat_bytes",
    "map_keys_max": "max_map_keys",
}
IGNORED = (
    "symbol_source", "max_type_res_iterations", "unstable_addr", "unstable_import",
    "unstable_macro", "unstable_map_decl",
)  # fmt: skip
ENVIRONMENT_ONLY = (
    "btf", "kernel_source", "kernel_build", "vmlinux", "color", "objcopy", "dummy_ts_map",
    "kconfig_test",
)  # fmt: skip
LICENSES = (
    "Dual MIT/GPL", "Dual BSD/GPL", "Dual MPL/GPL", "GPL and additional rights", "GPL v2", "GPL",
)  # fmt: skip
STACK_MODES = ("bpftrace", "raw", "perf", "build_id")
TRUE, FALSE = ("true", "1", "on", "yes"), ("false", "0", "off", "no")
UNSTABLE: tuple[Unstable, ...] = ("error", "warn", "enable")
WORDS: dict[Kind, tuple[str, ...]] = {
    "missing": ("error", "warn", "ignore"),
    "unstable": UNSTABLE,
}

Value = str | int | bool


class Configuration:
    """Values by key, after the config block and then the environment were read."""

    def __init__(self) -> None:
        self.values: dict[str, Value] = {
            "unstable_tseries": "warn",
            "unstable_dw_ustack": "warn",
            "unstable_typeinfo": "error",
            "unstable_import_statement": "error",
        }

    def value(self, key: str) -> Value:
        """Value of a key, or its default."""
        if key in self.values:
            return self.values[key]
        found: Value = getattr(Limits(), key, getattr(Settings(), key, True))
        return found

    def unstable(self, feature: str) -> Unstable:
        value = self.values[f"unstable_{feature}"]
        return next(word for word in UNSTABLE if word == value)

    @property
    def limits(self) -> Limits:
        return self._override(Limits())

    @property
    def settings(self) -> Settings:
        return self._override(Settings())

    def _override(self, defaults: T) -> T:
        known: dict[str, Any] = {k: v for k, v in self.values.items() if hasattr(defaults, k)}
        return replace(defaults, **known)


class BadEnvironment(MachineError):
    """A variable whose value its key does not take."""

    status = 2


class Invalid(Exception):
    """A value that its key does not take."""


def configure(
    config: nodes.Config | None,
    environment: Mapping[str, str],
    report: Reporter,
) -> Configuration:
    """Read both sources; the environment wins. Raises BadEnvironment."""
    configuration = Configuration()
    for entry in config.entries if config else ():
        _set(configuration, entry.key, entry.value, report, entry.span)
    for prefix in ("BPFTRACE_", "BPFSCRIPT_"):  # ours counts where both are set
        for name, text in environment.items():
            key = name.removeprefix(prefix).lower()
            if key in KEYS and name.startswith(prefix):
                try:
                    configuration.values[key] = read_value(key, text)
                except Invalid as fault:
                    raise BadEnvironment(str(fault)) from None
    return configuration


def _set(to: Configuration, written: str, value: Value, report: Reporter, span: Span) -> None:
    if written in IGNORED:
        report.warning(span, f"{written} is deprecated and has no effect")
        return
    key = written.lower().removeprefix("bpftrace_")
    if key in RENAMED:
        report.warning(span, f"{key} has been renamed, please use {RENAMED[key]}")
        key = RENAMED[key]
    if key not in KEYS:
        if key in ENVIRONMENT_ONLY:
            report.error(span, f"{written}: can only be set as an environment variable")
        else:
            report.error(span, f"{written}: not a known configuration option")
        return
    try:
        to.values[key] = read_value(key, value)
    except Invalid as fault:
        report.error(span, str(fault))


def read_value(key: str, value: Value) -> Value:
    """The value of a key from what was written. Raises Invalid."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    match kind := KEYS[key]:
        case "bool":
            return value != 0 if isinstance(value, int) else _boolean(key, text)
        case "number":
            if not text.isdecimal():
                raise Invalid(f"{key}: expecting a number, got {text}")
            return int(text)
        case "text":
            return text
        case "license":
            if text not in LICENSES:
                raise Invalid(
                    f"Invalid value for license. Found: {text}. Valid values: "
                    f"{', '.join(LICENSES)}. Read more about BPF programs and licensing: "
                    "https://docs.kernel.org/bpf/bpf_licensing.html"
                    "#using-bpf-programs-in-the-linux-kernel"
                )
            return text
        case "stack_mode":
            if text not in STACK_MODES:
                raise Invalid(stack_mode_fault(key))
            return text
        case "symbols":
            return _user_symbols(key, text.upper())
        case "missing" | "unstable":
            return _word(key, kind, text)


def stack_mode_fault(where: str) -> str:
    return (
        f"{where}: Invalid value for stack_mode: valid values are bpftrace, raw, perf, "
        "and build_id."
    )


def _boolean(key: str, text: str) -> bool:
    if text.lower() not in TRUE + FALSE:
        raise Invalid(f"{key}: Invalid bool value: valid values are true, false, 1 or 0.")
    return text.lower() in TRUE


def _user_symbols(key: str, text: str) -> str:
    named = {"1": "PER_PROGRAM", "0": "NONE"}.get(text, text)
    if named not in ("PER_PID", "PER_PROGRAM", "NONE"):
        raise Invalid(
            f"{key}: Invalid value for cache_user_symbols: valid values are PER_PID, PER_PROGRAM, "
            "and NONE."
        )
    return named


def _word(key: str, kind: Kind, text: str) -> str:
    if kind == "unstable" and text.lower() in TRUE + FALSE:
        return "enable" if text.lower() in TRUE else "error"
    if text not in WORDS[kind]:
        *first, last = WORDS[kind]
        raise Invalid(f"{key}: Invalid value: valid values are {', '.join(first)} and {last}.")
    return text


def unstable_text(feature: str, shown: str = "") -> str:
    return (
        f"{shown or feature} feature is not enabled by default. To enable this unstable feature, "
        f"set the config flag to enable. unstable_{feature}=enable"
    )


def unstable_warning(feature: str, shown: str = "") -> str:
    return (
        f"Script is using an unstable feature: {shown or feature}. To prevent this warning you "
        f"must explicitly enable it in the config e.g. unstable_{feature}=enable"
    )
