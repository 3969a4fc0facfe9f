// Draws the figure of this page with plotly: as wide as its frame, light or dark as the page is.
"use strict";
const figure = JSON.parse(document.getElementById("figure").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");

function layout() {
  const ink = dark.matches ? "#e6edf3" : "#16202a", line = dark.matches ? "#303b47" : "#d5dde4";
  const made = { ...figure.layout, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", autosize: true };
  delete made.width;
  made.title = undefined; // the page around it says what it is
  made.margin = { ...made.margin, t: 20 };
  made.font = { ...made.font, color: ink, size: 12 };
  for (const name of Object.keys(made)) {
    if (/^[xy]axis/.test(name)) made[name] = { ...made[name], gridcolor: line, zerolinecolor: line, linecolor: line };
  }
  made.annotations = (made.annotations || []).map((one) => ({ ...one, font: { ...one.font, color: ink } }));
  return made;
}

function data() {
  if (!dark.matches) return figure.data;
  return figure.data.map((one) => (one.line && one.line.color === "#000" ? { ...one, line: { ...one.line, color: "#fff" } } : one));
}

const box = document.getElementById("plot");
function draw() {
  Plotly.react(box, data(), layout(), { responsive: true, displaylogo: false, displayModeBar: false });
  if (window.frameElement) window.frameElement.style.height = `${(layout().height || 480) + 8}px`;
}
draw();
dark.addEventListener("change", draw);
