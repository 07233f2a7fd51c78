"""hypothesis strategies for IR: valid functions that neither trap nor run for long."""

from __future__ import annotations

from hypothesis import strategies as st
from ir_generated import function
from ir_generator import CTX_SIZE as CTX_SIZE

from bpfscript.ir.core import Function


@st.composite
def functions(draw: st.DrawFn, *, size: int = 8, depth: int = 2) -> Function:
    """A legal function of ctx that returns an i64, see `ir_generator`.

    At most `size` pieces of code at the top, up to `depth` levels of branches and loops. It always
    ends, and never traps on a context of CTX_SIZE bytes.
    """
    return function(draw(st.randoms(use_true_random=False)), size, depth)
