"""The passes, in their order, and the facts that hold between them.

Optimising passes work on high operations first, then again on what `legalise` makes of them. Safety
passes run at every level of optimisation: each makes one of the verifier's demands true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum

from bpfscript.ir.core import Function, Module
from bpfscript.plain import dataclass
from bpfscript.target import Target

from .bounded_loops import bounded_loops
from .bounds import bounds
from .budget import budget
from .dce import dce
from .fold import fold
from .forward import forward
from .gvn import gvn
from .initialised import initialised
from .legalise import legalise
from .near_keys import near_keys
from .null_checks import null_checks
from .predicate_first import predicate_first
from .simplify_cfg import simplify_cfg
from .slots import slots
from .spill import spill
from .stack_slots import stack_slots
from .static_keys import static_keys


class Holds(Enum):
    """Facts about a module that a pass may need, give or break."""

    HIGH = "operations may still be high ones"
    LEGAL = "every operation is one that backends know"
    NULL_CHECKED = "no pointer of a lookup is used before it was compared with null"
    BOUNDED = "no pointer moves by an offset without bound"
    LOOPS_END = "each way back asks the kernel, or a counter, whether to go on"
    INITIALISED = "no byte of a slot is read before it is written"
    FEW_LIVE = "registers and what they spill to are enough for the values needed at once"
    STACK_FITS = "the slots of a chain of calls fit the BPF stack"
    AFFORDABLE = "the kernel takes programs of this size"


RunPass = Callable[[Module, Target], None]


@dataclass(frozen=True, slots=True)
class Pass:
    """`optional`: it only makes code better, and does not run without optimisation."""

    name: str
    run: RunPass
    needs: frozenset[Holds] = frozenset()
    gives: frozenset[Holds] = frozenset()
    breaks: frozenset[Holds] = frozenset()
    optional: bool = False


def each(run: Callable[[Function], None]) -> RunPass:
    """A pass over functions as one over modules."""

    def all_functions(module: Module, target: Target) -> None:
        for function in module.functions:
            run(function)

    return all_functions


def _set(*facts: Holds) -> frozenset[Holds]:
    return frozenset(facts)


_LEGAL = _set(Holds.LEGAL)

PIPELINE: tuple[Pass, ...] = (
    Pass("simplify-cfg", each(simplify_cfg), optional=True),
    Pass("fold", each(fold), optional=True),
    Pass("gvn", each(gvn), optional=True),
    Pass("simplify-cfg-2", each(simplify_cfg), optional=True),
    Pass("dce", each(dce), optional=True),
    Pass("predicate-first", each(predicate_first), optional=True),
    Pass("static-keys", static_keys, needs=_set(Holds.HIGH), optional=True),
    Pass("near-keys", near_keys, needs=_set(Holds.HIGH), optional=True),
    Pass("slots", slots, needs=_set(Holds.HIGH), optional=True),
    Pass("legalise", legalise, _set(Holds.HIGH), gives=_LEGAL, breaks=_set(Holds.HIGH)),
    Pass("legal-fold", each(fold), optional=True),
    Pass("legal-gvn", each(gvn), optional=True),
    Pass("legal-simplify-cfg", each(simplify_cfg), optional=True),
    Pass("legal-forward", each(forward), needs=_LEGAL, optional=True),
    Pass("legal-fold-2", each(fold), optional=True),
    Pass("legal-simplify-cfg-2", each(simplify_cfg), optional=True),
    Pass("legal-dce", each(dce), optional=True),
    Pass("null-checks", each(null_checks), _LEGAL, _set(Holds.NULL_CHECKED)),
    Pass("spill", spill, _LEGAL, _set(Holds.FEW_LIVE)),
    Pass("bounds", bounds, _LEGAL, _set(Holds.BOUNDED)),
    Pass("initialised", initialised, _LEGAL, _set(Holds.INITIALISED)),
    Pass("stack-slots", stack_slots, _set(Holds.LEGAL, Holds.INITIALISED), _set(Holds.STACK_FITS)),
    Pass("bounded-loops", bounded_loops, _LEGAL, _set(Holds.LOOPS_END), _set(Holds.BOUNDED)),
    Pass("bounds-of-hidden", bounds, _LEGAL, _set(Holds.BOUNDED)),
    Pass("budget", budget, _LEGAL, _set(Holds.AFFORDABLE)),
)

SAFE = frozenset(Holds) - {Holds.HIGH}
"""What holds at the end."""


def check_order(needs_of_backend: Iterable[Holds] = SAFE, *, optimise: bool = True) -> None:
    """Raises ValueError if a pass, or the backend in the end, needs what does not hold by then."""
    holds = {Holds.HIGH}
    for step in _steps(optimise):
        for fact in step.needs - holds:
            raise ValueError(f"{step.name} runs without {fact.name}: {fact.value}")
        holds = (holds - step.breaks) | step.gives
    for fact in frozenset(needs_of_backend) - holds:
        raise ValueError(f"the pipeline ends without {fact.name}: {fact.value}")


def run(
    module: Module,
    target: Target,
    *,
    optimise: bool = True,
    verify: bool = False,
    print_after: Callable[[str, Module], None] | None = None,
) -> None:
    """Run all passes on a module, in place.

    verify: check the IR after each pass; raises CompilerBug that names it. print_after is called
    with each pass's name. Raises ScriptError for what the machine has no room for.
    """
    legal = False
    for step in _steps(optimise):
        step.run(module, target)
        legal = legal or Holds.LEGAL in step.gives
        if verify:
            from bpfscript.ir.verify import verify as verify_ir

            verify_ir(module, legal=legal)
        if print_after:
            print_after(step.name, module)


def _steps(optimise: bool) -> list[Pass]:
    return [step for step in PIPELINE if optimise or not step.optional]
