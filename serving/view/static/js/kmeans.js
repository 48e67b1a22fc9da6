// k-means: kinds of patches, the same ones every time.

const STARTS = 4;
const FEW = 2000; // rows that a start is tried on
const ROUNDS = 25;
const BLOCK = 64;

/**
 * @param {Float32Array} data rows × dimension, row by row
 * @param {number} k number of clusters
 * @returns {Int8Array} the cluster of each row: 0 is the largest
 */
export function clusters(data, rows, dimension, k) {
  const random = numbers(1);
  const few = sample(data, rows, dimension);
  let best = null;
  for (let start = 0; start < STARTS; start += 1) {
    const tried = lloyd(few.data, few.rows, dimension, spread(few.data, few.rows, dimension, k, random), 15);
    if (best === null || tried.error < best.error) best = tried;
  }
  const { labels } = lloyd(data, rows, dimension, best.centres, ROUNDS);
  return bySize(labels, k);
}

function sample(data, rows, dimension) {
  if (rows <= FEW) return { data, rows };
  const found = new Float32Array(FEW * dimension);
  for (let i = 0; i < FEW; i += 1) {
    const at = Math.floor((i * rows) / FEW) * dimension;
    found.set(data.subarray(at, at + dimension), i * dimension);
  }
  return { data: found, rows: FEW };
}

/** First centres far from each other (k-means++). */
function spread(data, rows, dimension, k, random) {
  const centres = new Float64Array(k * dimension);
  const distances = new Float64Array(rows).fill(Infinity);
  let chosen = Math.floor(random() * rows);
  for (let c = 0; c < k; c += 1) {
    // Of the same kind as all centres: loops over two kinds of arrays are slow.
    const centre = Float64Array.from(data.subarray(chosen * dimension, (chosen + 1) * dimension));
    centres.set(centre, c * dimension);
    let sum = 0;
    for (let row = 0; row < rows; row += 1) {
      distances[row] = Math.min(distances[row], squared(data, row * dimension, centre, 0, dimension));
      sum += distances[row];
    }
    let left = random() * sum;
    chosen = distances.findIndex((distance) => (left -= distance) <= 0);
    if (chosen < 0) chosen = Math.floor(random() * rows);
  }
  return centres;
}

function lloyd(data, rows, dimension, first, rounds) {
  const k = first.length / dimension;
  const centres = first.slice();
  const labels = new Int8Array(rows).fill(-1);
  let error = Infinity;
  for (let round = 0; round < rounds; round += 1) {
    const sums = new Float64Array(k * dimension);
    const sizes = new Int32Array(k);
    let changed = 0;
    error = 0;
    for (let row = 0, at = 0; row < rows; row += 1, at += dimension) {
      let [nearest, least] = [0, Infinity];
      for (let c = 0; c < k; c += 1) {
        const distance = squared(data, at, centres, c * dimension, dimension, least);
        if (distance < least) [nearest, least] = [c, distance];
      }
      if (labels[row] !== nearest) changed += 1;
      labels[row] = nearest;
      error += least;
      sizes[nearest] += 1;
      for (let i = 0, to = nearest * dimension; i < dimension; i += 1) sums[to + i] += data[at + i];
    }
    if (changed * 1000 <= rows) break;
    for (let c = 0; c < k; c += 1) {
      for (let i = 0, to = c * dimension; sizes[c] && i < dimension; i += 1) centres[to + i] = sums[to + i] / sizes[c];
    }
  }
  return { labels, centres, error };
}

/** The squared distance of two rows, or any number that is not below `most`. */
function squared(a, from, b, other, dimension, most = Infinity) {
  // Four sums at a time: each alone would wait for its last addition.
  let [sum, second, third, fourth] = [0, 0, 0, 0];
  const whole = dimension - (dimension % 4);
  let i = 0;
  while (i < whole && sum + second + third + fourth < most) {
    const end = Math.min(i + BLOCK, whole);
    for (; i < end; i += 4) {
      const p = a[from + i] - b[other + i];
      const q = a[from + i + 1] - b[other + i + 1];
      const r = a[from + i + 2] - b[other + i + 2];
      const s = a[from + i + 3] - b[other + i + 3];
      sum += p * p;
      second += q * q;
      third += r * r;
      fourth += s * s;
    }
  }
  for (i = whole; i < dimension; i += 1) sum += (a[from + i] - b[other + i]) ** 2;
  return sum + second + third + fourth;
}

function bySize(labels, k) {
  const sizes = Array.from({ length: k }, (_, c) => labels.reduce((n, label) => n + (label === c), 0));
  const order = sizes.map((_, c) => c).sort((a, b) => sizes[b] - sizes[a]);
  const rank = order.reduce((found, c, i) => ((found[c] = i), found), []);
  return labels.map((label) => rank[label]);
}

/** Random numbers from 0 to 1, the same ones for the same seed (mulberry32). */
function numbers(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
