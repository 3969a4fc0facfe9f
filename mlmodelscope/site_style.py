"""How a study's site looks, and the script that draws its figures in the colours of the page."""

STYLE = """
:root {
  color-scheme: light dark;
  --ink: light-dark(#1b242d, #e4eaf0); --quiet: light-dark(#56626e, #9ba8b5);
  --paper: light-dark(#ffffff, #12171d); --raised: light-dark(#f3f6f8, #1a2129);
  --line: light-dark(#d8dfe5, #313b46); --accent: light-dark(#0a6591, #62bbe3);
  --warm: light-dark(#fff3d1, #3a2f10); --edge: light-dark(#c89400, #e0b040);
  --grid: light-dark(#e4e9ee, #2a333d);
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, "Helvetica Neue", Arial, sans-serif; }
a { color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.skip { position: absolute; left: -999px; }
.skip:focus { left: 8px; top: 8px; background: var(--paper); padding: 8px; z-index: 2; }
body > header { background: var(--raised); border-bottom: 1px solid var(--line); }
body > header > div { max-width: 1160px; margin: 0 auto; padding: 9px 20px; font-size: .94rem; }
.brand { display: block; color: var(--quiet); font-size: .84rem; text-decoration: none; }
nav { display: flex; flex-wrap: wrap; gap: 2px 20px; }
nav a { text-decoration: none; padding: 3px 0; }
nav a[aria-current] { color: var(--ink); font-weight: 600; border-bottom: 2px solid var(--accent); }
main { max-width: 1160px; margin: 0 auto; padding: 8px 20px 60px; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 1rem 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.3rem 0 .3rem; color: var(--quiet); }
p { margin: .45em 0; max-width: 78ch; overflow-wrap: anywhere; }
p.about, p.note { color: var(--quiet); } p.note { font-size: .86rem; margin: .2em 0; }
p.warning { background: var(--warm); border-left: 4px solid var(--edge); padding: .5em .9em; }
p.lead { font-size: 1.1rem; font-weight: 600; }
.cards { display: flex; flex-wrap: wrap; gap: 12px; margin: 1.1rem 0; }
.card { border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px; flex: 1 1 150px;
  max-width: 320px; background: var(--raised); }
.card b { display: block; font-size: 1.35rem; overflow-wrap: anywhere; }
.card span, .card small { display: block; font-size: .82rem; color: var(--quiet); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; margin: .3em 0 .7em; }
th { text-align: left; border-bottom: 2px solid var(--line); padding: 5px 14px 5px 0;
  vertical-align: bottom; color: var(--quiet); font-weight: 600; }
td { border-bottom: 1px solid var(--line); padding: 5px 14px 5px 0; vertical-align: top;
  min-width: 4.5em; max-width: 420px; overflow-wrap: break-word; }
th.n, td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td:not(.n):first-child { min-width: 9em; } td.n { min-width: 0; }
td.na { color: var(--quiet); }
tr.mark td { font-weight: 650; background: var(--raised); }
pre { background: var(--raised); border: 1px solid var(--line); border-radius: 6px;
  padding: 10px 12px; font-size: .86rem; white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--accent); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 470px), 1fr));
  gap: 18px 26px; margin: .8rem 0; }
.plots.one { grid-template-columns: minmax(0, 1fr); }
figure { margin: 0; min-width: 0; } figcaption { font-weight: 600; font-size: .93rem; }
.drawn { width: 100%; }
@media (max-width: 600px) { main { padding: 4px 14px 40px; } h1 { font-size: 1.45rem; } }
@media print { body > header { display: none; } figure, tr { break-inside: avoid; } }
"""

SCRIPT = """"use strict";
const dark = matchMedia("(prefers-color-scheme: dark)");
const figures = [...document.querySelectorAll("[data-figure]")];

function color(name) {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function draw(place) {
  const spec = JSON.parse(document.getElementById(place.dataset.figure).textContent);
  const narrow = place.clientWidth < 520;
  // A legend wants room of its own where it cannot stand in few lines.
  const entries = spec.data.filter((one) => one.showlegend !== false).length;
  if (narrow) makeRoom(spec, place, 16 * Math.min(entries, 16));
  const ink = color("--ink"), grid = color("--grid"), layout = spec.layout;
  layout.paper_bgcolor = layout.plot_bgcolor = "rgba(0,0,0,0)";
  layout.font = { color: ink, size: narrow ? 11 : 13, family: "system-ui, Arial, sans-serif" };
  for (const [name, axis] of Object.entries(layout)) {
    if (/^[xy]axis/.test(name)) {
      Object.assign(axis, { gridcolor: grid, zerolinecolor: grid, linecolor: color("--line") });
      axis.exponentformat = "SI";
      if (axis.title) axis.title.font = { size: narrow ? 11 : 12.5 };
    }
  }
  for (const one of spec.data) if (one.error_x) one.error_x.color = color("--quiet");
  Plotly.react(place, spec.data, layout, { displayModeBar: false, responsive: true });
}

function makeRoom(spec, place, more) {
  spec.layout.height = (spec.layout.height || 380) + more;
  place.style.height = `${spec.layout.height}px`;
}

function drawAll() { figures.forEach(draw); }
dark.addEventListener("change", drawAll);
drawAll();
"""
