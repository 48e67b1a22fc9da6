// What is open, asked and computed: the state of the page, without its controls.

import { Analyst, headScores } from "./analysis.js";
import { KINDS, percentiles } from "./colours.js";
import { Embedding } from "./embedding.js";
import { coarseToFine } from "./grid.js";
import { nearest } from "./neighbours.js";
import { byComponents, byKind, byValue, paint } from "./paint.js";
import { difference } from "./vectors.js";

const MOST_FIRST = 256; // patches of a query that are embedded before all others

export class Session {
  /**
   * @param {Service} service
   * @param {function} changed called when something computed has changed
   */
  constructor(service, changed) {
    Object.assign(this, { service, changed, route: "predict", places: [], query: null });
    this.analyst = new Analyst();
    this.show = {
      mode: "likeness", map: "viridis", opacity: 0.75, low: 0.5, high: 0.99, onlyTissue: true,
      subtract: true, k: 6, only: -1, headClass: 0,
    };
    this.clear();
  }

  clear() {
    Object.assign(this, { values: null, window: null, components: null, labels: null, scores: null });
    this.show.only = -1;
  }

  get slides() {
    return this.places.map(({ slide }) => slide);
  }

  /** Puts a slide in a place: 0, or 1 beside it. */
  put(place, slide) {
    this.places[place]?.embedding.cancel();
    const embedding = new Embedding(slide, this.service, this.route, () => this.changed());
    this.places[place] = { slide, embedding };
    if (this.query && !this.slides.includes(this.query.slide) && place === 0) this.query = null;
    this.clear();
  }

  take(place) {
    this.places[place]?.embedding.cancel();
    this.places.splice(place, 1);
    if (this.query && !this.slides.includes(this.query.slide)) this.query = null;
    this.clear();
  }

  /** Embeds what is missing of a place's slide. */
  async embed({ slide, embedding }) {
    if (slide.canEmbed) await embedding.run(coarseToFine(slide.grid, this.show.onlyTissue));
  }

  /** Sets whether glass is left out; what is being embedded goes on with the patches that are wanted now. */
  setOnlyTissue(onlyTissue) {
    this.show.onlyTissue = onlyTissue;
    for (const place of this.places) {
      if (place.embedding.isRunning) this.embed(place);
      else place.embedding.plan(coarseToFine(place.slide.grid, onlyTissue));
    }
  }

  /**
   * Makes patches the query: their mean is what others are compared with. What has no vector yet is embedded
   * first.
   */
  async ask(slide, indexes, polygon = null) {
    const place = this.places.find((one) => one.slide === slide);
    const missing = indexes.filter((index) => !slide.vectors.has[index] && !slide.failed.has(index));
    // Of a large region those that are known will do: its mean is taken anew as others come.
    const isSoon = missing.length <= MOST_FIRST || missing.length === indexes.length;
    if (slide.canEmbed && missing.length && isSoon) await place.embedding.embedNow(missing.slice(0, MOST_FIRST));
    const vector = slide.vectors.meanOf(indexes);
    this.query = vector && { slide, indexes, vector, polygon };
    if (this.show.mode !== "likeness") this.show.mode = "likeness";
    return this.query;
  }

  /** The query's direction: less its slide's mean, where means are subtracted. */
  direction() {
    const { slide, vector } = this.query;
    return this.show.subtract ? difference(vector, slide.vectors.mean()) : vector;
  }

  /** Computes what the mode shows, as far as that takes no time. */
  compute() {
    const { mode } = this.show;
    this.values = null;
    if (mode === "likeness" && this.query) {
      this.query.vector = this.query.slide.vectors.meanOf(this.query.indexes);
      const direction = this.direction();
      this.values = this.slides.map(({ vectors }) => vectors.likeness(direction, this.show.subtract));
    }
    if (mode === "head" && this.head) {
      this.values = this.slides.map(({ vectors }) => headScores(vectors, this.head, this.show.headClass));
    }
    if (!this.values) return;
    this.window =
      mode === "head" ? { low: 0, high: 1 } : percentiles(this.shownValues(), this.show.low, this.show.high);
  }

  /** The values that are seen: without glass, where it is left out. */
  shownValues() {
    if (!this.show.onlyTissue) return this.values;
    return this.values.map((values, i) => values.filter((_, index) => this.slides[i].grid.isTissue(index)));
  }

  get head() {
    const head = this.slides[0]?.facts.head;
    return head && !head.refused ? head : null;
  }

  /** Computes, in the Worker, what takes time. */
  async analyse() {
    const { mode, k } = this.show;
    const { slides } = this;
    if (!slides.some(({ vectors }) => vectors.done > 1)) return;
    if (mode === "components") {
      const components = await this.analyst.components(slides);
      if (this.isStill(slides)) this.components = { scores: components, windows: componentWindows(components) };
    } else if (mode === "clusters") {
      const labels = await this.analyst.clusters(slides, k);
      if (this.isStill(slides)) this.labels = { labels, k };
    }
  }

  isStill(slides) {
    return slides.length === this.slides.length && slides.every((slide, i) => slide === this.slides[i]);
  }

  /** The picture over a slide; null where there is nothing to show. */
  picture(place) {
    const { show } = this;
    const slide = this.slides[place];
    const colour = this.#colour(place);
    return colour && paint(slide, show, colour);
  }

  #colour(place) {
    const { show } = this;
    if (show.mode === "clusters") {
      return this.labels && byKind(this.labels.labels[place], KINDS, show.opacity, show.only);
    }
    if (show.mode === "components") {
      const found = this.components;
      return found && byComponents(found.scores[place], found.windows, show.opacity);
    }
    return this.values && byValue(this.values[place], this.window, show.map, show.opacity);
  }

  neighbours() {
    return this.values && this.query && this.show.mode === "likeness"
      ? nearest(this.slides, this.values, this.query)
      : [];
  }
}

function componentWindows(lists) {
  return [0, 1, 2].map((c) => {
    return percentiles(lists.map((scores) => scores.filter((_, at) => at % 3 === c)), 0.02, 0.98);
  });
}
