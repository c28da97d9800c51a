/** A true-peak limiter with look-ahead: its output lags by `delay` samples and never exceeds the ceiling. */

import { lowPass } from "./filters.js";

const OVERSAMPLING = 4;
const PEAK_TAPS = 12;
const SHAPE = 6; // beta of the Kaiser window of the interpolation
const MARGIN_DB = 0.3; // by how much a true peak can exceed the four-fold oversampled one

export class Limiter {
  /** @param {number} ceiling_dbtp @param {number} rate_hz @param {number} look_ahead_s */
  constructor(ceiling_dbtp, rate_hz, look_ahead_s) {
    this.ceiling = 10 ** ((ceiling_dbtp - MARGIN_DB) / 20);
    this.ahead = 4 * Math.floor((look_ahead_s * rate_hz) / 4);
    this.delay = this.ahead + PEAK_TAPS;
    this.taps = lowPass(2 * PEAK_TAPS * OVERSAMPLING + 1, 1 / OVERSAMPLING, SHAPE).map((tap) => tap * OVERSAMPLING);
    this.sound = new Float32Array(2 * this.delay); // the newest input
    this.wanted = new Float64Array(2 * this.ahead).fill(1); // gains at which its peaks would just reach the ceiling
    this.lastPeak = 0;
  }

  /** Limit a block (2 N); returns the block, delayed. @param {Float32Array} block @returns {Float32Array} */
  apply(block) {
    const count = block.length / 2;
    const { delay, ahead, ceiling } = this;
    const heard = new Float32Array(2 * (delay + count));
    heard.set(this.sound);
    heard.set(block, 2 * delay);
    const wanted = new Float64Array(2 * ahead + count);
    wanted.set(this.wanted);
    let least = 1;
    for (let i = 0; i < 2 * ahead; i++) least = Math.min(least, wanted[i]);
    for (let i = 0; i < count; i++) {
      const peak = this.#peak(heard, delay - PEAK_TAPS + i);
      // A peak between two samples counts for both.
      wanted[2 * ahead + i] = Math.min(1, ceiling / Math.max(peak, this.lastPeak, 1e-9));
      this.lastPeak = peak;
      least = Math.min(least, wanted[2 * ahead + i]);
    }
    this.sound = heard.slice(2 * count);
    this.wanted = wanted.slice(count);
    const out = heard.slice(0, 2 * count);
    if (least < 1) {
      const gains = smoothed(wanted, ahead, count);
      for (let n = 0; n < out.length; n++) out[n] *= gains[n >> 1];
    }
    return out;
  }

  /** The largest of the points from a sample to just before the next, over both channels. */
  #peak(heard, sample) {
    const { taps } = this;
    let most = 0;
    for (let channel = 0; channel < 2; channel++) {
      const first = 2 * (sample - PEAK_TAPS) + channel;
      for (let phase = 0; phase < OVERSAMPLING; phase++) {
        let total = 0;
        for (let k = phase ? 1 : 0; k <= 2 * PEAK_TAPS; k++) {
          total += heard[first + 2 * k] * taps[2 * PEAK_TAPS * OVERSAMPLING - OVERSAMPLING * k + phase];
        }
        most = Math.max(most, Math.abs(total));
      }
    }
    return most;
  }
}

/**
 * The gain of each of `count` samples. The minimum is taken over the same span as the smoothing, so the gain is
 * fully down when the peak arrives.
 * @param {Float64Array} wanted (2 ahead + count,) @param {number} ahead @param {number} count
 */
function smoothed(wanted, ahead, count) {
  const span = ahead + 1; // 2 * half + 1
  const lowest = slid(wanted, span);
  const average = (values) => averaged(values, ahead / 2 + 1);
  return average(average(lowest)).subarray(0, count);
}

/** The minimum of every `span` neighbours: (n - span + 1,). @param {Float64Array} values @param {number} span */
function slid(values, span) {
  const out = new Float64Array(values.length - span + 1);
  const places = new Int32Array(values.length); // of ever larger values, the first the minimum
  let begin = 0;
  let end = 0;
  for (let i = 0; i < values.length; i++) {
    while (end > begin && values[places[end - 1]] >= values[i]) end--;
    places[end++] = i;
    if (places[begin] <= i - span) begin++;
    if (i >= span - 1) out[i - span + 1] = values[places[begin]];
  }
  return out;
}

/** The mean of every `span` neighbours: (n - span + 1,). @param {Float64Array} values @param {number} span */
function averaged(values, span) {
  const out = new Float64Array(values.length - span + 1);
  let sum = 0;
  for (let i = 0; i < values.length; i++) {
    sum += values[i] - (i >= span ? values[i - span] : 0);
    if (i >= span - 1) out[i - span + 1] = sum / span;
  }
  return out;
}
