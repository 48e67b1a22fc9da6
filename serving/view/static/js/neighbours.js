// The patches that are most alike, from all slides that are open.

export const NEIGHBOURS = 12;

/**
 * Returns the patches with the highest values. What adjoins the query, or one that is listed already, is left
 * out: next door everything is alike.
 *
 * @param {object[]} slides
 * @param {Float32Array[]} values of each slide
 * @param {{slide: object, indexes: number[]}} query
 */
export function nearest(slides, values, query, most = NEIGHBOURS) {
  const candidates = [];
  slides.forEach((slide, s) => {
    const near = slide === query.slide ? around(slide.grid, query.indexes) : null;
    values[s].forEach((value, index) => {
      if (Number.isFinite(value) && !near?.[index]) candidates.push({ slide, index, value });
    });
  });
  candidates.sort((a, b) => b.value - a.value || a.index - b.index);
  const chosen = [];
  for (const one of candidates) {
    const crowds = chosen.some((other) => other.slide === one.slide && one.slide.grid.adjoin(other.index, one.index));
    if (!crowds) chosen.push(one);
    if (chosen.length === most) break;
  }
  return chosen;
}

function around(grid, indexes) {
  const mask = new Uint8Array(grid.count);
  for (const index of indexes) {
    const [column, row] = [grid.column(index), grid.row(index)];
    for (let y = Math.max(0, row - 1); y <= Math.min(grid.rows - 1, row + 1); y += 1) {
      for (let x = Math.max(0, column - 1); x <= Math.min(grid.columns - 1, column + 1); x += 1) {
        mask[y * grid.columns + x] = 1;
      }
    }
  }
  return mask;
}
