// Shows an evaluation as its facts arrive; when it has ended, the page of the result is loaded.
"use strict";
const box = document.querySelector("[data-live]");
const find = (name) => document.querySelector(`[data-${name}]`);
const words = (text) => document.createTextNode(text);
let runs = [], times = new Map(), started = false;

function make(tag, text = "", parent = null, cls = "") {
  const made = document.createElement(tag);
  made.append(words(text));
  if (cls) made.className = cls;
  if (parent) parent.append(made);
  return made;
}

const handlers = {
  JobStarted(fact) {
    started = true;
    runs = fact.runs;
    find("model").textContent = fact.model;
    find("where").textContent = `${fact.framework} ${fact.framework_version} on ${fact.node_id}`;
    find("phase").textContent = "opening the model";
  },
  ModelOpened(fact) {
    if (!fact.cached) find("phase").textContent = `opened in ${(fact.duration_ns / 1e6).toFixed(0)} ms`;
  },
  Progress(fact) {
    if (fact.phase === "fetch" || fact.run < 0) {
      find("phase").textContent = fact.text || fact.phase;
      return;
    }
    if (runs.find((one) => one.index === fact.run)?.options) {
      // A load's end is known to the worker alone: each phase has a bar of its own.
      if (fact.total) find("progress").value = Math.min(1, fact.done / fact.total);
      const load = runs.find((one) => one.index === fact.run);
      find("phase").textContent = `${load.scenario.replaceAll("_", " ")}, batch ${load.batch_size}, ${load.level} level, ${fact.phase}`;
      return;
    }
    const size = (run) => run.warmup + run.queries;
    const run = runs.find((one) => one.index === fact.run);
    if (!run) return;
    const before = runs.filter((one) => one.index < fact.run).reduce((sum, one) => sum + size(one), 0);
    const total = runs.reduce((sum, one) => sum + size(one), 0);
    const done = before + fact.done + (fact.phase === "warmup" ? 0 : run.warmup);
    if (total) find("progress").value = Math.min(1, done / total);
    find("phase").textContent = `batch ${run.batch_size}, ${run.level} level, ${fact.phase}`;
  },
  PredictionsMade(fact) {
    const all = find("said");
    for (const one of fact.predictions.slice(0, Math.max(0, 20 - all.children.length))) {
      const card = make("section", "", all, "said");
      make("h3", one.input, card);
      const list = make("ol", "", card, "classes");
      for (const found of one.classes || []) {
        const item = make("li", "", list);
        make("span", found.label || String(found.index), item, "label");
        const meter = make("meter", "", item);
        meter.max = 1;
        meter.value = found.probability;
        make("span", found.probability.toFixed(3), item, "number");
      }
      if (one.text) make("blockquote", one.text, card);
      if (one.boxes && one.boxes.length) make("p", `${one.boxes.length} things found`, card);
    }
  },
  RunMeasured(fact) {
    const known = times.get(fact.run) || { fact, all: [] };
    known.all.push(...fact.durations_ns);
    times.set(fact.run, known);
    const place = find("latency");
    place.replaceChildren();
    for (const { fact: run, all } of times.values()) {
      const sorted = [...all].sort((a, b) => a - b);
      const median = sorted[Math.floor(sorted.length / 2)] / 1e6;
      make("p", `batch ${run.batch_size}, ${run.level} level: ${all.length} queries, p50 ${median.toFixed(3)} ms`, place);
    }
  },
};

const source = new EventSource(`/api/v1/evaluations/${box.dataset.live}/facts`);
for (const [name, handle] of Object.entries(handlers)) {
  source.addEventListener(name, (event) => handle(JSON.parse(event.data)));
}
source.addEventListener("problem", (event) => {
  find("phase").textContent = JSON.parse(event.data).detail;
  source.close();
});
source.addEventListener("end", () => {
  source.close();
  find("phase").textContent = "done: fetching the result";
  // The store may be a moment behind the bus.
  setTimeout(() => location.reload(), 300);
});

// Until a node begins: the place in its queue.
async function queued() {
  if (started) return;
  try {
    const answer = await fetch(`/evaluations/${box.dataset.live}/queue`);
    const text = answer.ok ? await answer.text() : "";
    if (text && !started) find("phase").textContent = text;
  } catch {
    // The server is away: it is asked again.
  }
  setTimeout(queued, 2000);
}
setTimeout(queued, 1000);
