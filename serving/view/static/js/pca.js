// The three directions along which vectors differ most, and each vector's place on them.

const WIDTH = 12; // directions that are followed; the first three are wanted
const ROUNDS = 120;
const MOST_ROWS = 20000; // for the covariance

/**
 * @param {Float32Array} data rows × dimension, row by row
 * @returns {Float32Array} rows × 3: scores; the sign of a direction is that of its largest number
 */
export function principalComponents(data, rows, dimension) {
  const mean = meanOf(data, rows, dimension);
  const covariance = covarianceOf(data, rows, dimension, mean);
  const directions = largest(covariance, dimension, Math.min(WIDTH, dimension));
  const scores = new Float32Array(rows * 3);
  for (let row = 0; row < rows; row += 1) {
    for (let c = 0; c < Math.min(3, directions.length); c += 1) {
      let sum = 0;
      for (let i = 0, at = row * dimension; i < dimension; i += 1, at += 1) {
        sum += (data[at] - mean[i]) * directions[c][i];
      }
      scores[row * 3 + c] = sum;
    }
  }
  return scores;
}

function meanOf(data, rows, dimension) {
  const mean = new Float64Array(dimension);
  for (let row = 0, at = 0; row < rows; row += 1) {
    for (let i = 0; i < dimension; i += 1, at += 1) mean[i] += data[at];
  }
  return mean.map((value) => value / rows);
}

function covarianceOf(data, rows, dimension, mean) {
  const found = new Float64Array(dimension * dimension);
  const centred = new Float64Array(dimension);
  const every = Math.max(1, Math.floor(rows / MOST_ROWS));
  for (let row = 0; row < rows; row += every) {
    for (let i = 0, at = row * dimension; i < dimension; i += 1, at += 1) centred[i] = data[at] - mean[i];
    for (let i = 0; i < dimension; i += 1) {
      const value = centred[i];
      for (let j = i, at = i * dimension + i; j < dimension; j += 1, at += 1) found[at] += value * centred[j];
    }
  }
  for (let i = 0; i < dimension; i += 1) {
    for (let j = 0; j < i; j += 1) found[i * dimension + j] = found[j * dimension + i];
  }
  return found;
}

/** Returns the eigenvectors with the largest eigenvalues, by subspace iteration, largest first. */
function largest(matrix, dimension, width) {
  let basis = Array.from({ length: width }, (_, c) => {
    return Float64Array.from({ length: dimension }, (__, i) => Math.sin((c + 1) * (i + 1) * 12.9898) + 1e-3);
  });
  for (let round = 0; round < ROUNDS; round += 1) {
    basis = orthonormal(basis.map((vector) => times(matrix, vector, dimension)));
  }
  return rotated(matrix, basis, dimension);
}

function times(matrix, vector, dimension) {
  const found = new Float64Array(dimension);
  for (let i = 0, at = 0; i < dimension; i += 1) {
    let sum = 0;
    for (let j = 0; j < dimension; j += 1, at += 1) sum += matrix[at] * vector[j];
    found[i] = sum;
  }
  return found;
}

function orthonormal(vectors) {
  const done = [];
  for (const vector of vectors) {
    // Twice: what rounding leaves of the others is taken away, too.
    for (const _ of [1, 2]) {
      for (const other of done) {
        const along = dot(vector, other);
        for (let i = 0; i < vector.length; i += 1) vector[i] -= along * other[i];
      }
    }
    const length = Math.sqrt(dot(vector, vector));
    done.push(vector.map((value) => (length > 1e-30 ? value / length : 0)));
  }
  return done;
}

/** Turns a basis of the subspace into its eigenvectors: the small matrix is made diagonal by Jacobi's turns. */
function rotated(matrix, basis, dimension) {
  const images = basis.map((vector) => times(matrix, vector, dimension));
  const small = basis.map((a) => images.map((b) => dot(a, b)));
  const turned = basis.map((vector) => vector.slice());
  for (let sweep = 0; sweep < 30; sweep += 1) {
    for (let p = 0; p < small.length; p += 1) {
      for (let q = p + 1; q < small.length; q += 1) turn(small, turned, p, q);
    }
  }
  const order = small.map((_, i) => i).sort((a, b) => small[b][b] - small[a][a]);
  return order.map((i) => signed(turned[i]));
}

function turn(small, vectors, p, q) {
  if (Math.abs(small[p][q]) < 1e-300) return;
  const angle = 0.5 * Math.atan2(2 * small[p][q], small[q][q] - small[p][p]);
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  for (let i = 0; i < small.length; i += 1) {
    [small[i][p], small[i][q]] = [c * small[i][p] - s * small[i][q], s * small[i][p] + c * small[i][q]];
  }
  for (let i = 0; i < small.length; i += 1) {
    [small[p][i], small[q][i]] = [c * small[p][i] - s * small[q][i], s * small[p][i] + c * small[q][i]];
  }
  for (let i = 0; i < vectors[p].length; i += 1) {
    const [a, b] = [vectors[p][i], vectors[q][i]];
    vectors[p][i] = c * a - s * b;
    vectors[q][i] = s * a + c * b;
  }
}

function signed(vector) {
  const extreme = vector.reduce((best, value) => (Math.abs(value) > Math.abs(best) ? value : best), 0);
  return extreme < 0 ? vector.map((value) => -value) : vector;
}

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += a[i] * b[i];
  return sum;
}
