// What the panel says of embedding, of the query, and of the patches that are most alike.

import { count, element, made } from "./dom.js";

/** Says how far embedding has come, and what failed. */
export function writeEmbedding(session) {
  const { places } = session;
  const total = places.reduce((sum, { embedding }) => sum + embedding.total, 0);
  const done = places.reduce((sum, { embedding }) => sum + embedding.done, 0);
  const isRunning = places.some(({ embedding }) => embedding.isRunning);
  const canEmbed = places.some(({ slide }) => slide.canEmbed);
  const stopped = places.map(({ embedding }) => embedding.stopped).find(Boolean);
  const progress = element("progress");
  Object.assign(progress, { max: Math.max(total, 1), value: done });
  const known = places.reduce((sum, { slide }) => sum + slide.vectors.done, 0);
  let text = `${count(known)} patches have vectors`;
  if (total) text = `${count(done)} of ${count(total)} patches${isRunning ? " …" : done < total ? ", stopped" : ", done"}`;
  element("progress-text").textContent = text;
  const embed = element("embed");
  embed.textContent = total && done && done < total ? "Resume" : "Embed";
  embed.disabled = isRunning || !canEmbed || (total > 0 && done === total);
  element("cancel").disabled = !isRunning;
  const why = places.map(({ slide }) => slide.grid.plan.why_all).find(Boolean);
  element("why-all").hidden = !why;
  element("why-all").textContent = why ? `${why} All patches are embedded.` : "";
  element("failed").replaceChildren(...failures(places, stopped));
}

function failures(places, stopped) {
  const codes = new Map();
  for (const { slide } of places) {
    for (const { code, description } of slide.failed.values()) {
      const known = codes.get(code) ?? { times: 0, description };
      codes.set(code, { ...known, times: known.times + 1 });
    }
  }
  const items = [...codes].map(([code, { times, description }]) => {
    return made("li", {}, `${code} (${count(times)} ${times === 1 ? "patch" : "patches"}): ${description}`);
  });
  if (stopped) items.push(made("li", {}, `Stopped. ${stopped.code ?? stopped.name}: ${stopped.message}`));
  return items;
}

let written = ""; // which patches the list has

/** Shows what was asked, and the patches that are most alike; goTo is called with the one that is chosen. */
export function writeAsked(session, neighbours, goTo) {
  const { query } = session;
  const text = query
    ? query.polygon
      ? `Asked: what is like the mean of ${count(query.indexes.length)} patches in a region of ${query.slide.name}?`
      : `Asked: what is like the patch in column ${query.slide.grid.column(query.indexes[0]) + 1}, ` +
        `row ${query.slide.grid.row(query.indexes[0]) + 1} of ${query.slide.name}?`
    : "Click a patch on the slide, or draw a region.";
  element("query").textContent = text;
  element("neighbours-title").hidden = !neighbours.length;
  const key = neighbours.map(({ slide, index }) => `${session.slides.indexOf(slide)}:${index}`).join();
  if (key === written) return; // thumbnails are not asked for again, and the focus stays
  written = key;
  element("neighbours").replaceChildren(...neighbours.map((one, i) => item(one, i, goTo)));
}

function item(one, i, goTo) {
  const canvas = made("canvas", { width: 96, height: 96, "aria-hidden": "true" });
  const button = made("button", { type: "button" }, canvas, `${i + 1}: ${one.value.toFixed(2)}`);
  const { grid, name } = one.slide;
  const place = `column ${grid.column(one.index) + 1}, row ${grid.row(one.index) + 1} of ${name}`;
  button.setAttribute("aria-label", `${i + 1}: ${one.value.toFixed(2)} alike, ${place}. Go there.`);
  button.addEventListener("click", () => goTo(one));
  drawThumbnail(canvas, one);
  return made("li", {}, button);
}

async function drawThumbnail(canvas, { slide, index }) {
  try {
    const bitmap = await slide.thumbnail(slide.grid.square(index));
    if (!bitmap) return;
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
  } catch {
    // The list is of use without it, and the viewer says what is wrong with the slide.
  }
}
