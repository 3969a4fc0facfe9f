// A manifest is checked while it is typed: every fault with its line, which can be gone to.
"use strict";
const form = document.querySelector("[data-publish]");
const text = form.querySelector("textarea");
const verdict = form.querySelector("[data-verdict]");
const faults = form.querySelector("[data-faults]");
const files = form.querySelector("[data-files]");
const nothing = files.textContent;
let waiting = 0, asked = 0;

function goTo(line) {
  const lines = text.value.split("\n");
  const start = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
  text.focus();
  text.setSelectionRange(start, start + (lines[line - 1] || "").length);
  const height = text.scrollHeight / Math.max(1, lines.length);
  text.scrollTop = Math.max(0, (line - 4) * height);
}

function show(told) {
  faults.replaceChildren();
  for (const fault of told.faults) {
    const item = document.createElement("li");
    if (fault.line) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "plain";
      button.textContent = `line ${fault.line}`;
      button.addEventListener("click", () => goTo(fault.line));
      item.append(button, " ");
    }
    if (fault.field) {
      const code = document.createElement("code");
      code.textContent = fault.field;
      item.append(code, ": ");
    }
    item.append(fault.text);
    faults.append(item);
  }
  const count = told.faults.length;
  text.setAttribute("aria-invalid", count ? "true" : "false");
  if (count) verdict.textContent = count === 1 ? "1 fault" : `${count} faults`;
  else verdict.textContent = `No faults: the ${told.kind} ${told.name} ${told.version}. ${told.note}`;
  files.textContent = told.files.length
    ? `Send along: ${told.files.map((one) => `${one.path} (${one.field})`).join(", ")}`
    : nothing;
}

async function check() {
  const mine = ++asked;
  if (!text.value.trim()) {
    verdict.textContent = "";
    faults.replaceChildren();
    return;
  }
  try {
    const answer = await fetch("/publish/check", { method: "POST", body: text.value, headers: { Accept: "application/json" } });
    const told = await answer.json();
    if (mine !== asked) return; // more was typed meanwhile
    if (answer.ok) show(told);
    else verdict.textContent = told.detail;
  } catch {
    verdict.textContent = "The server does not answer: it is checked again with the next change.";
  }
}

text.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(check, 500);
});
form.querySelector("[data-load]").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  if (!file) return;
  text.value = await file.text();
  check();
});
if (text.value) check();
