/** Replacements for the forgotten part of a unit, and bends other than forgetting (memory/bends.py in Python). */

import { places } from "./generator.js";
import { turns } from "./kernels.js";
import { Random } from "./random.js";

const LENGTHS_KEPT = 4; // number of lengths (in frames) for which a bend caches its layers

/** The bend of one layer with C units, ready for maps of one size (H, W). */
class LayerBend {
  /**
   * @param {Float32Array} fixed (H, W, C) or (C,): replacements that are the same for every sound
   * @param {number[]} noisy units replaced by noise
   * @param {{re: Float32Array, im: Float32Array} | null} phases (H, W, C)
   * @param {Float32Array | null} gain (C,) @param {Float32Array | null} invert (C,)
   */
  constructor(fixed, noisy, phases, gain, invert) {
    Object.assign(this, { fixed, noisy, phases, gain, invert });
  }

  /** Bend maps in place, of which `strength` (C,) is remembered; null is fully remembered. */
  apply(kernels, maps, strength) {
    const { units } = maps;
    kernels.within(() => {
      const given = (values) => (values ? kernels.put(values) : 0);
      const fixed = strength ? this._replacement(kernels, maps, strength) : this.fixed;
      const room = kernels.take(2 * units);
      const instead = kernels.put(fixed);
      const bent = [given(this.invert), given(this.gain), given(strength)];
      kernels.calls.bend(maps.at, places(maps), units, ...bent, instead, fixed.length / units, room);
    });
  }

  /** The replacement of each unit, (H, W, C) or (C,). */
  _replacement(kernels, maps, strength) {
    const chosen = this.noisy.filter((unit) => strength[unit] < 1); // intact units need no replacement
    if (!chosen.length) return this.fixed;
    const { units } = maps;
    const count = places(maps);
    const every = new Float32Array(count * units);
    for (let at = 0; at < every.length; at += this.fixed.length) every.set(this.fixed, at);
    const own = scrambled(kernels, maps, chosen, this.phases);
    for (let n = 0; n < count; n++) {
      for (let c = 0; c < chosen.length; c++) every[n * units + chosen[c]] = own[n * chosen.length + c];
    }
    return every;
  }
}

/** Some columns of a matrix (R, C). @param {Float32Array} values @param {number[]} chosen @param {number} units */
function chosenOf(values, chosen, units) {
  const count = values.length / units;
  const out = new Float32Array(count * chosen.length);
  for (let n = 0; n < count; n++) {
    for (let c = 0; c < chosen.length; c++) out[n * chosen.length + c] = values[n * units + chosen[c]];
  }
  return out;
}

/** Transform maps (H, W, C) of complex numbers along height and width, in place; exchange re and im for the inverse. */
function transformed(kernels, re, im, { height, width, units }) {
  kernels.within(() => {
    const room = kernels.take(2 * height * width * units);
    const across = kernels.put(turns(width));
    const up = kernels.put(turns(height));
    for (let y = 0; y < height; y++) {
      const at = 4 * y * width * units;
      kernels.calls.transform(re + at, im + at, width, units, across, room);
    }
    kernels.calls.transform(re, im, height, width * units, up, room);
  });
}

/** Maps (H, W, chosen) with the same power spectra and other phases. */
function scrambled(kernels, maps, chosen, phases) {
  const { height, width, units } = maps;
  const size = { height, width, units: chosen.length };
  const count = height * width * chosen.length;
  return kernels.within(() => {
    const from = kernels.floats.subarray(maps.at >> 2, (maps.at >> 2) + places(maps) * units);
    const re = kernels.put(chosenOf(from, chosen, units));
    const im = kernels.zeros(count);
    transformed(kernels, re, im, size);
    const [phaseRe, phaseIm] = [phases.re, phases.im].map((part) => kernels.put(chosenOf(part, chosen, units)));
    kernels.calls.rephase(re, im, phaseRe, phaseIm, count);
    transformed(kernels, im, re, size);
    return kernels.read(re, count).map((value) => value / (height * width));
  });
}

/** The phases (H, W, C) of real noise, of modulus 1; a unit's do not depend on other units. */
function noisePhases(kernels, seed, layer, units, [height, width]) {
  const size = height * width;
  const drawn = new Random([seed, layer]).standardNormal32(units * size);
  const noise = new Float32Array(units * size);
  for (let c = 0; c < units; c++) for (let n = 0; n < size; n++) noise[n * units + c] = drawn[c * size + n];
  return kernels.within(() => {
    const re = kernels.put(noise);
    const im = kernels.zeros(noise.length);
    transformed(kernels, re, im, { height, width, units });
    kernels.calls.unit(re, im, noise.length);
    const phases = { re: kernels.read(re, noise.length), im: kernels.read(im, noise.length) };
    phases.re.fill(1, 0, units); // keep the mean
    phases.im.fill(0, 0, units);
    return phases;
  });
}

/** What is done to units besides forgetting. What is prepared for a length is cached. */
export class Bend {
  /**
   * @param {import("./generator.js").Generator} generator
   * @param {{names: string[], seed: number, labels: Object<string, number>}} description as share/bends.py writes it
   * @param {Map<string, import("./tensors.js").Tensor>} arrays
   */
  constructor(generator, { names, seed, labels }, arrays) {
    const array = (name) => {
      const found = arrays.get(`bend.${name}`);
      return found ? Float32Array.from(found.data) : null;
    };
    this._generator = generator;
    this._seed = seed;
    this._replacement = Array.from(array("replacement"), (index) => names[index]);
    [this._gain, this._invert, this._mean] = ["gain", "invert", "mean"].map(array);
    this._moments = Object.entries(labels).map(([name, label]) => {
      return { name, label, latent: array(`${name}.latent`), strengths: array(`${name}.strengths`) };
    });
    /** @type {Map<number, Map<string, LayerBend>>} */
    this._made = new Map();
  }

  /** What bends each layer at this length; unchanged layers are left out. @param {number} frames */
  layers(frames = this._generator.frames) {
    if (!this._made.has(frames)) {
      const made = this._make(frames);
      if (this._made.size === LENGTHS_KEPT) this._made.delete(this._made.keys().next().value);
      this._made.set(frames, made);
    }
    return this._made.get(frames);
  }

  _make(frames) {
    const needed = this._moments.filter(({ name }) => this._replacement.includes(name));
    const maps = new Map(needed.map((moment) => [moment.name, this._mapsOf(moment, frames)]));
    const sizes = this._generator.mapSizes(frames);
    const made = new Map();
    let first = 0;
    this._generator.layers.forEach(([name, count], index) => {
      const own = new Map([...maps].map(([source, layers]) => [source, layers.get(name)]));
      const layer = this._layer(index, first, first + count, sizes[index], own);
      first += count;
      if (layer) made.set(name, layer);
    });
    return made;
  }

  /** Every unit's map at a moment, by layer. @returns {Map<string, Float32Array>} */
  _mapsOf({ latent, label, strengths }, frames) {
    const { kernels } = this._generator;
    const found = new Map();
    const seen = (name, maps) => found.set(name, kernels.read(maps.at, places(maps) * maps.units));
    this._generator.generate(latent, label, strengths, { frames, seen });
    return found;
  }

  _layer(index, first, end, size, maps) {
    const names = this._replacement.slice(first, end);
    const gain = unless(this._gain, first, end, 1);
    const invert = unless(this._invert, first, end, 0);
    if (!gain && !invert && names.every((name) => name === "zero")) return null;
    const noisy = names.flatMap((name, unit) => (name === "noise" ? [unit] : []));
    const { kernels } = this._generator;
    const phases = noisy.length ? noisePhases(kernels, this._seed, index, names.length, size) : null;
    return new LayerBend(this._fixed(names, first, maps), noisy, phases, gain, invert);
  }

  /** Replacements that are the same for every sound: (H, W, C), or (C,) if none is another moment's. */
  _fixed(names, first, maps) {
    const own = [...maps].find(([name]) => names.includes(name));
    const fixed = new Float32Array(own ? own[1].length : names.length);
    const rows = fixed.length / names.length;
    names.forEach((name, unit) => {
      const mean = name === "mean" ? this._mean[first + unit] : 0;
      const source = maps.get(name);
      for (let n = 0; n < rows; n++) fixed[n * names.length + unit] = source ? source[n * names.length + unit] : mean;
    });
    return fixed;
  }
}

/** The values of a layer's units; null if they change nothing. */
function unless(values, first, end, neutral) {
  const own = values && values.subarray(first, end);
  return own && own.some((value) => value !== neutral) ? own : null;
}
