// Analyses of all vectors of the slides that are open: components and clusters by the Worker, scores here.

import { NUMBERS } from "./half.js";

export class Analyst {
  constructor() {
    this.worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.waiting = new Map();
    this.next = 0;
    this.worker.onmessage = ({ data }) => {
      this.waiting.get(data.id)?.(data.result);
      this.waiting.delete(data.id);
    };
  }

  /** Three numbers for each patch of each slide, NaN where there is no vector. */
  async components(slides) {
    const result = await this.#ask("pca", slides);
    return spreadOut(slides, result, 3, NaN, Float32Array);
  }

  /** A cluster for each patch of each slide, −1 where there is no vector; fewer where patches are fewer. */
  async clusters(slides, k) {
    const known = slides.reduce((sum, slide) => sum + slide.vectors.done, 0);
    const result = await this.#ask("kmeans", slides, Math.min(k, known));
    return spreadOut(slides, result, 1, -1, Int8Array);
  }

  #ask(kind, slides, k) {
    const { dimension } = slides[0].vectors;
    const parts = slides.flatMap(({ vectors }) => {
      return known(vectors).map((index) => vectors.bits.subarray(index * dimension, (index + 1) * dimension));
    });
    const bits = new Uint16Array(parts.length * dimension);
    parts.forEach((part, row) => bits.set(part, row * dimension));
    const id = (this.next += 1);
    const asked = { id, kind, bits, rows: parts.length, dimension, k };
    return new Promise((resolve) => {
      this.waiting.set(id, resolve);
      this.worker.postMessage(asked, [bits.buffer]);
    });
  }
}

function known(vectors) {
  const found = [];
  for (let index = 0; index < vectors.count; index += 1) if (vectors.has[index]) found.push(index);
  return found;
}

function spreadOut(slides, result, width, nothing, Kind) {
  let row = 0;
  return slides.map(({ vectors }) => {
    const found = new Kind(vectors.count * width).fill(nothing);
    for (const index of known(vectors)) {
      for (let i = 0; i < width; i += 1) found[index * width + i] = result[row * width + i];
      row += 1;
    }
    return found;
  });
}

/** A linear head's probability of one class for each patch, NaN where there is no vector. */
export function headScores(vectors, head, wanted) {
  const { dimension } = vectors;
  const found = new Float32Array(vectors.count).fill(NaN);
  for (const index of known(vectors)) {
    const logits = head.weights.map((weights, c) => {
      let sum = head.bias[c];
      for (let i = 0; i < dimension; i += 1) sum += weights[i] * NUMBERS[vectors.bits[index * dimension + i]];
      return sum;
    });
    const most = Math.max(...logits);
    const powers = logits.map((logit) => Math.exp(logit - most));
    found[index] = powers[wanted] / powers.reduce((a, b) => a + b, 0);
  }
  return found;
}
