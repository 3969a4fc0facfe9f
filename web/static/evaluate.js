// Evaluate: another model has other inputs and places; what fits is shown as constraints change.
"use strict";
const run = document.querySelector("[data-run]");

for (const select of document.querySelectorAll("[data-reload]")) {
  select.addEventListener("change", () => {
    if (select.dataset.reload === "task") select.form.querySelector("[name=model]").disabled = true;
    select.form.submit();
  });
}

let waiting = 0, asked = 0;
async function places() {
  const box = run.querySelector("[data-places]");
  const form = new FormData(run), query = new URLSearchParams();
  for (const name of ["model", "framework", "node", "device", "requires", "prefer", "place"]) {
    for (const value of form.getAll(name)) query.append(name, value);
  }
  const number = ++asked;
  box.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(`/evaluate/places?${query}`, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("[data-places]");
    if (number !== asked) return; // a later question is on its way
    if (answer.ok && fresh) box.replaceChildren(...fresh.childNodes);
  } catch {
    // The server is away: what was shown last stays.
  }
  box.removeAttribute("aria-busy");
}
const constraints = run.querySelector("[data-constraints]");
constraints.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(places, 250);
});

const scenario = run.querySelector("[data-scenario]");
function loads() {
  for (const box of run.querySelectorAll("[data-for]")) {
    box.hidden = !box.dataset.for.split(" ").includes(scenario.value);
  }
  const plain = ["", "online"].includes(scenario.value);
  run.querySelector("[name=runs]").closest("label").hidden = !plain;
}
scenario.addEventListener("change", loads);
loads();

run.addEventListener("submit", () => {
  const button = run.querySelector("button.button");
  if (button) {
    button.disabled = true;
    button.textContent = "Sending …";
  }
});
addEventListener("pageshow", () => {
  const button = run.querySelector("button.button");
  if (button && button.disabled) {
    button.disabled = false;
    button.textContent = "Run";
  }
});
const wrong = run.querySelector("[aria-invalid]");
if (wrong) wrong.focus();
