// A part of a page is fetched again every few seconds, unless somebody is at work in it.
"use strict";
async function refresh() {
  const box = document.querySelector("[data-fresh]");
  const busy = document.hidden || box.contains(document.activeElement);
  if (!busy) {
    try {
      const answer = await fetch(box.dataset.fresh, { headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("[data-fresh]");
      if (answer.ok && fresh) box.replaceChildren(...fresh.childNodes);
    } catch {
      // The server is away: what was seen last stays, and it is asked again.
    }
  }
  setTimeout(refresh, 3000);
}
setTimeout(refresh, 3000);
