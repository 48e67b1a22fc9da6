// The vectors of a slide's patches, and how alike they are.

import { NUMBERS, toHalf } from "./half.js";

/** Vectors by the index of their patch, as float16. */
export class Vectors {
  /**
   * @param {number} count how many patches the grid has
   * @param {number} dimension length of a vector
   */
  constructor(count, dimension) {
    this.count = count;
    this.dimension = dimension;
    this.bits = new Uint16Array(count * dimension);
    this.has = new Uint8Array(count);
    this.done = 0;
    this.sum = new Float64Array(dimension);
    this.lengths = null;
  }

  /** Puts the vector of a patch in, once. */
  set(index, numbers) {
    if (this.has[index]) return;
    const at = index * this.dimension;
    for (let i = 0; i < this.dimension; i += 1) {
      const bits = toHalf(numbers[i]);
      this.bits[at + i] = bits;
      this.sum[i] += NUMBERS[bits];
    }
    this.has[index] = 1;
    this.done += 1;
    this.lengths = null;
  }

  row(index) {
    const at = index * this.dimension;
    return Float32Array.from(this.bits.subarray(at, at + this.dimension), (bits) => NUMBERS[bits]);
  }

  /** The mean of all vectors that are here. */
  mean() {
    return Float64Array.from(this.sum, (value) => value / Math.max(1, this.done));
  }

  /** The mean of some patches' vectors; null where none of them has one. */
  meanOf(indexes) {
    const known = indexes.filter((index) => this.has[index]);
    if (!known.length) return null;
    const mean = new Float64Array(this.dimension);
    for (const index of known) {
      const at = index * this.dimension;
      for (let i = 0; i < this.dimension; i += 1) mean[i] += NUMBERS[this.bits[at + i]];
    }
    return mean.map((value) => value / known.length);
  }

  /**
   * Returns the cosine of each vector to a direction, NaN where there is no vector.
   *
   * @param {Float64Array} direction the query, less its slide's mean where means are subtracted
   * @param {boolean} subtract whether this slide's mean is subtracted from its vectors: most of a vector's
   *   length is what all of a slide's patches share
   */
  likeness(direction, subtract) {
    const { count, dimension, bits, has } = this;
    const mean = subtract ? this.mean() : new Float64Array(dimension);
    const lengths = this.lengthsFrom(mean, subtract);
    const along = dot(direction, direction) ** 0.5;
    const offset = dot(mean, direction);
    const query = Float32Array.from(direction);
    const found = new Float32Array(count).fill(NaN);
    for (let index = 0; index < count; index += 1) {
      if (!has[index]) continue;
      let product = 0;
      for (let i = 0, at = index * dimension; i < dimension; i += 1, at += 1) {
        product += NUMBERS[bits[at]] * query[i];
      }
      const size = lengths[index] * along;
      found[index] = size > 1e-9 ? Math.min(1, Math.max(-1, (product - offset) / size)) : 0;
    }
    return found;
  }

  /** The length of each vector less the mean; kept until another vector comes. */
  lengthsFrom(mean, subtract) {
    if (this.lengths?.subtract === subtract) return this.lengths.values;
    const { count, dimension, bits, has } = this;
    const values = new Float32Array(count);
    for (let index = 0; index < count; index += 1) {
      if (!has[index]) continue;
      let square = 0;
      for (let i = 0, at = index * dimension; i < dimension; i += 1, at += 1) {
        const difference = NUMBERS[bits[at]] - mean[i];
        square += difference * difference;
      }
      values[index] = Math.sqrt(square);
    }
    this.lengths = { subtract, values };
    return values;
  }
}

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += a[i] * b[i];
  return sum;
}

/** Returns a − b. */
export function difference(a, b) {
  return Float64Array.from(a, (value, i) => value - b[i]);
}
