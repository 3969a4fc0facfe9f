// A first evaluation, step by step, on the live pages: it follows what the person does.
"use strict";
(() => {
  const KEY = "mlms-tutorial";
  // page: where the step is done; at: what it is about, the first of these that is there; until:
  // what the person does there, after which the next step comes by itself.
  const STEPS = [
    { page: /^\/$/, at: [".hero .button"], title: "Begin", text: "We evaluate one model together, in about a minute. Press Evaluate.", next: "/evaluate" },
    { page: /^\/evaluate$/, at: ["select[name=model]", "[name=model]", "main h1"], title: "A model", text: "This is what is evaluated. Keep this model, or choose another.", until: "change" },
    { page: /^\/evaluate$/, at: ["input[type=file]", "textarea[name=text]", "main fieldset"], title: "What goes in", text: "Give it a file of yours, or leave this empty: then the model's own samples go in.", until: "change" },
    { page: /^\/evaluate$/, at: ["[name=place]", "[name=framework]", "main fieldset:nth-of-type(2)"], title: "Where it runs", text: "Each line is a framework on a machine. Tick one, or several to see them side by side.", until: "change" },
    { page: /^\/evaluate$/, at: ["[name=trace]"], title: "How deep to look", text: "At the framework level you see each layer. Each deeper level is a run of its own, so that looking does not spoil the times.", until: "change" },
    { page: /^\/evaluate$/, at: ["[data-run] button.button", "button.button"], title: "Run", text: "Press Run.", next: "/evaluations/" },
    { page: /^\/(evaluations\/[^/]+|together|compare)$/, at: ["[data-phase]", "[data-progress]", "main h1"], title: "It runs", text: "What happens is shown as it happens. The result comes by itself.", gone: "[data-live]" },
    { page: /^\/(evaluations\/[^/]+|together|compare)$/, at: [".said", ".saids", "main h1"], title: "What it says", text: "For each input what the model answers, with how sure it is." },
    { page: /^\/(evaluations\/[^/]+|together|compare)$/, at: ["main table", "main h2"], title: "How fast it is", text: "p50 is the middle of all queries: half were faster. The interval says how sure that is. Further down: where the time goes, layer by layer." },
    { page: /./, at: ["nav a[href='/history']"], title: "Done", text: "Everything is kept in the History, where evaluations are compared. Run the model elsewhere, or change one thing, and hold the two against each other." },
  ];
  let state = read(), panel = null, marked = null;

  function read() {
    try {
      return JSON.parse(sessionStorage.getItem(KEY));
    } catch {
      return null;
    }
  }
  function keep(found) {
    state = found;
    if (found) sessionStorage.setItem(KEY, JSON.stringify(found));
    else sessionStorage.removeItem(KEY);
  }

  function begin() {
    keep({ step: 0 });
    if (location.pathname === "/") show(true);
    else location.href = "/";
  }
  function leave() {
    keep(null);
    unmark();
    if (panel) panel.remove();
    panel = null;
    const again = document.querySelector("[data-tutorial]");
    (again || document.querySelector("main")).focus();
  }
  function go(step, focus) {
    if (step >= STEPS.length) return leave();
    keep({ step });
    show(focus);
  }

  function unmark() {
    if (marked) marked.classList.remove("shown-by-tutorial");
    marked = null;
  }
  const button = (words, cls, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.className = cls;
    made.textContent = words;
    made.addEventListener("click", act);
    return made;
  };
  const line = (tag, words) => {
    const made = document.createElement(tag);
    made.textContent = words;
    return made;
  };

  function show(focus) {
    if (!state) return;
    // A page that the person went on to by themselves is where the next steps are.
    let at = state.step;
    if (!STEPS[at].page.test(location.pathname)) {
      const later = STEPS.findIndex((step, index) => index > at && index < STEPS.length - 1 && step.page.test(location.pathname));
      if (later > 0) at = later;
    }
    if (STEPS[at].gone && !document.querySelector(STEPS[at].gone)) at += 1;
    keep({ step: at });
    const step = STEPS[at];
    const here = step.page.test(location.pathname);
    unmark();
    if (!panel) {
      panel = document.createElement("aside");
      panel.className = "tutorial";
      panel.setAttribute("aria-label", "Tutorial");
      panel.tabIndex = -1;
      document.body.append(panel);
    }
    const place = here && step.at.map((one) => document.querySelector(one)).find(Boolean);
    if (place) {
      marked = place.closest("label, fieldset, figure") && place.matches("input, select, textarea") ? place.closest("label") || place : place;
      marked.classList.add("shown-by-tutorial");
      marked.scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    }
    const words = document.createElement("div");
    words.setAttribute("role", "status");
    words.append(line("h2", `${at + 1} of ${STEPS.length}: ${step.title}`), line("p", here ? step.text : "This step is on another page."));
    const actions = document.createElement("p");
    actions.className = "actions";
    if (!here) actions.append(button("Go there", "button", () => (location.href = at < 1 ? "/" : "/evaluate")));
    else if (!step.next) actions.append(button(at + 1 < STEPS.length ? "Next" : "Finish", "button", () => go(at + 1, true)));
    if (at > 0 && STEPS[at - 1].page.test(location.pathname)) actions.append(button("Back", "plain", () => go(at - 1, true)));
    actions.append(button("Leave the tutorial", "plain", leave));
    panel.replaceChildren(words, actions);
    if (focus) panel.focus({ preventScroll: true });
    if (place && step.until && marked) {
      marked.addEventListener(step.until, () => state && state.step === at && go(at + 1, false), { once: true });
    }
  }

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && panel && !event.defaultPrevented) leave();
  });
  addEventListener("DOMContentLoaded", () => {
    const start = document.querySelector("[data-tutorial]");
    if (start) {
      start.hidden = false;
      start.addEventListener("click", begin);
    }
    if (new URLSearchParams(location.search).has("tutorial")) begin();
    else show(false);
  });
})();
