// Small pictures, fetched when they come into view, few at a time: the token is in a header, so no <img> could.

import { made } from "./dom.js";

const AT_ONCE = 3;
const waiting = [];
let running = 0;

const watcher = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    watcher.unobserve(target);
    waiting.push(target);
  }
  next();
});

const fetchers = new WeakMap();

/** Makes a place for the small picture of a study, a series or an instance. */
export function thumbnail(store, path, label) {
  const canvas = made("canvas", { role: "img", "aria-label": label });
  canvas.width = canvas.height = 96;
  fetchers.set(canvas, () => store.picture(`dicomweb/${path}/thumbnail?viewport=96,96`));
  watcher.observe(canvas);
  return canvas;
}

function next() {
  while (running < AT_ONCE && waiting.length) {
    running++;
    draw(waiting.shift()).finally(() => {
      running--;
      next();
    });
  }
}

async function draw(canvas) {
  if (!canvas.isConnected) return;
  try {
    const picture = await fetchers.get(canvas)();
    canvas.width = picture.width;
    canvas.height = picture.height;
    canvas.getContext("2d").drawImage(picture, 0, 0);
    canvas.dataset.drawn = "yes";
  } catch {
    canvas.setAttribute("aria-label", "No picture can be made of this");
  }
}
