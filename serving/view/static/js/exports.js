// What can be taken away: GeoJSON for QuPath, CSV, Parquet, and a picture of what is seen.

import { base64Of } from "./half.js";
import { KINDS, colourMap, rgbOf } from "./colours.js";
import { opacityAt } from "./paint.js";

/** What is known of each embedded or failed patch of a place. */
export function rowsOf(session, place) {
  const slide = session.slides[place];
  const rows = [];
  for (let index = 0; index < slide.grid.count; index += 1) {
    const error = slide.failed.get(index) ?? null;
    if (!slide.vectors.has[index] && !error) continue;
    const cluster = session.labels?.labels[place][index] ?? -1;
    const scores = session.components?.scores[place].subarray(index * 3, index * 3 + 3);
    rows.push({
      index,
      ...slide.grid.square(index),
      value: session.values?.[place][index] ?? NaN,
      cluster,
      components: scores ? [...scores] : [],
      error,
    });
  }
  return rows;
}

/** Returns the patches as GeoJSON: squares in pixels of level 0, which QuPath takes for tiles. */
export function geojson(session, place) {
  const name = valueName(session);
  const features = rowsOf(session, place).map((row) => {
    const { x, y, width, height } = row;
    const [right, bottom] = [x + width, y + height];
    const corners = [[x, y], [right, y], [right, bottom], [x, bottom], [x, y]];
    return {
      type: "Feature",
      geometry: { type: "Polygon", coordinates: [corners] },
      properties: propertiesOf(row, name),
    };
  });
  return JSON.stringify({ type: "FeatureCollection", features });
}

function propertiesOf(row, name) {
  if (row.error) {
    const classification = { name: "Failed", color: [200, 0, 0] };
    return { objectType: "tile", classification, metadata: { error: textOf(row.error) } };
  }
  const properties = { objectType: "tile", measurements: {} };
  if (Number.isFinite(row.value)) properties.measurements[name] = row.value;
  row.components.forEach((score, i) => (properties.measurements[`PCA ${i + 1}`] = score));
  if (row.cluster >= 0) {
    properties.classification = { name: `Cluster ${row.cluster + 1}`, color: rgbOf(KINDS[row.cluster]) };
  }
  return properties;
}

/** Returns the patches as CSV. */
export function csv(session, place) {
  const head = ["column", "row", "x0", "y0", "width0", "height0", valueName(session), "cluster", "pca1", "pca2", "pca3"];
  const { grid } = session.slides[place];
  const lines = rowsOf(session, place).map((row) => {
    const { x, y, width, height } = row;
    const value = Number.isFinite(row.value) ? row.value : "";
    const cluster = row.cluster < 0 ? "" : row.cluster + 1;
    const components = [0, 1, 2].map((i) => row.components[i] ?? "");
    const error = row.error ? `"${textOf(row.error).replaceAll('"', '""')}"` : "";
    return [grid.column(row.index), grid.row(row.index), x, y, width, height, value, cluster, ...components, error];
  });
  return [[...head, "error"], ...lines].map((line) => line.join(",")).join("\r\n");
}

function valueName(session) {
  return session.show.mode === "head" ? "score" : "likeness";
}

function textOf({ code, description }) {
  return `${code}: ${description}`;
}

/** Returns what the service makes a Parquet of. */
export function tableOf(session, place) {
  const slide = session.slides[place];
  const { plan } = slide.grid;
  const { dimension } = slide.vectors;
  const rows = rowsOf(session, place);
  const bits = new Uint16Array(rows.length * dimension);
  rows.forEach(({ index }, row) => {
    bits.set(slide.vectors.bits.subarray(index * dimension, (index + 1) * dimension), row * dimension);
  });
  const series = slide.facts.source?.dicom_path;
  const uids = series ? series.series_path.split("/").filter((_, i, all) => i === all.length - 3 || i === all.length - 1) : [];
  return {
    frame: {
      level: plan.level, width: plan.width, height: plan.height, level0_width: slide.width,
      level0_height: slide.height, mpp: plan.mpp, level0_mpp: slide.mpp ? (slide.mpp[0] + slide.mpp[1]) / 2 : null,
    },
    slide: {
      study: uids[0] ?? null,
      series: uids[1] ?? null,
      instance: series ? series.instance_uids[0] : slide.name,
      format: slide.facts.format ?? "picture",
      digest: slide.facts.digest ?? null,
    },
    model: slide.model.digest,
    encoder: slide.model.name,
    untrained: slide.model.untrained,
    dimension,
    x: rows.map(({ index }) => slide.grid.origin(index).x),
    y: rows.map(({ index }) => slide.grid.origin(index).y),
    vectors: base64Of(new Uint8Array(bits.buffer)),
    errors: Object.fromEntries(rows.flatMap((row, i) => (row.error ? [[i, textOf(row.error)]] : []))),
  };
}

/** Returns a PNG of a pane as it is seen, with a legend below it. */
export function png(session, place, pane) {
  const source = pane.viewer.drawer.canvas;
  const strip = Math.round(56 * pane.ratio);
  const canvas = new OffscreenCanvas(source.width, source.height + strip);
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(source, 0, 0);
  context.drawImage(pane.canvas, 0, 0, source.width, source.height);
  context.translate(0, source.height);
  context.scale(pane.ratio, pane.ratio);
  drawLegend(context, session, place);
  return canvas.convertToBlob({ type: "image/png" });
}

function drawLegend(context, session, place) {
  const slide = session.slides[place];
  const { show } = session;
  context.font = "12px system-ui, sans-serif";
  context.fillStyle = "#000";
  const untrained = slide.model.untrained ? " · UNTRAINED model: the colours mean nothing" : "";
  context.fillText(`${slide.name} · ${slide.model.name}${untrained}`, 8, 48);
  if (show.mode === "clusters" && session.labels) {
    countsOf(session).forEach((count, c) => {
      context.fillStyle = KINDS[c];
      context.fillRect(8 + c * 92, 8, 16, 16);
      context.fillStyle = "#000";
      context.fillText(`${c + 1}: ${count}`, 28 + c * 92, 21);
    });
  } else if (show.mode === "components") {
    context.fillText("False colours: the three directions in which patches differ most", 8, 21);
  } else if (session.window) {
    colourMap(show.map).forEach((rgb, i) => {
      context.fillStyle = `rgb(${rgb} / ${show.opacity * opacityAt(i / 255)})`;
      context.fillRect(8 + i, 8, 1.5, 14);
    });
    context.fillStyle = "#000";
    context.fillText(`${session.window.low.toFixed(2)} to ${session.window.high.toFixed(2)} ${valueName(session)}`, 274, 20);
  }
}

/** How many patches each cluster has, on all slides. */
export function countsOf({ labels }) {
  const counts = new Array(labels.k).fill(0);
  for (const list of labels.labels) for (const label of list) if (label >= 0) counts[label] += 1;
  return counts;
}

/** Gives the browser a file to keep. */
export function save(content, name, type) {
  const address = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = document.createElement("a");
  Object.assign(link, { href: address, download: name.replace(/[^\p{L}\p{N}._-]+/gu, "_") });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
