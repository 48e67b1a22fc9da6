// From values to the picture that lies over a slide: one pixel a patch.

import { standIns } from "./grid.js";
import { colourMap, rgbOf } from "./colours.js";

const HIDDEN = [0, 0, 0, 0];

/**
 * Returns a picture of the grid.
 *
 * @param {object} slide
 * @param {object} options onlyTissue: whether glass is left out
 * @param {function} colour returns [red, green, blue, opacity 0 to 1] of a patch, HIDDEN where it is not to be
 *   shown, null where it has no value yet: then another one stands for it
 */
export function paint(slide, { onlyTissue }, colour) {
  const { grid, failed } = slide;
  const canvas = new OffscreenCanvas(grid.columns, grid.rows);
  const context = canvas.getContext("2d");
  const image = context.createImageData(grid.columns, grid.rows);
  for (let index = 0; index < grid.count; index += 1) {
    if (failed.has(index) || (onlyTissue && !grid.isTissue(index))) continue;
    const found = colour(index) ?? ofStandIn(grid, index, colour);
    if (!found) continue;
    image.data[index * 4] = found[0];
    image.data[index * 4 + 1] = found[1];
    image.data[index * 4 + 2] = found[2];
    image.data[index * 4 + 3] = Math.round(found[3] * 255);
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

function ofStandIn(grid, index, colour) {
  for (const other of standIns(grid, index)) {
    const found = colour(other);
    if (found) return found;
  }
  return null;
}

/** Colours values in a window; high ones are more opaque, so that the slide shows through what is unlike. */
export function byValue(values, { low, high }, mapName, opacity) {
  const map = colourMap(mapName);
  return (index) => {
    const value = values[index];
    if (!Number.isFinite(value)) return null;
    const share = Math.min(1, Math.max(0, (value - low) / (high - low)));
    const [red, green, blue] = map[Math.round(share * 255)];
    return [red, green, blue, opacity * opacityAt(share)];
  };
}

/** How opaque the map is at a share, 0 to 1, of its window: the legend fades in the same way. */
export function opacityAt(share) {
  return 0.15 + 0.85 * share;
}

/** Colours kinds; with one chosen, that one alone. */
export function byKind(labels, colours, opacity, only = -1) {
  const rgb = colours.map(rgbOf);
  return (index) => {
    const label = labels[index];
    if (label < 0) return null;
    if (only >= 0 && label !== only) return HIDDEN;
    return [...rgb[label], opacity];
  };
}

/** Colours three numbers of each patch as red, green and blue; 2 to 98 % of each fill the range. */
export function byComponents(scores, windows, opacity) {
  return (index) => {
    const at = index * 3;
    if (!Number.isFinite(scores[at])) return null;
    const rgb = windows.map(({ low, high }, i) => {
      return Math.round(255 * Math.min(1, Math.max(0, (scores[at + i] - low) / (high - low))));
    });
    return [...rgb, opacity];
  };
}
