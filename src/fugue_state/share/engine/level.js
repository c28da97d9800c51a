/** How loud an event is, the gain that holds its loudness, and its envelope. */

const NEPERS = Math.LN10 / 20; // in a dB

/**
 * A gain (N,): attack, hold, an exponential decay, and a release that ends at 0; and by how many dB it lowers a
 * steady sound.
 * @param {number} length @param {number} rate_hz
 * @param {{attack_s: number, hold_s: number, decay_rt60_s: number, release_s: number}} config
 * @returns {{gain: Float32Array, taken_db: number}}
 */
export function envelope(length, rate_hz, config) {
  const gain = new Float32Array(length);
  const rise = (time_s, length_s) => (length_s ? Math.sin((Math.PI / 2) * Math.min(1, time_s / length_s)) : 1);
  let power = 0;
  for (let n = 0; n < length; n++) {
    const time_s = n / rate_hz;
    const decaying_s = Math.max(0, time_s - config.attack_s - config.hold_s);
    gain[n] =
      10 ** ((-3 * decaying_s) / config.decay_rt60_s) *
      rise(time_s, config.attack_s) *
      rise((length - 1 - n) / rate_hz, config.release_s);
    power += gain[n] * gain[n];
  }
  return { gain, taken_db: -10 * Math.log10(power / length) };
}

/** Estimates the loudness of a mel as Python's `Level` does, and returns the gain that holds it. */
export class Level {
  /** @param {any} level of the parcel's sound @param {Float32Array} weights (M,) @param {any} spec of the memory */
  constructor(level, weights, spec) {
    this.level = level;
    this.weights = weights;
    this.floor = 10 ** (spec.floor_db / 20);
    this.floor_db = spec.floor_db;
    this.range_db = spec.range_db;
  }

  /**
   * The gain for a mel (M, T) under an envelope that lowers a steady sound by `taken_db`.
   * @param {Float32Array} mel @param {number} frames @param {number} level_db @param {Float32Array} envelope
   * @param {number} taken_db
   */
  gain(mel, frames, level_db, envelope, taken_db) {
    const { hold, held_lufs, lift_db } = this.level;
    if (!hold) return 10 ** (level_db / 20);
    const lufs = this.#lufs(mel, frames, envelope);
    return 10 ** ((level_db + Math.min(held_lufs - taken_db - lufs, lift_db)) / 20);
  }

  #lufs(mel, frames, envelope) {
    const { ends, offsets } = this.level.line;
    const power = new Float64Array(frames);
    const amplitudes = new Float64Array(frames);
    let squares = 0;
    for (let m = 0; m < this.weights.length; m++) {
      for (let t = 0; t < frames; t++) {
        const above = Math.min(1, Math.max(-1, mel[m * frames + t])) + 1;
        const level_db = above * (this.range_db / 2) + this.floor_db;
        const band = Math.max(0, Math.exp(NEPERS * level_db) - this.floor);
        power[t] += this.weights[m] * band * band;
        amplitudes[t] += band;
        squares += band * band;
      }
    }
    let heard = 0;
    for (let t = 0; t < frames; t++) heard += power[t] * envelope[Math.floor((t * envelope.length) / frames)] ** 2;
    const peaked_db = db(squares) - db(amplitudes.reduce((sum, one) => sum + one * one, 0));
    const off_lu = between(peaked_db, ends, offsets);
    return Math.max(this.level.silent_lufs, db(heard / frames) + off_lu);
  }
}

/** @param {number} power */
function db(power) {
  return 10 * Math.log10(Math.max(power, 1e-12));
}

/** Interpolate between two points; beyond them, the nearer one. @param {number} x */
function between(x, [begin, end], [low, high]) {
  if (x >= end) return high;
  if (x <= begin) return low;
  return low + ((x - begin) / (end - begin)) * (high - low);
}
