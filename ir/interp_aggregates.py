"""What aggregates compute, on the layouts of types.Aggregate. Bucket arithmetic as upstream's.

`words` is one CPU's value as unsigned 64-bit integers, changed in place.
"""

from __future__ import annotations

from bpfscript.types import TSERIES_AGGREGATES, Aggregate


def update(kind: Aggregate, words: list[int], args: list[int], now_tai: int) -> None:
    """Take in one value (none for count); `args` and results wrap at 64 bits."""
    value = args[0] if args else 0
    match kind.name:
        case "count":
            words[0] += 1
        case "sum":
            words[0] += value
        case "avg" | "stats":
            words[0] += value
            words[1] += 1
        case "min" | "max":
            if not words[1] or _beyond(kind, value, words[0]):
                words[:] = [value, 1]
        case "hist":
            words[_hist_bucket(kind, value)] += 1
        case "lhist":
            words[_lhist_bucket(kind, value)] += 1
        case "tseries":
            _tseries(kind, words, value, now_tai)
    words[:] = [w % 2**64 for w in words]


def merged(kind: Aggregate, copies: list[list[int]]) -> int:
    """The integer that an expression reads, over all CPUs; wraps at 64 bits."""
    total = sum(words[0] for words in copies)
    if kind.name in ("count", "sum"):
        return total % 2**64
    if kind.name == "avg":
        count = sum(words[1] for words in copies) % 2**64
        total = number(kind, total % 2**64)
        quotient = abs(total) // count if count else 0
        return (quotient if total >= 0 else -quotient) % 2**64
    seen = [number(kind, words[0]) for words in copies if words[1]]
    best = min if kind.name == "min" else max
    return best(seen, default=0) % 2**64


def number(kind: Aggregate, word: int) -> int:
    """A word as the number that it stands for."""
    return word - 2**64 if kind.signed and word >= 2**63 else word


def _beyond(kind: Aggregate, value: int, than: int, name: str = "") -> bool:
    a, b = number(kind, value), number(kind, than)
    return a < b if (name or kind.name) == "min" else a > b


def _hist_bucket(kind: Aggregate, word: int) -> int:
    (bits,) = kind.params
    value = number(kind, word)
    if value < 0:
        return 0
    if value < 1 << bits:
        return 1 + value
    level = value.bit_length() - 1 - bits
    return ((level + 1) << bits) + ((value >> level) & ((1 << bits) - 1)) + 1


def _lhist_bucket(kind: Aggregate, word: int) -> int:
    low, high, step = kind.params
    value = number(kind, word)
    if value < low:
        return 0
    if value > high:
        return 1 + (high - low) // step
    return 1 + (value - low) // step


def _tseries(kind: Aggregate, words: list[int], value: int, now: int) -> None:
    interval, buckets, index = kind.params
    epoch = now // interval
    at = 3 * (epoch % buckets)
    old, count = words[at + 1], words[at + 2] if words[at] == epoch else 0
    if count:
        name = TSERIES_AGGREGATES[index]
        if name in ("avg", "sum"):
            value += old
        elif name in ("min", "max") and not _beyond(kind, value, old, name):
            value = old
    words[at : at + 3] = [epoch, value, count + 1]
