// Evaluations that are ticked are compared side by side.
"use strict";
const form = document.querySelector("[data-choose]");
if (form) {
  const button = form.querySelector("button");
  const words = form.querySelector("[role=status]");
  const MOST = 12;
  const chosen = () => [...document.querySelectorAll(".choice input:checked")].map((one) => one.value);
  const count = () => {
    const found = chosen().length;
    button.disabled = found < 2 || found > MOST;
    words.textContent = found > MOST ? `${found} chosen: ${MOST} at most.` : found ? `${found} chosen.` : "Choose two or more.";
  };
  form.hidden = false;
  document.addEventListener("change", count);
  addEventListener("pageshow", count);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    location.href = `/together?ids=${chosen().join(",")}`;
  });
}
