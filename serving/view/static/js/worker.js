// What takes seconds is computed here, so that the page goes on answering.

import { NUMBERS } from "./half.js";
import { clusters } from "./kmeans.js";
import { principalComponents } from "./pca.js";

onmessage = ({ data: { id, kind, bits, rows, dimension, k } }) => {
  const numbers = Float32Array.from(bits, (value) => NUMBERS[value]);
  const result =
    kind === "pca" ? principalComponents(numbers, rows, dimension) : clusters(numbers, rows, dimension, k);
  postMessage({ id, result }, [result.buffer]);
};
