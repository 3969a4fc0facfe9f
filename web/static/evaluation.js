// The layers of an evaluation (fetched apart, sortable), and the slider of the boxes.
"use strict";
const ms = (ns) => (ns / 1e6).toPrecision(3);

function cell(row, text, number = false) {
  const made = row.insertCell();
  made.textContent = text;
  if (number) made.className = "number";
}

const COLUMNS = [
  ["#", (row) => row.index, true],
  ["Layer", (row) => row.name, false],
  ["Operator", (row) => row.operator, false],
  ["Output", (row) => row.output_shape.join("×"), false],
  ["p50 ms", (row) => row.median_ns, true, ms],
  ["Share", (row) => row.share_percent, true, (x) => (x === null ? "n/a" : `${x.toFixed(1)} %`)],
];

function byType(rows) {
  const sums = new Map();
  for (const row of rows) sums.set(row.operator || "?", (sums.get(row.operator || "?") || 0) + row.total_ns);
  const whole = [...sums.values()].reduce((a, b) => a + b, 0);
  const box = document.createElement("div");
  box.className = "bars";
  for (const [name, total] of [...sums].sort((a, b) => b[1] - a[1]).slice(0, 8)) {
    const label = document.createElement("span"), meter = document.createElement("meter"), share = document.createElement("span");
    label.textContent = name;
    meter.value = total / whole;
    share.textContent = `${((100 * total) / whole).toFixed(1)} %`;
    share.className = "number";
    box.append(label, meter, share);
  }
  return box;
}

function table(rows) {
  const wide = document.createElement("div"), made = document.createElement("table");
  wide.className = "wide";
  wide.append(made);
  const head = made.createTHead().insertRow(), body = made.createTBody();
  let by = 4, down = true, most = 15;
  const draw = () => {
    const of = COLUMNS[by][1];
    rows.sort((a, b) => {
      const x = of(a), y = of(b);
      return (x < y ? -1 : x > y ? 1 : a.index - b.index) * (down ? -1 : 1);
    });
    body.replaceChildren();
    for (const row of rows.slice(0, most)) {
      const line = body.insertRow();
      for (const [, get, number, show] of COLUMNS) cell(line, show ? show(get(row)) : get(row), number);
    }
    [...head.cells].forEach((th, at) => th.setAttribute("aria-sort", at !== by ? "none" : down ? "descending" : "ascending"));
  };
  COLUMNS.forEach(([name, , number], at) => {
    const th = document.createElement("th"), button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", () => {
      down = at === by ? !down : number && at > 0;
      by = at;
      draw();
    });
    if (number) th.className = "number";
    th.append(button);
    head.append(th);
  });
  draw();
  if (rows.length > most) {
    const all = document.createElement("button");
    all.type = "button";
    all.className = "plain";
    all.textContent = `All ${rows.length} layers`;
    all.addEventListener("click", () => {
      most = rows.length;
      draw();
      all.remove();
    });
    wide.append(all);
  }
  return wide;
}

async function get(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" } });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail);
  return body;
}

async function layers(box) {
  try {
    const rows = await get(`/api/v1/evaluations/${box.dataset.layers}/layers?limit=1000`);
    const note = document.createElement("p");
    note.className = "quiet";
    note.textContent = rows.length ? `${rows.length} layers, of a run of their own` : "No layers were told.";
    box.replaceChildren(note, ...(rows.length ? [byType(rows), table(rows)] : []));
  } catch (problem) {
    box.textContent = `No layers: ${problem.message}`;
  }
}

async function account(box) {
  try {
    const told = await get(`/api/v1/evaluations/${box.dataset.account}/timeline/account`);
    const stored = Object.values(told.stored).reduce((a, b) => a + b, 0);
    const clock = told.clock_error_ns >= 0 ? `; clocks agree within ${ms(told.clock_error_ns)} ms` : "";
    box.textContent = `Timeline: ${told.complete ? "complete" : `not complete: ${told.missing}`}; ${stored.toLocaleString()} spans stored, ${told.lost} lost${clock}.`;
  } catch (problem) {
    box.textContent = `No timeline: ${problem.message}`;
  }
}

function boxes(picture) {
  const image = picture.querySelector("img"), drawing = picture.querySelector("svg");
  if (!drawing) return;
  const fit = () => drawing.setAttribute("viewBox", `0 0 ${image.naturalWidth} ${image.naturalHeight}`);
  if (image.complete) fit();
  image.addEventListener("load", fit);
  const slider = picture.parentElement.querySelector("[data-slider]");
  const show = () => {
    slider.nextElementSibling.textContent = Number(slider.value).toFixed(2);
    for (const one of drawing.children) one.setAttribute("visibility", Number(one.dataset.probability) < Number(slider.value) ? "hidden" : "visible");
  };
  slider.addEventListener("input", show);
  show();
}

document.querySelectorAll(".picture").forEach(boxes);
document.querySelectorAll("[data-layers]").forEach(layers);
document.querySelectorAll("[data-account]").forEach(account);
