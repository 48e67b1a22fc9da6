// The grid of patches: which there are, where they are on the slide, and in which order they are embedded.

import { bytesOf } from "./half.js";

/** How far apart patches are that are embedded in each round: the map is coarse first, and sharpens. */
export const STEPS = [8, 4, 2, 1];

export class Grid {
  /**
   * @param {object} plan the "grid" that /view/open answers
   * @param {number} width of level 0, in pixels
   * @param {number} height of level 0, in pixels
   */
  constructor(plan, width, height) {
    Object.assign(this, { plan, columns: plan.columns, rows: plan.rows, side: plan.side });
    this.scaleX = width / plan.width;
    this.scaleY = height / plan.height;
    this.count = plan.columns * plan.rows;
    this.tissue = plan.tissue === null ? null : unpacked(plan.tissue, this.count);
  }

  column(index) {
    return index % this.columns;
  }

  row(index) {
    return Math.floor(index / this.columns);
  }

  /** The upper left pixel of a patch at the scale that is embedded. */
  origin(index) {
    return { x: this.column(index) * this.side, y: this.row(index) * this.side };
  }

  /** A patch in pixels of level 0, its edges at the nearest pixel. */
  square(index) {
    const { x, y } = this.origin(index);
    const left = Math.round(x * this.scaleX);
    const top = Math.round(y * this.scaleY);
    const right = Math.round((x + this.side) * this.scaleX);
    const bottom = Math.round((y + this.side) * this.scaleY);
    return { x: left, y: top, width: right - left, height: bottom - top };
  }

  /** The middle of a patch in pixels of level 0. */
  middle(index) {
    const { x, y } = this.origin(index);
    return { x: (x + this.side / 2) * this.scaleX, y: (y + this.side / 2) * this.scaleY };
  }

  /** The patch at a pixel of level 0; −1 where there is none. */
  at(x, y) {
    const column = Math.floor(x / this.scaleX / this.side);
    const row = Math.floor(y / this.scaleY / this.side);
    const inside = column >= 0 && row >= 0 && column < this.columns && row < this.rows;
    return inside ? row * this.columns + column : -1;
  }

  isTissue(index) {
    return this.tissue === null || this.tissue[index] === 1;
  }

  /** Whether two patches are the same, or next to each other. */
  adjoin(a, b) {
    const across = Math.abs(this.column(a) - this.column(b));
    return across <= 1 && Math.abs(this.row(a) - this.row(b)) <= 1;
  }

  /** The patches whose middles are in a polygon of pixels of level 0. */
  inside(polygon) {
    const found = [];
    for (let index = 0; index < this.count; index += 1) {
      const { x, y } = this.middle(index);
      if (isInside(x, y, polygon)) found.push(index);
    }
    return found;
  }
}

/** Returns the patches in the order in which they are embedded: every 8th, then every 4th, 2nd, and the rest. */
export function coarseToFine(grid, onlyTissue) {
  const taken = new Uint8Array(grid.count);
  const order = [];
  for (const step of STEPS) {
    for (let index = 0; index < grid.count; index += 1) {
      const wanted = !taken[index] && isOfStep(grid, index, step);
      if (wanted && (!onlyTissue || grid.isTissue(index))) {
        taken[index] = 1;
        order.push(index);
      }
    }
  }
  return order;
}

/** Whether a patch is in the middle of a square of step × step patches. */
function isOfStep(grid, index, step) {
  const middle = step >> 1;
  return grid.column(index) % step === middle && grid.row(index) % step === middle;
}

/** Yields a patch, then those that stand for it until it has a value: the middles of larger and larger squares. */
export function* standIns(grid, index) {
  yield index;
  const column = grid.column(index);
  const row = grid.row(index);
  for (const step of STEPS.slice(0, -1).reverse()) {
    const x = column - (column % step) + (step >> 1);
    const y = row - (row % step) + (step >> 1);
    if (x < grid.columns && y < grid.rows) yield y * grid.columns + x;
  }
}

/** Whether a point is in a polygon, by the even-odd rule. */
export function isInside(x, y, polygon) {
  let inside = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i, i += 1) {
    const a = polygon[i];
    const b = polygon[j];
    if (a.y > y !== b.y > y && x < ((b.x - a.x) * (y - a.y)) / (b.y - a.y) + a.x) inside = !inside;
  }
  return inside;
}

function unpacked(text, count) {
  const bytes = bytesOf(text);
  return Uint8Array.from({ length: count }, (_, index) => (bytes[index >> 3] >> (index & 7)) & 1);
}
