// Colours: maps for values, a palette for kinds.

const MAPS = {
  viridis: ["440154", "482878", "3e4989", "31688e", "26828e", "1f9e89", "35b779", "6ece58", "b5de2b", "fde725"],
  inferno: ["000004", "1b0c41", "4a0c6b", "781c6d", "a52c60", "cf4446", "ed6925", "fb9b06", "f7d13d", "fcffa4"],
  "blue to red": ["2166ac", "4393c3", "92c5de", "d1e5f0", "f7f7f7", "fddbc7", "f4a582", "d6604d", "b2182b"],
};

/** Distinct beside each other, on tissue and on white, also where red and green look alike. */
export const KINDS = [
  "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00",
  "#f0e442", "#7b4fb5", "#8c564b", "#00d5c8", "#5a5a5a", "#a6d854",
];

export const MAP_NAMES = Object.keys(MAPS);

/** Returns 256 colours, [red, green, blue] each. */
export function colourMap(name) {
  const anchors = MAPS[name].map(rgbOf);
  return Array.from({ length: 256 }, (_, i) => {
    const place = (i / 255) * (anchors.length - 1);
    const first = Math.min(Math.floor(place), anchors.length - 2);
    const share = place - first;
    return anchors[first].map((value, channel) => {
      return Math.round(value + (anchors[first + 1][channel] - value) * share);
    });
  });
}

/** Returns [red, green, blue] of six hexadecimal digits. */
export function rgbOf(text) {
  const number = parseInt(text.replace("#", ""), 16);
  return [number >> 16, (number >> 8) & 255, number & 255];
}

/** Returns the values at two shares (0 to 1) of all finite ones in some lists. */
export function percentiles(lists, low, high) {
  const finite = lists.map((list) => list.filter(Number.isFinite));
  const all = new Float32Array(finite.reduce((sum, list) => sum + list.length, 0));
  if (!all.length) return { low: 0, high: 1 };
  finite.reduce((at, list) => (all.set(list, at), at + list.length), 0);
  all.sort();
  const at = (share) => all[Math.round(share * (all.length - 1))];
  const found = { low: at(low), high: at(high) };
  return found.high > found.low ? found : { low: found.low, high: found.low + 1e-6 };
}
