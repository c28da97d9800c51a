/** A memory: a trained generator and its vocoder, ready to be played (memory/memory.py in Python). */

import { Bend } from "./bends.js";
import { Generator, Trail, firstWidth, resized } from "./generator.js";
import { loadKernels } from "./kernels.js";
import { Lobes } from "./magnitudes.js";
import { Random } from "./random.js";
import { Stream, Tables } from "./stream.js";
import { readTensors } from "./tensors.js";
import { MagnitudeNet, Unlearned } from "./vocoder.js";

const HEADER = "fugue_state"; // of a memory's file
const VOCODER = "vocoder."; // what the names of its vocoder's tensors begin with
const WIDTHS = [8, 4, 2, 1, 0.5]; // of the layers, in feature maps
const STEPS = 64; // moments of a sound at which its units' activations are sampled

export class Memory {
  /**
   * @param {BufferSource} wasm kernels.wasm
   * @param {Uint8Array} bytes a memory as `save_memory` writes it
   * @returns {Promise<Memory>}
   */
  static async load(wasm, bytes) {
    const { metadata, tensors } = readTensors(bytes);
    if (!metadata[HEADER]) throw new Error("this is no memory of Fugue State");
    const { kind, header } = JSON.parse(metadata[HEADER]);
    if (kind !== "memory") throw new Error(`a memory is needed, this is a ${kind}`);
    return new Memory(await loadKernels(wasm), header, tensors);
  }

  /**
   * @param {import("./kernels.js").Kernels} kernels @param {Object} header
   * @param {Map<string, import("./tensors.js").Tensor>} tensors
   */
  constructor(kernels, header, tensors) {
    const { model, mel } = header;
    this.kernels = kernels;
    this.name = header.name;
    /** @type {import("./melbank.js").MelSpec} */
    this.spec = { ...mel, floor_db: mel.ceiling_db - mel.range_db };
    this.labels = model.labels;
    this.latentSize = model.latent_size;
    /** @type {[string, number][]} units per layer, nearest the latent first */
    this.layers = WIDTHS.map((width, i) => [`deconv${i + 1}`, Math.trunc(width * model.feature_maps)]);
    this.units = this.layers.reduce((sum, [, units]) => sum + units, 0);
    this._generator = new Generator(kernels, tensors, this.layers, mel.frames);
    this._lobes = new Lobes(kernels, this.spec);
    this._tables = new Tables(kernels, this.spec);
    this._plain = new Unlearned(kernels, this.spec);
    this._net = header.vocoder ? this._learn(header.vocoder.config, tensors) : null;
  }

  _learn(config, tensors) {
    const own = [...tensors].filter(([name]) => name.startsWith(VOCODER));
    const named = new Map(own.map(([name, tensor]) => [name.slice(VOCODER.length), tensor]));
    return new MagnitudeNet(this.kernels, config, this.spec, named);
  }

  /** Whether it has a vocoder. */
  get learned() {
    return this._net !== null;
  }

  /** Latents, those of the seed everywhere. @param {number} count @param {number} seed @returns {Float32Array[]} */
  latents(count, seed) {
    const values = new Random(seed).standardNormal(count * this.latentSize);
    return Array.from({ length: count }, (_, i) => {
      return Float32Array.from(values.subarray(i * this.latentSize, (i + 1) * this.latentSize));
    });
  }

  /** The index of a chord; null is the first. @param {string | null} chord */
  labelIndex(chord) {
    if (chord === null || chord === undefined) return 0;
    const index = this.labels.indexOf(chord);
    if (index < 0) throw new Error(`this memory does not know the chord ${chord}`);
    return index;
  }

  /** A new trail, for one latent, label, length and bend. */
  trail() {
    return new Trail();
  }

  /**
   * What was written of a piece's bend; null is none.
   * @param {Object | null} description @param {Map} arrays as share/bends.py writes them
   */
  bend(description, arrays) {
    return description ? new Bend(this._generator, description, arrays) : null;
  }

  /**
   * Generate a mel (M, T) in [-1, 1], band by band, and every unit's activation over time (U, steps), unit by unit.
   * Strengths (U,) are within 0..1, 1 is intact; `frames` is a multiple of 32, or the length learned.
   * @param {{latent: Float32Array, label?: string | null, strengths?: Float32Array | null, frames?: number | null,
   *   bend?: Bend | null, trail?: Trail | null, steps?: number}} what
   */
  generate({ latent, label = null, strengths = null, frames = null, bend = null, trail = null, steps = STEPS }) {
    if (latent.length !== this.latentSize) {
      throw new Error(`a latent has ${this.latentSize} values, got ${latent.length}`);
    }
    if (strengths && strengths.length !== this.units) {
      throw new Error(`there are ${this.units} strengths, one for each unit, got ${strengths.length}`);
    }
    const length = frames ?? this.spec.frames;
    firstWidth(length);
    const activations = new Float32Array(this.units * steps);
    let first = 0;
    const seen = (_, maps) => {
      this._fire(maps, activations.subarray(first * steps, (first + maps.units) * steps), steps);
      first += maps.units;
    };
    const bends = bend && bend.layers(length);
    const index = this.labelIndex(label);
    const mel = this._generator.generate(latent, index, strengths, { frames: length, bends, trail, seen });
    return { mel, frames: length, activations, steps };
  }

  /** Write the activations (C, steps) of maps. */
  _fire({ at, height, width, units }, out, steps) {
    const { kernels } = this;
    const firing = kernels.within(() => {
      const mean = kernels.take(width * units);
      kernels.calls.firing(at, height, width, units, mean);
      return resized(kernels.floats.subarray(mean >> 2, (mean >> 2) + width * units), [1, width, units], steps);
    });
    for (let s = 0; s < steps; s++) for (let c = 0; c < units; c++) out[c * steps + s] = firing[s * units + c];
  }

  /**
   * Its vocoder for playing frame by frame; not `learned`, the fallback without a network: half the work.
   * @param {number} seed @param {{learned?: boolean}} how @returns {Stream}
   */
  stream(seed = 0, { learned = true } = {}) {
    if (learned && !this._net) throw new Error("this memory has no vocoder");
    return new Stream(this.kernels, learned ? this._net : this._plain, this._lobes, this._tables, seed);
  }
}
