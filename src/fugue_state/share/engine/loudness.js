/** Momentary loudness of stereo blocks (ITU-R BS.1770-4): the newest 0.4 s, for the meter. */

const SILENT_LUFS = -70;
const OFFSET_LU = -0.691;
const SPAN_S = 0.4;

// The analogue filters behind the coefficients that BS.1770-4 gives for 48 kHz (De Man, 2014).
const SHELF = { hz: 1681.974450955533, q: 0.7071752369554196, gain: 10 ** (3.999843853973347 / 20) };
const PASS = { hz: 38.13547087602444, q: 0.5003270373238773 };

/** @param {number} rate_hz @returns {number[][]} the shelf's and the high-pass's b0, b1, b2, a1, a2 */
function weighting(rate_hz) {
  const k = Math.tan((Math.PI * SHELF.hz) / rate_hz);
  const bend = Math.sqrt(SHELF.gain);
  const a0 = 1 + k / SHELF.q + k * k;
  const shelf = [
    (SHELF.gain + (bend * k) / SHELF.q + k * k) / a0,
    (2 * (k * k - SHELF.gain)) / a0,
    (SHELF.gain - (bend * k) / SHELF.q + k * k) / a0,
    (2 * (k * k - 1)) / a0,
    (1 - k / SHELF.q + k * k) / a0,
  ];
  const h = Math.tan((Math.PI * PASS.hz) / rate_hz);
  const over = 1 + h / PASS.q + h * h;
  return [shelf, [1, -2, 1, (2 * (h * h - 1)) / over, (1 - h / PASS.q + h * h) / over]];
}

export class LoudnessMeter {
  /** @param {number} rate_hz */
  constructor(rate_hz) {
    this.filters = weighting(rate_hz);
    this.past = new Float64Array(8); // of each channel, what its two filters carry on
    this.most = Math.round(SPAN_S * rate_hz);
    /** @type {{count: number, squares: number}[]} */ this.blocks = [];
  }

  /** Measure a block (2 N). @param {Float32Array} block */
  add(block) {
    let squares = 0;
    for (let channel = 0; channel < 2; channel++) squares += this.#squares(block, channel);
    this.blocks.push({ count: block.length / 2, squares });
    let count = this.blocks.reduce((sum, one) => sum + one.count, 0);
    while (count - this.blocks[0].count >= this.most) count -= this.blocks.shift().count;
  }

  #squares(block, channel) {
    const [[b0, b1, b2, a1, a2], [c0, c1, c2, d1, d2]] = this.filters;
    let [p, q, r, s] = this.past.subarray(4 * channel, 4 * channel + 4);
    let sum = 0;
    for (let n = channel; n < block.length; n += 2) {
      const x = block[n];
      const y = b0 * x + p;
      p = b1 * x - a1 * y + q;
      q = b2 * x - a2 * y;
      const z = c0 * y + r;
      r = c1 * y - d1 * z + s;
      s = c2 * y - d2 * z;
      sum += z * z;
    }
    this.past.set([p, q, r, s], 4 * channel);
    return sum;
  }

  get momentary_lufs() {
    const [count, squares] = this.blocks.reduce(([n, sum], one) => [n + one.count, sum + one.squares], [0, 0]);
    return Math.max(SILENT_LUFS, OFFSET_LU + 10 * Math.log10(Math.max(count ? squares / count : 0, 1e-12)));
  }
}
