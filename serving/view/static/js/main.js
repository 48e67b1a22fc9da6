// The page: its controls, and what they do.

import { MAP_NAMES } from "./colours.js";
import { count, element, forgiven, made, say, warn } from "./dom.js";
import { csv, geojson, png, save, tableOf } from "./exports.js";
import { writeLegend } from "./legend.js";
import { openFile, openSlide } from "./opening.js";
import { Pane } from "./pane.js";
import { writeAsked, writeEmbedding } from "./reports.js";
import { Service } from "./service.js";
import { Session } from "./session.js";

const REPAINT_MS = 300;
const MOST_AT_ONCE = 20_000;

const service = new Service();
const session = new Session(service, () => later());
const panes = [0, 1].map((place) => new Pane(element(`pane-${place}`), { pick, region, fault: warn }));
let listed = [];
let waiting = null;
let analysed = 0;

/** Shows soon what has changed: many things may change at once while patches are embedded. */
function later() {
  waiting ??= setTimeout(() => {
    waiting = null;
    refresh();
    analyseAgain();
  }, REPAINT_MS);
}

/** Computes and shows all that there is to see. */
function refresh() {
  session.compute();
  const neighbours = session.neighbours();
  session.slides.forEach((slide, place) => {
    panes[place].picture = session.picture(place);
    panes[place].marks = marksOf(slide, neighbours);
    panes[place].region = session.query?.slide === slide ? session.query.polygon : null;
    panes[place].draw();
  });
  writeLegend(session, (cluster) => change("only", cluster));
  writeAsked(session, neighbours, goTo);
  writeEmbedding(session);
}

function marksOf(slide, neighbours) {
  const { query } = session;
  const failed = [...slide.failed].slice(0, 200).map(([index, { code }]) => ({ index, kind: "failed", text: code }));
  const alike = neighbours.flatMap((one, i) => {
    return one.slide === slide ? [{ index: one.index, kind: "alike", text: String(i + 1) }] : [];
  });
  const asked = query?.slide === slide && !query.polygon ? [{ index: query.indexes[0], kind: "query" }] : [];
  return [...failed, ...alike, ...asked];
}

/** Clusters and components follow the embedding, as often as they take little of its time. */
async function analyseAgain() {
  const isSlow = ["clusters", "components"].includes(session.show.mode);
  const done = session.slides.reduce((sum, { vectors }) => sum + vectors.done, 0);
  const isRunning = session.places.some(({ embedding }) => embedding.isRunning);
  if (!isSlow || done === analysed || (isRunning && done < 1.5 * analysed)) return;
  analysed = done;
  await analyse();
}

async function analyse() {
  say("Computing …");
  await session.analyse();
  say("");
  refresh();
}

async function open(place, opening) {
  forgiven();
  say("Opening …");
  try {
    const slide = await opening();
    const at = place && session.slides.length ? 1 : 0;
    analysed = 0;
    session.put(at, slide);
    panes[at].host.hidden = false;
    element("welcome").hidden = true;
    for (const name of ["embedding", "asking", "showing", "taking"]) element(name).hidden = false;
    element("opening").open = false;
    element("untrained").hidden = !session.slides.some(({ model }) => model.untrained);
    offerHead();
    refresh();
    panes[at].show(slide).then(() => say(`${slide.name} is open.`));
    if (slide.canEmbed && slide.grid.count <= MOST_AT_ONCE) session.embed(session.places[at]);
    if (["clusters", "components"].includes(session.show.mode)) analyse();
  } catch (error) {
    say("");
    warn(error);
  }
}

function offerHead() {
  const head = session.slides[0]?.facts.head;
  element("head-mode").hidden = !session.head;
  element("head-refused").hidden = !head?.refused;
  element("head-refused").textContent = head?.refused ?? "";
  if (!session.head) return;
  element("head-mode").querySelector("span").textContent = `Scores of “${head.name}”`;
  element("head-class").replaceChildren(...head.classes.map((name, i) => made("option", { value: String(i) }, name)));
}

async function pick(pane, index) {
  await ask(pane.slide, [index]);
}

async function region(pane, polygon) {
  element("draw").setAttribute("aria-pressed", "false");
  panes.forEach((one) => one.stopDrawing());
  const { grid } = pane.slide;
  const inside = grid.inside(polygon).filter((index) => !session.show.onlyTissue || grid.isTissue(index));
  if (inside.length) await ask(pane.slide, inside, polygon);
  else say("No patch has its middle in that region. Draw a larger one.");
}

async function ask(slide, indexes, polygon = null) {
  forgiven();
  try {
    await session.ask(slide, indexes, polygon);
    choose("mode", "likeness");
    refresh();
    const failed = slide.failed.get(indexes[0]);
    if (!session.query && failed) say(`This patch failed. ${failed.code}: ${failed.description}`);
    else if (!session.query) say("This patch has no vector.");
    else say("");
  } catch (error) {
    warn(error);
  }
}

function goTo({ slide, index }) {
  panes[session.slides.indexOf(slide)].goTo(index);
}

function change(name, value) {
  session.show[name] = value;
  refresh();
}

function choose(name, value) {
  const input = document.querySelector(`input[name="${name}"][value="${value}"]`);
  input.checked = true;
  modeChanged(value);
}

function modeChanged(mode) {
  element("of-values").hidden = !["likeness", "head"].includes(mode);
  element("of-clusters").hidden = mode !== "clusters";
  element("of-head").hidden = mode !== "head";
}

function listen() {
  element("open-listed").addEventListener("submit", (event) => {
    event.preventDefault();
    open(element("beside").checked, () => openSlide(service, { slide: element("listed").value, mpp: scale() }));
  });
  element("open-series").addEventListener("submit", (event) => {
    event.preventDefault();
    const [series, token] = [element("series").value, element("token").value.trim()];
    open(element("beside").checked, () => openSlide(service, { series, mpp: scale() }, token));
  });
  element("file").addEventListener("change", ({ target }) => {
    if (target.files.length) drop(target.files[0]);
    target.value = "";
  });
  element("use-key").addEventListener("submit", (event) => {
    event.preventDefault();
    service.setKey(element("key").value);
    list();
  });
  element("close-beside").addEventListener("click", () => {
    session.take(1);
    panes[1].host.hidden = true;
    panes[1].viewer.close();
    refresh();
  });
  element("embed").addEventListener("click", () => {
    forgiven();
    session.places.forEach((place) => session.embed(place));
  });
  element("cancel").addEventListener("click", () => session.places.forEach(({ embedding }) => embedding.cancel()));
  element("only-tissue").addEventListener("change", ({ target }) => {
    session.setOnlyTissue(target.checked);
    refresh();
  });
  element("draw").addEventListener("click", ({ target }) => {
    const isOn = target.getAttribute("aria-pressed") !== "true";
    target.setAttribute("aria-pressed", String(isOn));
    panes.forEach((pane) => (isOn ? pane.startDrawing() : pane.stopDrawing()));
    say(isOn ? "Drag around a region on the slide." : "");
  });
  element("in-view").addEventListener("click", () => region(panes[0], panes[0].inView()));
  listenToShow();
  listenToFiles();
}

function listenToShow() {
  element("map").replaceChildren(...MAP_NAMES.map((name) => made("option", { value: name }, name)));
  for (const radio of document.querySelectorAll("input[name=mode]")) {
    radio.addEventListener("change", async () => {
      modeChanged(radio.value);
      change("mode", radio.value);
      if (["clusters", "components"].includes(radio.value)) await analyse();
    });
  }
  const onInput = (id, read) => element(id).addEventListener("input", ({ target }) => read(target));
  onInput("opacity", ({ value }) => change("opacity", Number(value)));
  onInput("low", ({ value }) => change("low", Math.min(Number(value) / 100, session.show.high)));
  onInput("high", ({ value }) => change("high", Math.max(Number(value) / 100, session.show.low)));
  onInput("map", ({ value }) => change("map", value));
  onInput("subtract", ({ checked }) => change("subtract", checked));
  onInput("head-class", ({ value }) => change("headClass", Number(value)));
  element("k").addEventListener("change", async ({ target }) => {
    target.value = String(Math.min(12, Math.max(2, Math.round(Number(target.value)) || 6)));
    session.show.only = -1;
    session.show.k = Number(target.value);
    await analyse();
  });
}

function listenToFiles() {
  const saving = {
    "save-geojson": () => save(geojson(session, 0), fileName("geojson"), "application/geo+json"),
    "save-csv": () => save(csv(session, 0), fileName("csv"), "text/csv"),
    "save-parquet": async () => {
      const body = tableOf(session, 0);
      save(await (await service.ask("view/parquet", { method: "POST", body })).blob(), fileName("parquet"));
    },
    "save-png": async () => save(await png(session, 0, panes[0]), fileName("png")),
  };
  for (const [id, make] of Object.entries(saving)) {
    element(id).addEventListener("click", () => Promise.resolve().then(make).catch(warn));
  }
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", () => document.body.classList.remove("dropping"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    const [file] = event.dataTransfer.files;
    if (file) drop(file);
  });
}

function drop(file) {
  open(element("beside").checked, () => openFile(service, file, listed));
}

function fileName(ending) {
  return `${session.slides[0].name}.${ending}`;
}

function scale() {
  return Number(element("scale").value);
}

/** Fills the list of slides, and opens the one that the address names behind its #. */
async function list() {
  forgiven();
  try {
    const found = await service.json("view/slides");
    listed = found.slides;
    session.route = found.predict.replace(/^\//, "");
    element("no-folder").hidden = found.has_folder;
    element("untrained").hidden = !found.model.untrained;
    element("listed").replaceChildren(...listed.map(({ slide, name }) => made("option", { value: slide }, name)));
    const named = new URLSearchParams(location.hash.slice(1));
    if (session.slides.length) return;
    if (named.get("slide")) {
      element("listed").value = named.get("slide");
      await open(false, () => openSlide(service, { slide: named.get("slide"), mpp: scale() }));
    }
    if (named.get("series")) element("series").value = named.get("series");
  } catch (error) {
    warn(error);
  }
}

export { panes, service, session };

listen();
list();
