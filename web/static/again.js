// Follows what still runs: the table is fetched anew; when all has ended, the whole page is.
"use strict";
async function follow() {
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("[data-fresh]");
    if (answer.ok && fresh) {
      if (!fresh.querySelector("[role=status]")) return location.reload();
      const box = document.querySelector("[data-fresh]");
      if (!box.contains(document.activeElement)) box.replaceWith(document.importNode(fresh, true));
    }
  } catch {
    // The server is away: what was seen last stays, and it is asked again.
  }
  setTimeout(follow, 1000);
}
setTimeout(follow, 1000);
