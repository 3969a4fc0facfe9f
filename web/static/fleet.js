// A node that comes or leaves is seen within seconds; what a person has unfolded stays so.
"use strict";
async function refresh() {
  const box = document.querySelector("[data-fresh]");
  if (!document.hidden && !box.querySelector("details[open]") && !box.contains(document.activeElement)) {
    try {
      const answer = await fetch("/fleet", { headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("[data-fresh]");
      if (answer.ok && fresh) box.replaceWith(fresh);
    } catch {
      // The server is away: what was seen last stays, and it is asked again.
    }
  }
  setTimeout(refresh, 2000);
}
setTimeout(refresh, 2000);
