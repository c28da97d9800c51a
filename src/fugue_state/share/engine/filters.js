/** Windowed-sinc low-passes, and the resampling made of them. */

const REACH = 32; // input samples on either side of an output sample
const PASSED = 0.95; // cutoff as a share of half the lower rate
const SHAPE = 9; // beta of the Kaiser window

/** The modified Bessel function of order 0. @param {number} x */
function bessel(x) {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > 1e-17 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

/**
 * The taps of a low-pass whose cutoff is a share of half the rate, 1 at 0 Hz.
 * @param {number} count odd @param {number} share @param {number} shape beta of the Kaiser window
 * @returns {Float64Array}
 */
export function lowPass(count, share, shape) {
  const middle = (count - 1) / 2;
  const taps = new Float64Array(count);
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const x = Math.PI * share * (i - middle);
    const across = middle ? (i - middle) / middle : 0;
    taps[i] = (x ? Math.sin(x) / x : 1) * (bessel(shape * Math.sqrt(1 - across * across)) / bessel(shape));
    sum += taps[i];
  }
  return taps.map((tap) => tap / sum);
}

/** @param {number} a @param {number} b @returns {number} */
function greatestDivisor(a, b) {
  return b ? greatestDivisor(b, a % b) : a;
}

/** Resampler from one rate to another: the block size never changes the samples. */
export class Converter {
  /** @param {number} from_hz @param {number} to_hz */
  constructor(from_hz, to_hz) {
    const shared = greatestDivisor(from_hz, to_hz);
    this.up = to_hz / shared;
    this.down = from_hz / shared;
    this.reach = this.up === this.down ? 0 : REACH;
    const share = Math.min(1, this.up / this.down) * PASSED;
    const taps = lowPass(2 * this.reach * this.up + 1, share / this.up, SHAPE);
    this.width = 2 * this.reach;
    // For each phase, the weights of the samples around it, the earliest first.
    this.taps = new Float32Array(this.up * this.width);
    for (let phase = 0; phase < this.up; phase++) {
      for (let k = 0; k < this.width; k++) {
        this.taps[phase * this.width + k] = taps[(this.width - 1 - k) * this.up + phase] * this.up;
      }
    }
  }

  /** How many input samples all output before sample `end` needs. @param {number} end */
  needed(end) {
    return Math.floor(((end - 1) * this.down) / this.up) + 1 + this.reach;
  }

  /** The first input sample that an output sample depends on; it may be negative. @param {number} start */
  first(start) {
    return Math.floor((start * this.down) / this.up) - Math.max(0, this.reach - 1);
  }

  /**
   * Output samples from `start` on; `sound` begins at input sample `begin` and holds all they need.
   * @param {Float32Array} sound @param {number} begin @param {number} start @param {Float32Array} out
   */
  convert(sound, begin, start, out) {
    const { width, taps, up, down } = this;
    if (!this.reach) {
      out.set(sound.subarray(start - begin, start - begin + out.length));
      return;
    }
    for (let n = 0; n < out.length; n++) {
      const place = (start + n) * down;
      const first = Math.floor(place / up) - width / 2 + 1 - begin;
      const own = (place % up) * width;
      let total = 0;
      for (let k = 0; k < width; k++) total += sound[first + k] * taps[own + k];
      out[n] = total;
    }
  }
}
