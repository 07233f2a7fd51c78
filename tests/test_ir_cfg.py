from __future__ import annotations

from bpfscript.ir.cfg import Graph
from bpfscript.ir.core import Block
from bpfscript.ir.reader import read_function

NESTED = """func f(%0: i1) {
start: jump outer
unreached: jump outer
outer: jump inner
inner: branch %0, body, next
body: branch %0, inner, end
next: branch %0, outer, end
end: %1 = const {value=0} : i64 return %1
}"""


def graph() -> Graph:
    return Graph(read_function(NESTED))


def names(blocks: list[Block]) -> list[str]:
    return [block.name for block in blocks]


def test_order_is_reverse_postorder_of_what_is_reachable() -> None:
    order = names(graph().order)
    assert order[:3] == ["start", "outer", "inner"]
    assert sorted(order) == sorted({"start", "outer", "inner", "body", "next", "end"})
    assert order.index("body") < order.index("end") > order.index("next")


def test_predecessors_leave_out_the_unreachable() -> None:
    found = {b.name: names(p) for b, p in graph().predecessors.items()}
    assert found["start"] == []
    assert sorted(found["outer"]) == ["next", "start"]
    assert sorted(found["end"]) == ["body", "next"]


def test_dominators() -> None:
    g = graph()
    found = {b.name: d.name for b, d in g.dominator.items()}
    assert found == {
        "start": "start",
        "outer": "start",
        "inner": "outer",
        "body": "inner",
        "next": "inner",
        "end": "inner",
    }
    children = {b.name: sorted(names(c)) for b, c in g.children().items()}
    assert children["inner"] == ["body", "end", "next"]
    assert children["end"] == []


def test_loops_outer_first() -> None:
    g = graph()
    assert sorted((a.name, b.name) for a, b in g.back_edges()) == [
        ("body", "inner"),
        ("next", "outer"),
    ]
    outer, inner = g.loops()
    assert (outer.header.name, inner.header.name) == ("outer", "inner")
    assert sorted(names(list(inner.body))) == ["body", "inner"]
    assert sorted(names(list(outer.body))) == ["body", "inner", "next", "outer"]
    assert names(outer.latches) == ["next"]


def test_both_ways_of_a_branch_to_one_block_are_one_predecessor() -> None:
    function = read_function(
        "func f(%0: i1) { a: branch %0, b, b b: %1 = const {value=0} : i64 return %1 }"
    )
    a, b = function.blocks
    assert Graph(function).predecessors[b] == [a]


def test_long_chains_do_not_recurse() -> None:
    lines = [f"b{i}: jump b{i + 1}" for i in range(3000)]
    end = "b3000: %0 = const {value=0} : i64 return %0"
    g = Graph(read_function("\n".join(["func f() {", *lines, end, "}"])))
    assert len(g.order) == 3001
    assert g.dominates(g.order[0], g.order[-1])
