/**
 * Samples that fade out a sound (2 N) that broke off: its end, reversed and faded.
 * @param {Float32Array} last @returns {Float32Array}
 */
export function dying(last) {
  const count = last.length / 2;
  const out = new Float32Array(last.length);
  for (let n = 0; n < count; n++) {
    const gain = count > 1 ? 1 - n / (count - 1) : 1;
    for (let channel = 0; channel < 2; channel++) out[2 * n + channel] = gain * last[2 * (count - 1 - n) + channel];
  }
  return out;
}
