// Another model has other inputs and places: its form is loaded. A form is sent once.
"use strict";
document.querySelector("[data-reload]").addEventListener("change", (event) => event.target.form.submit());
document.querySelector("[data-run]").addEventListener("submit", (event) => {
  const button = event.target.querySelector("button.button");
  if (button) {
    button.disabled = true;
    button.textContent = "Sending …";
  }
});
addEventListener("pageshow", () => {
  const button = document.querySelector("[data-run] button.button");
  if (button && button.disabled) {
    button.disabled = false;
    button.textContent = "Run";
  }
});
