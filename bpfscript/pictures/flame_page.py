"""A flame graph as a page of its own: a click shows a box wide, a word lights up what it is in."""

from __future__ import annotations

from collections.abc import Iterable

from . import flame
from .svg import CHARACTER, printable

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 14px sans-serif; margin: 16px; color: #303030; background: white; }}
header {{ display: flex; gap: 12px; align-items: baseline; width: {width}px; }}
h1 {{ font-size: 16px; flex: 1; margin: 0 0 12px; }}
svg g {{ cursor: pointer; }}
svg g:hover rect {{ stroke: #303030; }}
svg g.found rect {{ fill: #8858d0; }}
svg g.faded {{ opacity: 0.5; }}
#seen {{ font-family: monospace; min-height: 1.4em; margin: 8px 0; }}
</style></head><body>
<header><h1>{title}</h1><input id="word" type="search" placeholder="Search">
<button id="all">Show all</button></header>
{svg}<div id="seen"></div>
<script>
{script}</script></body></html>
"""

_SCRIPT = """\
const boxes = [...document.querySelectorAll("svg g")].map(g => {
  const rect = g.querySelector("rect"), title = g.querySelector("title").textContent;
  const number = name => parseFloat(rect.getAttribute(name));
  return { g, rect, title, name: title.replace(/: \\d+ samples, [\\d.]+%$/, ""),
           x: number("x"), y: number("y"), width: number("width") };
});
const WHOLE = %WIDTH%, CHARACTER = %CHARACTER%, seen = document.getElementById("seen");
function show(box) {
  const scale = WHOLE / box.width, end = box.x + box.width;
  for (const b of boxes) {
    const below = b.y > box.y && b.x <= box.x + 0.01 && b.x + b.width >= end - 0.01;
    const inside = b.y <= box.y && b.x >= box.x - 0.01 && b.x + b.width <= end + 0.51;
    b.g.style.display = below || inside ? "" : "none";
    b.g.classList.toggle("faded", below);
    const x = below ? 0 : (b.x - box.x) * scale, width = below ? WHOLE : b.width * scale;
    b.rect.setAttribute("x", x);
    b.rect.setAttribute("width", Math.max(width - 0.5, 0.1));
    let text = b.g.querySelector("text");
    const room = Math.floor((width - 6) / CHARACTER);
    if (!text && room > 3) {
      text = document.createElementNS("http://www.w3.org/2000/svg", "text");
      text.setAttribute("y", b.y + 12);
      b.g.append(text);
    }
    if (text) {
      text.setAttribute("x", x + 3);
      const cut = room > 3 ? b.name.slice(0, room - 2) + ".." : "";
      text.textContent = b.name.length <= room ? b.name : cut;
    }
  }
}
for (const b of boxes) {
  b.g.onclick = () => show(b);
  b.g.onmouseover = () => seen.textContent = b.title;
  b.g.onmouseout = () => seen.textContent = "";
}
scrollTo(0, document.body.scrollHeight);
document.getElementById("all").onclick = () => show(boxes[0]);
document.getElementById("word").oninput = event => {
  const word = event.target.value.toLowerCase();
  for (const b of boxes) b.g.classList.toggle("found", word && b.name.toLowerCase().includes(word));
};
"""


def page(samples: Iterable[flame.Sample], title: str) -> str:
    """HTML that needs nothing else."""
    script = _SCRIPT.replace("%WIDTH%", str(flame.WIDTH))
    return _PAGE.format(
        title=printable(title), width=flame.WIDTH,
        svg=flame.picture(samples, title).document(),
        script=script.replace("%CHARACTER%", str(CHARACTER)),
    )  # fmt: skip
