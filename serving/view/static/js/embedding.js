// Embedding a slide's patches by the predict route: coarse to fine, 64 at a time, with an end at any moment.

import { bytesOf } from "./half.js";
import { Fault } from "./service.js";

const AT_ONCE = 64;
const IN_FLIGHT = 2;
const TRIES = 5;

/** Faults that may concern one patch alone: the others are tried without it. */
const OF_ONE_PATCH = new Set([
  "DICOM_ERROR",
  "IMAGE_ERROR",
  "HTTP_ERROR",
  "INTERNAL_ERROR",
  "PATCH_OUTSIDE_OF_IMAGE_DIMENSIONS_ERROR",
]);

/** So many patches in a row that fail stop it: the others would, too. */
const OUTAGE = 20;

export class Embedding {
  #abort = null;

  /**
   * @param {object} slide what is embedded: its grid, vectors, failed patches, and instance(indexes)
   * @param {Service} service
   * @param {string} route of predictions
   * @param {function} changed called whenever there is something new to show
   */
  constructor(slide, service, route, changed) {
    Object.assign(this, { slide, service, route, changed });
    this.plan([]);
    this.ended = Promise.resolve();
    this.stopped = null;
    this.failedInARow = 0;
  }

  get isRunning() {
    return this.#abort !== null;
  }

  /** How many patches have a vector, or are known to have none. */
  get done() {
    return this.total - this.waiting().length;
  }

  waiting() {
    const { vectors, failed } = this.slide;
    return this.order.filter((index) => !vectors.has[index] && !failed.has(index));
  }

  /** Sets which patches are wanted, in which order. */
  plan(order) {
    this.order = order;
    this.total = order.length;
  }

  /** Embeds what is missing of these patches; goes on where an earlier run ended, or ends it. */
  async run(order) {
    this.cancel();
    await this.ended;
    this.plan(order);
    this.ended = this.#work();
    await this.ended;
  }

  async #work() {
    this.stopped = null;
    this.failedInARow = 0;
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    const left = this.waiting();
    const size = this.slide.atOnce?.(left.length) ?? AT_ONCE;
    const work = async () => {
      while (left.length && !signal.aborted) await this.#embed(left.splice(0, size), signal);
    };
    this.changed();
    try {
      await Promise.all(Array.from({ length: IN_FLIGHT }, work));
    } catch (error) {
      if (error.name !== "AbortError") this.stopped = error;
      this.#abort.abort();
    } finally {
      this.#abort = null;
      this.changed();
    }
  }

  /** Embeds a few patches before all others. */
  async embedNow(indexes) {
    const { signal } = new AbortController();
    for (let at = 0; at < indexes.length; at += AT_ONCE) {
      await this.#embed(indexes.slice(at, at + AT_ONCE), signal);
    }
  }

  /** Ends it: nothing is asked for any more, and what is on its way is given up. */
  cancel() {
    this.#abort?.abort();
  }

  async #embed(indexes, signal) {
    const instance = await this.slide.instance(indexes);
    const body = { instances: [instance], parameters: { encoding: "base64-float32" } };
    const answer = await this.#patiently(body, signal);
    if (answer.metadata.digest !== this.slide.model.digest) {
      throw new Fault("MODEL_CHANGED", "The service has another model now. Open the slide again.");
    }
    const [prediction] = answer.predictions;
    if (prediction.result) {
      this.#take(indexes, prediction.result.patch_embeddings);
    } else if (indexes.length > 1 && OF_ONE_PATCH.has(prediction.error.code)) {
      const middle = indexes.length >> 1;
      await this.#embed(indexes.slice(0, middle), signal);
      await this.#embed(indexes.slice(middle), signal);
    } else if (indexes.length > 1) {
      throw new Fault(prediction.error.code, prediction.error.description);
    } else {
      this.#fail(indexes[0], prediction.error);
    }
    this.changed();
  }

  #take(indexes, embedded) {
    this.failedInARow = 0;
    embedded.forEach(({ embedding_vector: text }, i) => {
      this.slide.vectors.set(indexes[i], new Float32Array(bytesOf(text).buffer));
    });
  }

  #fail(index, error) {
    this.slide.failed.set(index, error);
    this.failedInARow += 1;
    if (this.failedInARow >= OUTAGE) throw new Fault(error.code, error.description);
  }

  /** Asks again while the service is busy. */
  async #patiently(body, signal) {
    for (let tried = 1; ; tried += 1) {
      try {
        return await this.service.post(this.route, body, { signal });
      } catch (error) {
        if (error.status !== 503 || tried >= TRIES) throw error;
        await pause((error.retryAfter || 1) * 1000, signal);
      }
    }
  }
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("ended", "AbortError"));
    });
  });
}
