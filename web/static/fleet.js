// What changes in the fleet is shown as it happens; what a person has unfolded or focused stays so.
"use strict";
const box = document.querySelector("[data-fleet]");
const said = document.querySelector("[data-said]");
const keyed = (place, key) => [...place.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key);

// Where the keyboard is: which link, button or summary of the box, by its place and its words.
function focused() {
  const one = document.activeElement;
  if (!box.contains(one)) return null;
  const card = one.closest("[data-key]");
  return { key: card ? card.dataset.key : "", name: one.tagName, words: one.textContent };
}

function show(html) {
  const open = [...box.querySelectorAll("details[open][data-key]")].map((one) => one.dataset.key);
  const before = focused();
  const page = new DOMParser().parseFromString(html, "text/html");
  box.replaceChildren(...page.body.childNodes);
  for (const key of open) {
    const found = keyed(box, key);
    if (found) found.open = true;
  }
  if (before) {
    const place = (before.key && keyed(box, before.key)) || box;
    const same = [place, ...place.querySelectorAll(before.name)];
    const found = same.find((one) => one.tagName === before.name && one.textContent === before.words);
    if (found) found.focus({ preventScroll: true });
  }
}

let away = false;
const source = new EventSource(box.dataset.fleet);
source.addEventListener("fleet", (event) => {
  const told = JSON.parse(event.data);
  show(told.html);
  if (told.said || away) said.textContent = told.said;
  away = false;
});
source.addEventListener("error", () => {
  away = true;
  said.textContent = "The server does not answer: what is shown was seen before. Trying again.";
});
