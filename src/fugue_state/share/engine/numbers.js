/** Arithmetic as Python and NumPy do it. */

/** The nearest whole number; of two that are as near, the even one. @param {number} value */
export function rounded(value) {
  const below = Math.floor(value);
  const above = value - below;
  if (above !== 0.5) return above < 0.5 ? below : below + 1;
  return below % 2 ? below + 1 : below;
}

/** How many values of a sorted list are at most as large as one. @param {ArrayLike<number>} sorted @param {number} value */
export function upTo(sorted, value) {
  let from = 0;
  let to = sorted.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    if (sorted[middle] <= value) from = middle + 1;
    else to = middle;
  }
  return from;
}

/** How many values of a sorted list are smaller than one. @param {ArrayLike<number>} sorted @param {number} value */
export function below(sorted, value) {
  let from = 0;
  let to = sorted.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    if (sorted[middle] < value) from = middle + 1;
    else to = middle;
  }
  return from;
}

/**
 * The value at a place of straight lines through points; beyond the ends, that of the end.
 * @param {number} x @param {ArrayLike<number>} xs rising @param {ArrayLike<number>} ys
 */
export function interpolated(x, xs, ys) {
  const last = xs.length - 1;
  if (x < xs[0]) return ys[0];
  const at = upTo(xs, x) - 1;
  if (at === last || xs[at] === x) return ys[at];
  return ((ys[at + 1] - ys[at]) / (xs[at + 1] - xs[at])) * (x - xs[at]) + ys[at];
}
