/** The mel filters and the window of a spec (audio/mel.py in Python). */

/** @typedef {{sample_rate_hz: number, n_fft: number, hop: number, n_mels: number, frames: number, fmin_hz: number,
 *   fmax_hz: number, scale: string, norm: string, power: number, range_db: number, ceiling_db: number,
 *   floor_db: number}} MelSpec as in a memory's header, and its floor */

/** Hz to mel. @param {number} hz @param {string} scale */
function hzToMel(hz, scale) {
  if (scale === "htk") return 2595 * Math.log10(1 + hz / 700);
  return hz < 1000 ? hz * 0.015 : 15 + (27 * Math.log(hz / 1000)) / Math.log(6.4);
}

/** @param {number} mel @param {string} scale */
function melToHz(mel, scale) {
  if (scale === "htk") return 700 * (10 ** (mel / 2595) - 1);
  return mel < 15 ? mel / 0.015 : 1000 * Math.exp((Math.log(6.4) * (mel - 15)) / 27);
}

/** The triangular mel filters, one after the other (M, F). @param {MelSpec} spec @returns {Float32Array} */
export function filterbank(spec) {
  const bins = binsOf(spec);
  const low = hzToMel(spec.fmin_hz, spec.scale);
  const step = (hzToMel(spec.fmax_hz, spec.scale) - low) / (spec.n_mels + 1);
  const edges = Array.from({ length: spec.n_mels + 2 }, (_, i) => melToHz(low + i * step, spec.scale));
  const filters = new Float32Array(spec.n_mels * bins);
  for (let m = 0; m < spec.n_mels; m++) {
    const [first, peak, end] = edges.slice(m, m + 3);
    const by = spec.norm === "area" ? 2 / (end - first) : 1;
    for (let f = 0; f < bins; f++) {
      const hz = (f * spec.sample_rate_hz) / spec.n_fft;
      filters[m * bins + f] = Math.max(0, Math.min((hz - first) / (peak - first), (end - hz) / (end - peak))) * by;
    }
  }
  return filters;
}

/** Number of frequencies F. @param {MelSpec} spec */
export const binsOf = (spec) => Math.floor(spec.n_fft / 2) + 1;

/** The periodic Hann window. @param {number} length @returns {Float32Array} */
export function hann(length) {
  return Float32Array.from({ length }, (_, n) => 0.5 - 0.5 * Math.cos(((2 * Math.PI) / length) * n));
}

/** What a spectrum is multiplied with so that a full-scale sine reads 1. @param {MelSpec} spec */
export const unitGain = (spec) => 2 / hann(spec.n_fft).reduce((sum, value) => sum + value, 0);
