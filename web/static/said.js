// What a model says, as it should be seen: boxes by confidence, masks, before and after, marks.
"use strict";

function sizes(picture) {
  const image = picture.querySelector("img"), drawing = picture.querySelector("svg.boxes");
  if (!drawing) return;
  const fit = () => {
    drawing.setAttribute("viewBox", `0 0 ${image.naturalWidth} ${image.naturalHeight}`);
    const scale = image.naturalWidth / (image.clientWidth || 1);
    for (const text of drawing.querySelectorAll("text")) {
      text.setAttribute("font-size", 14 * scale);
      text.setAttribute("dx", 4 * scale);
      text.setAttribute("dy", 16 * scale);
    }
  };
  if (image.complete) fit();
  image.addEventListener("load", fit);
  addEventListener("resize", fit);
}

function slider(input, act) {
  const show = () => {
    const output = input.parentElement.querySelector("output");
    if (output) output.textContent = Number(input.value).toFixed(2);
    act(Number(input.value));
  };
  input.addEventListener("input", show);
  show();
}

for (const said of document.querySelectorAll(".said")) {
  const picture = said.querySelector(".picture");
  if (picture) sizes(picture);
  said.querySelectorAll("[data-confidence]").forEach((input) => {
    slider(input, (least) => {
      const groups = [...said.querySelectorAll(".boxes g")];
      for (const one of groups) one.setAttribute("visibility", Number(one.dataset.probability) < least ? "hidden" : "visible");
      const shown = groups.filter((one) => one.getAttribute("visibility") === "visible").length;
      said.querySelector("[data-shown]").textContent = `${shown} of ${groups.length} shown`;
    });
  });
  said.querySelectorAll("[data-opacity]").forEach((input) => {
    slider(input, (part) => picture.style.setProperty("--opacity", part));
  });
  said.querySelectorAll("[data-divide]").forEach((input) => {
    slider(input, (part) => picture.style.setProperty("--divide", `${100 * part}%`));
  });
  said.querySelectorAll("[data-marks]").forEach((box) => marks(said, box));
}

function marks(said, box) {
  const audio = said.querySelector("audio"), drawing = box.querySelector("svg"), now = drawing.querySelector(".now");
  const seek = (seconds) => {
    if (!audio) return;
    audio.currentTime = seconds;
    audio.play().catch(() => {}); // the browser may want a person's own press first
  };
  said.querySelectorAll("[data-at]").forEach((one) => one.addEventListener("click", () => seek(Number(one.dataset.at))));
  if (!audio) {
    now.remove();
    said.querySelectorAll("button[data-at]").forEach((one) => (one.disabled = true));
    return;
  }
  const lanes = drawing.viewBox.baseVal.height;
  const whole = () => {
    if (!Number.isFinite(audio.duration)) return;
    drawing.setAttribute("viewBox", `0 0 ${audio.duration} ${lanes}`);
    box.querySelector("[data-length]").textContent = audio.duration.toFixed(1);
  };
  audio.addEventListener("loadedmetadata", whole);
  whole();
  audio.addEventListener("timeupdate", () => {
    now.setAttribute("x1", audio.currentTime);
    now.setAttribute("x2", audio.currentTime);
  });
}
