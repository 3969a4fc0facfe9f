// Sections that load by themselves when they come into view; tables that sort; frames on demand.
"use strict";

async function load(box) {
  const address = box.dataset.part;
  box.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(address, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!answer.ok) throw new Error(page.querySelector("main p")?.textContent || answer.statusText);
    if (box.dataset.part !== address) return; // another question was asked meanwhile
    const old = box.contains(document.activeElement) ? document.activeElement.name : "";
    box.replaceChildren(...[...page.body.childNodes].map((node) => document.importNode(node, true)));
    prepare(box);
    if (old) box.querySelector(`[name="${CSS.escape(old)}"]`)?.focus();
  } catch (problem) {
    failed(box, problem.message);
  }
  box.removeAttribute("aria-busy");
}

function failed(box, why) {
  const words = document.createElement("p"), again = document.createElement("button");
  words.className = "warning";
  words.setAttribute("role", "alert");
  words.textContent = `It could not be shown: ${why} `;
  again.type = "button";
  again.className = "plain";
  again.textContent = "Try again";
  again.addEventListener("click", () => load(box));
  words.append(again);
  box.replaceChildren(words);
}

const value = (cell) => {
  const text = cell.textContent.trim(), number = parseFloat(text.replace(/[×,+]/g, "").replace("−", "-"));
  return Number.isNaN(number) ? text.toLowerCase() : number;
};

function order(table, at, down) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [value(row.cells[at]), row]);
  rows.sort(([a], [b]) => {
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1; // what has no number goes last
    return (a < b ? -1 : a > b ? 1 : 0) * (down ? -1 : 1);
  });
  body.append(...rows.map(([, row]) => row));
  [...table.tHead.rows[0].cells].forEach((th, i) => th.setAttribute("aria-sort", i !== at ? "none" : down ? "descending" : "ascending"));
  few(table);
}

function few(table) {
  const most = Number(table.dataset.most || Infinity);
  [...table.tBodies[0].rows].forEach((row, i) => (row.hidden = i >= most));
}

function sortable(table) {
  [...table.tHead.rows[0].cells].forEach((th, at) => {
    if (!th.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...th.childNodes);
    th.append(button);
    button.addEventListener("click", () => {
      const now = th.getAttribute("aria-sort"), number = th.classList.contains("number");
      order(table, at, now === "descending" ? false : now === "ascending" ? true : number);
    });
  });
  const count = table.tBodies[0].rows.length;
  if (table.dataset.most && count > Number(table.dataset.most)) {
    const all = document.createElement("button");
    all.type = "button";
    all.className = "plain";
    all.textContent = `All ${count} rows`;
    all.addEventListener("click", () => {
      delete table.dataset.most;
      few(table);
      all.remove();
    });
    table.parentElement.after(all);
    few(table);
  }
}

function prepare(within) {
  within.querySelectorAll("table[data-sortable]").forEach(sortable);
  within.querySelectorAll("[data-choose-part]").forEach((form) => {
    const ask = () => {
      const box = form.closest("[data-part]");
      box.dataset.part = `${form.getAttribute("action")}?${new URLSearchParams(new FormData(form))}`;
      load(box);
    };
    form.addEventListener("change", ask);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      ask();
    });
  });
}

document.querySelectorAll("[data-frame]").forEach((button) => {
  button.addEventListener("click", () => {
    const frame = document.createElement("iframe");
    frame.className = "perfetto";
    frame.title = button.dataset.title;
    frame.src = button.dataset.frame;
    button.parentElement.after(frame);
    button.remove();
  });
});

prepare(document);
const seen = new IntersectionObserver(
  (entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      seen.unobserve(entry.target);
      load(entry.target);
    }
  },
  { rootMargin: "600px" },
);
document.querySelectorAll("[data-part]").forEach((box) => seen.observe(box));
