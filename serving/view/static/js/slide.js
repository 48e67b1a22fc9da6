// What is looked at: a slide of the service, a picture that was dropped here, or a table without its slide.

import { base64Of } from "./half.js";
import { Grid } from "./grid.js";
import { Vectors } from "./vectors.js";

const TILE = 1024;

/** What all of them have in common. */
class Shown {
  constructor(facts) {
    this.facts = facts;
    this.name = facts.name;
    this.width = facts.width;
    this.height = facts.height;
    this.mpp = facts.mpp;
    this.levels = facts.levels;
    this.model = facts.model;
    this.grid = new Grid(facts.grid, facts.width, facts.height);
    this.vectors = new Vectors(this.grid.count, facts.model.dimension);
    this.failed = new Map();
    this.canEmbed = true;
  }

  /** Puts the rows of a table in; returns how many of them lie on the grid. */
  takeTable(table, halves, numbers) {
    let taken = 0;
    table.x.forEach((x, row) => {
      const column = x / this.grid.side;
      const line = table.y[row] / this.grid.side;
      const isOnGrid = Number.isInteger(column) && Number.isInteger(line);
      if (!isOnGrid || column >= this.grid.columns || line >= this.grid.rows) return;
      const index = line * this.grid.columns + column;
      const error = table.errors[row];
      if (error === undefined) {
        const at = row * table.dimension;
        this.vectors.set(index, Float32Array.from(halves.subarray(at, at + table.dimension), (b) => numbers[b]));
      } else {
        const [code, ...rest] = error.split(": ");
        this.failed.set(index, { code, description: rest.join(": ") });
      }
      taken += 1;
    });
    return taken;
  }

  patches(indexes) {
    return indexes.map((index) => {
      const { x, y } = this.grid.origin(index);
      return { x_origin: x, y_origin: y };
    });
  }
}

/** A slide that the service reads, from its folder or from a DICOMweb store. */
export class ServiceSlide extends Shown {
  #service;
  #token;

  constructor(facts, service, token) {
    super(facts);
    this.#service = service;
    this.#token = token;
  }

  /** An instance of a prediction: the slide's level, and some patches of it. */
  instance(indexes) {
    const instance = { ...this.facts.source, patch_coordinates: this.patches(indexes) };
    const size = this.grid.plan.image_dimensions;
    if (size) instance.extensions = { image_dimensions: size };
    if (this.#token && instance.dicom_path) instance.bearer_token = this.#token;
    return instance;
  }

  tile(level, column, row, signal) {
    return this.#picture(`tiles/${level}/${column}_${row}.jpg`, signal);
  }

  thumbnail({ x, y, width, height }) {
    return this.#picture(`regions/${x}_${y}_${width}_${height}.jpg`);
  }

  #picture(rest, signal) {
    const path = `view/slides/${encodeURIComponent(this.facts.slide)}/${rest}`;
    return this.#service.picture(path, { token: this.#token, signal });
  }
}

/** A picture whose bytes are here: patches are sent with all of it. */
export class PictureSlide extends Shown {
  #bytes;
  #bitmap;

  constructor(facts, bytes, bitmap) {
    super({ ...facts, levels: levelsOf(facts), mpp: null, digest: null, objective: null, head: null });
    this.#bytes = bytes;
    this.#bitmap = bitmap;
  }

  /** How many patches go in one request: each has all of the picture in it, so not too few. */
  atOnce(patches) {
    return Math.min(1000, Math.max(64, Math.ceil(patches / 6)));
  }

  instance(indexes) {
    this.text ??= base64Of(new Uint8Array(this.#bytes));
    return { raw_image_bytes: this.text, patch_coordinates: this.patches(indexes) };
  }

  tile(level, column, row) {
    const { width, height } = this.levels[level];
    const times = this.width / width;
    const [x, y] = [column * TILE, row * TILE];
    const [across, down] = [Math.min(TILE, width - x), Math.min(TILE, height - y)];
    const size = { resizeWidth: across, resizeHeight: down, resizeQuality: "high" };
    const part = [x, y, across, down].map((value) => Math.round(value * times));
    return createImageBitmap(this.#bitmap, ...part, times === 1 ? {} : size);
  }

  thumbnail({ x, y, width, height }) {
    return createImageBitmap(this.#bitmap, x, y, width, height);
  }
}

/** The sizes at which a picture is drawn: its own, a quarter, … until it is small. */
function levelsOf({ width, height }) {
  const levels = [];
  for (let times = 1; ; times *= 4) {
    const size = [Math.ceil(width / times), Math.ceil(height / times)];
    levels.push({ width: size[0], height: size[1], tile_width: TILE, tile_height: TILE });
    if (Math.max(...size) <= 2 * TILE) return levels;
  }
}

/** A table whose slide is not here: the map alone. */
export class TableSlide extends Shown {
  constructor(facts) {
    const times = Math.max(1, Math.max(facts.width, facts.height) / TILE);
    const size = [Math.ceil(facts.width / times), Math.ceil(facts.height / times)];
    super({ ...facts, levels: [{ width: size[0], height: size[1], tile_width: TILE, tile_height: TILE }] });
    this.canEmbed = false;
  }

  tile() {
    return createImageBitmap(new OffscreenCanvas(TILE, TILE));
  }

  thumbnail() {
    return null;
  }
}
