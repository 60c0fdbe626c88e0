"""A trace as one HTML file that needs nothing else: swim lanes, and beside them what each step leaves behind.

Arrow keys, buttons and clicks go forward and back. Broken properties are marked where they break, and stay listed from
there on. Works without a network; the trace stands in the file as JSON.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from evenkeel.check.beats import Beat

_TEMPLATE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%TITLE%</title>
<style>
  :root { color-scheme: light dark; --line: #8884; --mark: #2f6fdf; --bad: #d33; --good: #2a8a4a; --faint: #888; }
  body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 1500px; padding: 1rem; }
  h1 { font-size: 1.2rem; margin: 0 0 .2rem; }
  p { margin: .2rem 0 .8rem; color: var(--faint); }
  main { display: grid; grid-template-columns: minmax(max-content, 3fr) minmax(17rem, 2fr);
         gap: 1.2rem; align-items: start; }
  table { border-collapse: collapse; width: 100%; }
  th { font-weight: 600; font-size: .85rem; text-align: center; padding: .3rem; position: sticky; top: 0;
       background: Canvas; border-bottom: 1px solid var(--line); }
  td { border-left: 1px dotted var(--line); height: 1.9rem; padding: 0 .25rem; text-align: center; font-size: .8rem; }
  td:first-child { border: 0; color: var(--faint); width: 2rem; }
  tr { cursor: pointer; }
  tr.later { opacity: .3; }
  tr.now { outline: 2px solid var(--mark); outline-offset: -2px; }
  .acts { background: var(--mark); color: #fff; border-radius: .4rem; padding: .1rem .45rem; white-space: nowrap; }
  .acts.bad { background: var(--bad); }
  .touched { color: var(--mark); font-size: 1.1rem; }
  aside { position: sticky; top: 1rem; }
  .text { min-height: 4.5rem; }
  .card { border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .7rem; margin: .5rem 0; }
  .card.bad { border-color: var(--bad); }
  .card.bad b { color: var(--bad); }
  dl { display: grid; grid-template-columns: max-content 1fr; column-gap: 1rem; margin: .2rem 0 0; font-size: .85rem; }
  dt { color: var(--faint); } dd { margin: 0; }
  ul { padding-left: 1.1rem; margin: .3rem 0; font-size: .85rem; }
  li.bad { color: var(--bad); } li.good { color: var(--good); }
  button { font: inherit; padding: .2rem .8rem; }
  @media (max-width: 1150px) { main { grid-template-columns: 1fr; } aside { position: static; } }
</style>
<h1 id="title"></h1>
<p id="extent"></p>
<main>
  <table aria-label="steps in swim lanes"><thead></thead><tbody></tbody></table>
  <aside>
    <div><button id="back">&larr; back</button> <button id="forward">forward &rarr;</button>
      <span id="place"></span></div>
    <div class="text" id="text" aria-live="polite"></div>
    <div id="cards"></div>
    <ul id="properties"></ul>
  </aside>
</main>
<script type="application/json" id="trace">%TRACE%</script>
<script>
const report = JSON.parse(document.getElementById("trace").textContent);
const steps = report.trace, lanes = [], make = (tag, text, kind) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (kind) node.className = kind;
  return node;
};
for (const of of [s => s.process, s => s.service])
  for (const name of [...new Set(steps.map(of))].sort((a, b) => (b.startsWith("plan") - a.startsWith("plan")) ||
      a.localeCompare(b))) lanes.push(name);
document.getElementById("title").textContent = report.title;
document.getElementById("extent").textContent = report.extent;
const head = make("tr");
head.append(make("th"), ...lanes.map(name => make("th", name)));
document.querySelector("thead").append(head);
steps.forEach((step, k) => {
  const row = make("tr");
  row.append(make("td", step.number));
  for (const lane of lanes) {
    const cell = make("td");
    if (lane === step.process)
      cell.append(make("span", step.action.replaceAll("_", " "), step.breaks.length ? "acts bad" : "acts"));
    else if (lane === step.service) cell.append(make("span", "\\u25cf", "touched"));
    row.append(cell);
  }
  row.onclick = () => show(k);
  document.querySelector("tbody").append(row);
});
let at = 0;
function show(k) {
  if (!steps.length) return;
  at = Math.max(0, Math.min(steps.length - 1, k));
  const step = steps[at], rows = document.querySelectorAll("tbody tr");
  rows.forEach((row, n) => { row.className = n === at ? "now" : n > at ? "later" : ""; });
  rows[at].scrollIntoView({ block: "nearest" });
  document.getElementById("place").textContent = `step ${at + 1} of ${steps.length}`;
  document.getElementById("text").textContent = step.text;
  document.getElementById("cards").replaceChildren(...step.cards.map(card => {
    const box = make("div", undefined, card.is_bad ? "card bad" : "card"), list = make("dl");
    for (const [what, said] of card.rows) list.append(make("dt", what), make("dd", said));
    box.append(make("span", `${card.title} `), make("b", card.shows), list);
    return box;
  }));
  const broken = new Set(steps.slice(0, at + 1).flatMap(each => each.breaks));
  document.getElementById("properties").replaceChildren(
    ...report.properties.map(name =>
      make("li", `${name}: ${broken.has(name) ? "broken" : "holds up to here"}`, broken.has(name) ? "bad" : "good")));
}
document.getElementById("back").onclick = () => show(at - 1);
document.getElementById("forward").onclick = () => show(at + 1);
addEventListener("keydown", event => {
  const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, Home: -1e9, End: 1e9 }[event.key];
  if (by) { event.preventDefault(); show(at + by); }
});
show(0);
</script>
</html>
"""


def as_page(title: str, extent: str, properties: Sequence[str], trace: Sequence[Beat]) -> str:
    """The trace as an HTML document; `properties` are those whose breaking is followed."""
    told = {"title": title, "extent": extent, "properties": properties, "trace": trace}
    # "</script>" in a text would end the element early; the escape is JSON's own.
    data = msgspec.json.encode(told).decode().replace("<", "\\u003c")
    return _TEMPLATE.replace("%TITLE%", title.replace("<", "&lt;")).replace("%TRACE%", data)
