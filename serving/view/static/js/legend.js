// What the colours stand for.

import { KINDS, colourMap } from "./colours.js";
import { count, element, made } from "./dom.js";
import { countsOf } from "./exports.js";
import { opacityAt } from "./paint.js";

/** Writes the legend of what is shown; choose(cluster) is called when one is to be shown alone, −1 for all. */
export function writeLegend(session, choose) {
  const place = element("legend");
  const { mode } = session.show;
  if (mode === "clusters") {
    if (session.labels) return writeClusters(place, session, choose);
    return place.replaceChildren(made("p", { class: "hint" }, "Clusters need embedded patches."));
  }
  if (mode === "components") {
    const text =
      "Red, green and blue are the three directions in which vectors differ most: patches of one colour are alike.";
    return place.replaceChildren(made("p", { class: "hint" }, text));
  }
  if (session.values) return writeScale(place, session);
  const hint = mode === "likeness" ? "Click a patch, or draw a region, to see what is like it." : "";
  return place.replaceChildren(made("p", { class: "hint" }, hint));
}

function writeScale(place, { window, show }) {
  const canvas = made("canvas", { width: 256, height: 1, role: "img", "aria-label": "From unlike to alike" });
  const context = canvas.getContext("2d");
  colourMap(show.map).forEach((rgb, i) => {
    context.fillStyle = `rgb(${rgb} / ${show.opacity * opacityAt(i / 255)})`;
    context.fillRect(i, 0, 1, 1);
  });
  const ends = [window.low, window.high].map((value) => made("span", {}, value.toFixed(2)));
  place.replaceChildren(canvas, made("div", { class: "ends" }, ...ends));
}

function writeClusters(place, session, choose) {
  const focused = document.activeElement?.dataset?.cluster;
  const counts = countsOf(session);
  const total = counts.reduce((a, b) => a + b, 0);
  const buttons = counts.map((size, cluster) => {
    const isAlone = session.show.only === cluster;
    const button = made("button", { type: "button", "aria-pressed": String(isAlone), "data-cluster": String(cluster) });
    button.append(swatch(KINDS[cluster]), `Cluster ${cluster + 1}: ${count(size)}`);
    button.addEventListener("click", () => choose(isAlone ? -1 : cluster));
    return button;
  });
  const hint = made("p", { class: "hint" }, `${count(total)} patches. Choose one to see it alone.`);
  place.replaceChildren(...buttons, hint);
  if (focused !== undefined) place.querySelector(`[data-cluster="${focused}"]`)?.focus();
}

function swatch(colour) {
  const name = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(name, "svg");
  const rectangle = document.createElementNS(name, "rect");
  for (const [key, value] of [["width", "100%"], ["height", "100%"], ["fill", colour]]) rectangle.setAttribute(key, value);
  svg.setAttribute("aria-hidden", "true");
  svg.append(rectangle);
  return svg;
}
