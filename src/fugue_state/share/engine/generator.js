/**
 * The generator for playing (memory/layers.py in Python): it runs layer by layer, and applies each unit's strength in
 * between. Maps are (H, W, C), as everywhere.
 */

import { Matrix } from "./kernels.js";

export const FACTOR = 32; // how many frames of the mel one column of the first map becomes
const SIDE = 4; // side length of every kernel, and height of the first map
const AREA = SIDE * SIDE;
const EPSILON = Math.fround(1e-5); // added to the variance in batch normalization
const SPARSE = 0.9; // share of inputs up to which leaving out those that are all 0 is worth it

/** @typedef {{at: number, height: number, width: number, units: number}} Maps where they lie in memory */

/** How many rows maps have. @param {Maps} maps */
export const places = (maps) => maps.height * maps.width;

/**
 * A cache of one latent's maps, for generating it again with other strengths. Generation restarts at the first layer
 * whose strengths changed; the maps before it are identical to the bit.
 */
export class Trail {
  constructor() {
    /** @type {Map<string, {values: Float32Array, height: number, width: number}>} before bending */
    this._maps = new Map();
    /** @type {Map<string, Float32Array | null>} */
    this._strengths = new Map();
  }

  /**
   * A layer's maps, made on first use. If the strength changed, cached maps of later layers are dropped.
   * @param {import("./kernels.js").Kernels} kernels @param {string} layer
   * @param {Float32Array | null} strength @param {() => Maps} make @returns {Maps}
   */
  through(kernels, layer, strength, make) {
    const found = this._maps.get(layer);
    const same = equal(this._strengths.get(layer) ?? null, strength);
    this._strengths.set(layer, strength && strength.slice());
    if (!found) {
      const maps = make();
      const values = kernels.read(maps.at, places(maps) * maps.units);
      this._maps.set(layer, { values, height: maps.height, width: maps.width });
      return maps;
    }
    if (!same) {
      const names = [...this._maps.keys()];
      for (const name of names.slice(names.indexOf(layer) + 1)) this._maps.delete(name);
    }
    const { values, height, width } = found;
    return { at: kernels.put(values), height, width, units: values.length / (height * width) };
  }
}

/** @param {Float32Array | null} one @param {Float32Array | null} other */
function equal(one, other) {
  if (!one || !other) return one === other;
  return one.length === other.length && one.every((value, i) => value === other[i]);
}

/** One layer of units: transposed convolution, batch normalization by label, ReLU. */
class Deconv {
  /** @param {import("./kernels.js").Kernels} kernels @param {Map} tensors @param {string} name */
  constructor(kernels, tensors, name) {
    const { shape: [inputs, units, high, wide], data } = tensors.get(`deconv.${name}.conv.weight`);
    const places = high * wide;
    const order = { inputs, units, places, byInput: units * places, byUnit: places, byPlace: 1 };
    this._kernels = kernels;
    this.units = units;
    this._matrix = new Matrix(kernels, data, order);
    const part = (kind) => tensors.get(`deconv.${name}.norm.${kind}`).data;
    const scale = part("norm.running_var").map((value) => 1 / Math.fround(Math.sqrt(Math.fround(value + EPSILON))));
    const mean = part("norm.running_mean");
    const gain = part("gain").map((value, i) => value * scale[i % units]); // (labels, C)
    const shift = part("shift").map((value, i) => value - Math.fround(mean[i % units] * gain[i]));
    this._gain = kernels.put(gain);
    this._shift = kernels.put(shift);
    this._nothing = kernels.zeros(units);
  }

  /** The first maps (4, W, C) of a latent (Z,). @param {number} z its address @param {number} label @returns {Maps} */
  first(z, label) {
    const { units, _kernels: kernels } = this;
    const { outputs } = this._matrix;
    const maps = { at: kernels.take(outputs), height: SIDE, width: outputs / units / SIDE, units };
    this._matrix.times(z, 1, maps.at);
    kernels.calls.light(maps.at, places(maps), units, this._gain + 4 * units * label, this._shift + 4 * units * label);
    return maps;
  }

  /** Maps twice as high and wide (2 H, 2 W, C), at least 0. @param {Maps} maps @param {number} label @returns {Maps} */
  call(maps, label) {
    const { units, _kernels: kernels } = this;
    const { height, width } = maps;
    const at = kernels.take(4 * places(maps) * units);
    const own = 4 * units * label;
    kernels.within(() => {
      const columns = multiplied(kernels, this._matrix, maps);
      kernels.calls.gather(columns, height, width, units, this._gain + own, this._shift + own, this._nothing, at);
    });
    return { at, height: 2 * height, width: 2 * width, units };
  }
}

/** Maps times weights; inputs that are 0 everywhere are left out. Returns where the product lies. */
function multiplied(kernels, matrix, maps) {
  const count = places(maps);
  const list = kernels.take(maps.units);
  const room = kernels.take(maps.units);
  const lit = kernels.calls.active(maps.at, count, maps.units, room, list);
  const out = kernels.rows(count, matrix.outputs);
  if (lit <= SPARSE * maps.units) matrix.times(maps.at, count, out, list, lit);
  else matrix.times(maps.at, count, out);
  return out;
}

/** The last layer, which has no units: transposed convolution to one map, tanh. */
class Output {
  /** @param {import("./kernels.js").Kernels} kernels @param {Map} tensors */
  constructor(kernels, tensors) {
    const { shape: [inputs], data } = tensors.get("output.weight");
    this._kernels = kernels;
    this._matrix = new Matrix(kernels, data, { inputs, units: 1, places: AREA, byInput: AREA, byUnit: 0, byPlace: 1 });
    this._bias = tensors.get("output.bias").data[0];
  }

  /** The mel (2 H, 2 W) for maps (H, W, inputs). @param {Maps} maps @returns {Float32Array} */
  call(maps) {
    const kernels = this._kernels;
    return kernels.within(() => {
      const out = kernels.take(4 * places(maps));
      const columns = multiplied(kernels, this._matrix, maps);
      kernels.calls.sound_out(columns, maps.height, maps.width, this._bias, out);
      return kernels.read(out, 4 * places(maps));
    });
  }
}

/** DCGAN generator (Radford et al., 2016): latent (Z,) and label to mel (M, T), band by band. */
export class Generator {
  /**
   * @param {import("./kernels.js").Kernels} kernels
   * @param {Map<string, import("./tensors.js").Tensor>} tensors
   * @param {[string, number][]} layers units per layer, nearest the latent first
   * @param {number} frames the length it learned
   */
  constructor(kernels, tensors, layers, frames) {
    this.kernels = kernels;
    this.layers = layers;
    this.frames = frames;
    this._deconv = layers.map(([name]) => new Deconv(kernels, tensors, name));
    this._output = new Output(kernels, tensors);
  }

  /**
   * Generate the mel of a latent. Strengths (U,) cover all units, null is intact. The forgotten part is replaced by
   * zero, or as the layer's entry in `bends` says. `seen` is told of every layer's maps, as they are after bending.
   * A trail must be new, or come from the same latent, label, frames and bends.
   * @param {Float32Array} latent
   * @param {number} label
   * @param {Float32Array | null} strengths
   * @param {{frames?: number, bends?: Map | null, trail?: Trail | null, seen?: (name: string, maps: Maps) => void}} how
   * @returns {Float32Array}
   */
  generate(latent, label, strengths = null, { frames = this.frames, bends = null, trail = null, seen = null } = {}) {
    const { kernels } = this;
    return kernels.within(() => {
      /** @type {Maps} */ let maps;
      let start = 0;
      this.layers.forEach(([name, units], i) => {
        const strength = strengths && strengths.subarray(start, start + units);
        start += units;
        const before = maps;
        const layer = this._deconv[i];
        const make = () => (i ? layer.call(before, label) : layer.first(kernels.put(latent), label));
        maps = trail ? trail.through(kernels, name, strength, make) : make();
        const bend = bends && bends.get(name);
        if (bend) bend.apply(kernels, maps, strength);
        else if (strength) fade(kernels, maps, strength);
        if (seen) seen(name, maps);
        if (i === 0 && frames !== this.frames) maps = stretched(kernels, maps, firstWidth(frames));
      });
      return this._output.call(maps);
    });
  }

  /** Height and width of each layer's maps for a mel's frames. @param {number} frames @returns {[number, number][]} */
  mapSizes(frames) {
    // The first map is resized only after bending, so it keeps its own width.
    return this.layers.map((_, i) => [SIDE << i, firstWidth(i ? frames : this.frames) << i]);
  }
}

/** The forgotten part becomes zero. */
function fade(kernels, maps, strength) {
  kernels.within(() => kernels.calls.fade(maps.at, places(maps), maps.units, kernels.put(strength)));
}

/** @param {Maps} maps @param {number} width @returns {Maps} */
function stretched(kernels, maps, width) {
  const { height, units } = maps;
  const values = kernels.floats.subarray(maps.at >> 2, (maps.at >> 2) + places(maps) * units);
  const made = resized(values, [height, maps.width, units], width, true);
  return { at: kernels.put(made), height, width, units };
}

/** The width of the first map for a mel's frames. @param {number} frames */
export function firstWidth(frames) {
  if (!(frames >= FACTOR) || frames % FACTOR) throw new Error(`frames must be a multiple of ${FACTOR}, got ${frames}`);
  return frames / FACTOR;
}

/**
 * Values (before, size, after) at `count` evenly spaced places along the middle axis, linearly interpolated. With
 * `ends`, the first and last values stay in place; otherwise each value covers an equal share of the axis.
 * @param {Float32Array} values @param {[number, number, number]} shape @param {number} count @param {boolean} ends
 */
export function resized(values, [before, size, after], count, ends = false) {
  const out = new Float32Array(before * count * after);
  const step = Math.fround(ends ? (size - 1) / Math.max(count - 1, 1) : size / count);
  for (let n = 0; n < count; n++) {
    const between = Math.fround(Math.fround(n + 0.5) * step);
    const place = ends ? Math.fround(n * step) : Math.max(Math.fround(between - 0.5), 0);
    const low = Math.min(Math.trunc(place), size - 1);
    const high = Math.min(low + 1, size - 1);
    const share = Math.fround(place - low);
    for (let b = 0; b < before; b++) {
      const below = (b * size + low) * after;
      const above = (b * size + high) * after;
      const to = (b * count + n) * after;
      for (let i = 0; i < after; i++) {
        const first = values[below + i];
        out[to + i] = first + Math.fround(Math.fround(values[above + i] - first) * share);
      }
    }
  }
  return out;
}
