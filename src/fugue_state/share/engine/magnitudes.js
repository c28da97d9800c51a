/**
 * Magnitudes as sums of window lobes, on the assumption that sound consists of partials (`Lobes` in
 * audio/magnitudes.py): a non-negative factorization with a fixed dictionary.
 */

import { binsOf, filterbank } from "./melbank.js";

const DENSE_HZ = 1000; // below, there are PER_BIN atoms per bin
const PER_BIN = 2;
const LOBE_BINS = 2; // half the width of a Hann window's main lobe
const LEAST = 1e-9;

/** @param {number} x */
const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

/**
 * The lobes from the lowest bin to just above the highest band.
 * @param {import("./melbank.js").MelSpec} spec @returns {[number, number][][]} of each its bins and heights there
 */
function atomsOf(spec) {
  const bins = binsOf(spec);
  const perHz = spec.n_fft / spec.sample_rate_hz;
  const dense = Math.min(bins, Math.trunc(DENSE_HZ * perHz));
  const top = Math.min(bins, Math.ceil(spec.fmax_hz * perHz) + LOBE_BINS);
  const centres = Array.from({ length: PER_BIN * dense }, (_, i) => i / PER_BIN);
  for (let bin = dense; bin < top; bin++) centres.push(bin);
  return centres.map((centre) => {
    const lobe = [];
    for (let bin = Math.ceil(centre) - LOBE_BINS; bin <= Math.ceil(centre) + LOBE_BINS; bin++) {
      const away = bin - centre;
      const height = Math.abs(sinc(away) + 0.5 * sinc(away - 1) + 0.5 * sinc(away + 1)) ** spec.power;
      if (Math.abs(away) <= LOBE_BINS && bin >= 0 && bin < bins) lobe.push([bin, Math.fround(height)]);
    }
    return lobe;
  });
}

/** The sum of numbers in single precision. */
const total = (values) => values.reduce((sum, value) => Math.fround(sum + value), 0);

/** Finds the lobes of one frame after the other. */
export class Lobes {
  /** @param {import("./kernels.js").Kernels} kernels @param {import("./melbank.js").MelSpec} spec */
  constructor(kernels, spec) {
    this._kernels = kernels;
    this.spec = spec;
    const filters = filterbank(spec);
    const bins = binsOf(spec);
    const share = (m, [bin, height]) => Math.fround(filters[m * bins + bin] * height);
    const seenBy = (lobe, m) => lobe.reduce((sum, part) => sum + share(m, part), 0);
    const every = atomsOf(spec).map((lobe) => {
      const seen = Float64Array.from({ length: spec.n_mels }, (_, m) => seenBy(lobe, m));
      return { lobe, seen, heard: seen.reduce((sum, value) => sum + value, 0) > LEAST };
    });
    const atoms = every.filter(({ heard }) => heard);
    this._count = atoms.length;
    this._layBands(atoms.map(({ seen }) => Float32Array.from(seen)));
    this._layBins(atoms.map(({ lobe }) => lobe), bins);
  }

  /** A band's atoms are consecutive. @param {Float32Array[]} seen of each atom its share in every band */
  _layBands(seen) {
    const sums = seen.map(total);
    const starts = [0];
    const firsts = [];
    const ahead = [];
    const back = [];
    for (let m = 0; m < this.spec.n_mels; m++) {
      const own = seen.flatMap((shares, k) => (shares[m] > LEAST ? [k] : []));
      const first = own.length ? own[0] : 0;
      const end = own.length ? own[own.length - 1] + 1 : 0;
      for (let k = first; k < end; k++) {
        ahead.push(seen[k][m]);
        back.push(seen[k][m] / sums[k]);
      }
      firsts.push(first);
      starts.push(ahead.length);
    }
    const [kernels, whole, float] = [this._kernels, (list) => Int32Array.from(list), (list) => Float32Array.from(list)];
    this._bands = [whole(starts), whole(firsts), float(ahead), float(back)].map((list) => kernels.put(list));
  }

  /** Bins by atoms, as sparse rows. @param {[number, number][][]} lobes @param {number} bins */
  _layBins(lobes, bins) {
    const rows = Array.from({ length: bins }, () => /** @type {[number, number][]} */ ([]));
    lobes.forEach((lobe, k) => lobe.forEach(([bin, height]) => height > LEAST && rows[bin].push([k, height])));
    const starts = new Int32Array(bins + 1);
    rows.forEach((row, bin) => (starts[bin + 1] = starts[bin] + row.length));
    const entries = rows.flat();
    const columns = Int32Array.from(entries, ([k]) => k);
    const values = Float32Array.from(entries, ([, height]) => height);
    this._bins = [starts, columns, values].map((list) => this._kernels.put(list));
  }

  /**
   * Write the lowest bins of what produces a mel's frames (n, M), which are clipped in place: (n, known).
   * @param {number} mel @param {number} frames @param {number} known @param {number} out
   */
  find(mel, frames, known, out) {
    const { spec, _kernels: kernels } = this;
    kernels.within(() => {
      const bands = kernels.take(frames * spec.n_mels);
      const weight = kernels.take(this._count);
      const turn = kernels.take(this._count);
      if (!kernels.calls.bands(mel, frames * spec.n_mels, spec.range_db, spec.floor_db, spec.power, bands)) {
        throw new Error("mel holds values that are not numbers (NaN or infinity)");
      }
      for (let t = 0; t < frames; t++) {
        kernels.calls.lobes(bands + 4 * t * spec.n_mels, spec.n_mels, ...this._bands, this._count, weight, turn);
        kernels.calls.spread(...this._bins, known, weight, spec.power, out + 4 * t * known);
      }
    });
  }
}
