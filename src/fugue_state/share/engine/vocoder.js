/** The vocoder's network (memory/vocoder.py in Python): it improves a first guess of a mel's log magnitudes. */

import { resized } from "./generator.js";
import { Linear } from "./kernels.js";
import { binsOf } from "./melbank.js";

const MAPS = ["enter", "leave", "above", "near", "context", "deepen", "shallow", "correct"]; // outside the blocks

/** @typedef {{rows: number, values: Float32Array}} Past of a block: its newest frames (rows, C) */

/** Layer normalization of rows. */
class Norm {
  constructor(kernels, tensors, name) {
    this._kernels = kernels;
    [this._weight, this._bias] = ["weight", "bias"].map((kind) => kernels.put(tensors.get(`${name}.${kind}`).data));
    this.channels = tensors.get(`${name}.weight`).shape[0];
  }

  /** Normalize in place. @param {number} x @param {number} rows */
  call(x, rows) {
    this._kernels.calls.normalize(x, rows, this.channels, this._weight, this._bias);
  }
}

/** A ConvNeXt block (Liu et al., 2022) that looks back only: (T, C) to (T, C). */
class CausalBlock {
  constructor(kernels, tensors, name) {
    const { shape: [channels, kernel], data } = tensors.get(`${name}.taps`);
    this._kernels = kernels;
    this._channels = channels;
    this._kernel = kernel;
    const taps = new Float32Array(data.length).map((_, i) => data[(i % channels) * kernel + Math.floor(i / channels)]);
    this._taps = kernels.put(taps); // (kernel, C)
    this._norm = new Norm(kernels, tensors, `${name}.norm`);
    this._widen = new Linear(kernels, tensors, `${name}.widen`);
    this._narrow = new Linear(kernels, tensors, `${name}.narrow`);
    this._scale = kernels.put(tensors.get(`${name}.scale`).data);
  }

  /** The past before any sound. @returns {Past} */
  nothing() {
    return { rows: this._kernel, values: new Float32Array(this._kernel * this._channels) };
  }

  /**
   * Read frames (T, C) after the past, at least kernel - 1 frames, and write the output (T, C). The new past is one
   * frame longer than needed: dropping its last frame gives the past of one frame earlier.
   * @param {number} frames @param {number} count @param {Past} past @param {number} out @returns {Past}
   */
  call(frames, count, past, out) {
    const { _kernels: kernels, _channels: channels, _kernel: kernel } = this;
    return kernels.within(() => {
      const heard = kernels.take((past.rows + count) * channels);
      kernels.write(heard, past.values);
      const from = frames >> 2;
      kernels.floats.copyWithin((heard >> 2) + past.rows * channels, from, from + count * channels);
      const mixed = kernels.rows(count, channels);
      const wide = kernels.rows(count, this._widen.outputs);
      const first = past.rows - (kernel - 1);
      kernels.calls.filter(heard + 4 * first * channels, count, channels, this._taps, kernel, mixed);
      this._norm.call(mixed, count);
      this._widen.times(mixed, count, wide);
      kernels.calls.gelu(wide, count * this._widen.outputs);
      this._narrow.times(wide, count, out);
      kernels.calls.scale_and_add(out, count, channels, this._scale, frames);
      const rows = Math.min(kernel, past.rows + count);
      return { rows, values: kernels.read(heard + 4 * (past.rows + count - rows) * channels, rows * channels) };
    });
  }
}

/**
 * Improves a first guess of a mel's log magnitudes (in nepers). A global part reads the mel and the lower bins; a local
 * part, the same for every patch of bins, reads the guess around it. Above the highest band a coarse curve goes on.
 */
export class MagnitudeNet {
  /**
   * @param {import("./kernels.js").Kernels} kernels @param {Object} config as in the memory's header
   * @param {import("./melbank.js").MelSpec} spec @param {Map<string, import("./tensors.js").Tensor>} tensors
   */
  constructor(kernels, config, spec, tensors) {
    this._kernels = kernels;
    this.config = config;
    this.bands = spec.n_mels;
    this.bins = binsOf(spec);
    this._place = kernels.put(tensors.get("place").data);
    this._patches = tensors.get("place").shape[0];
    this.known = this._patches * config.patch; // bins with a guess
    this._blocks = Array.from({ length: config.blocks }, (_, i) => new CausalBlock(kernels, tensors, `blocks.${i}`));
    this._maps = Object.fromEntries(MAPS.map((name) => [name, new Linear(kernels, tensors, name)]));
    this._norm = new Norm(kernels, tensors, "norm");
    this._settle = new Norm(kernels, tensors, "settle");
  }

  /** The blocks' past before any sound. */
  nothing() {
    return this._blocks.map((block) => block.nothing());
  }

  /**
   * Write log magnitudes (T, F). Reads mel frames (entry - 1 + T, M), and guesses (T + 1, known).
   * @param {number} frames @param {number} guess @param {number} count T @param {Past[]} past @param {number} out
   * @returns {Past[]} the new past
   */
  advance(frames, guess, count, past, out) {
    const { _kernels: kernels, config, known } = this;
    return kernels.within(() => {
      const [own, other] = [0, 1].map(() => kernels.rows(count, config.channels));
      this._enter(frames, guess, count, own);
      let [hidden, next] = [own, other];
      const kept = this._blocks.map((block, i) => {
        const left = block.call(hidden, count, past[i], next);
        [hidden, next] = [next, hidden];
        return left;
      });
      this._norm.call(hidden, count);
      const logs = kernels.rows(count, known);
      this._maps.leave.times(hidden, count, logs);
      kernels.calls.add(logs, guess, count * known);
      this._local(guess, count, hidden, logs);
      this._air(logs, count, hidden, out);
      return kept;
    });
  }

  _enter(frames, guess, count, out) {
    const { _kernels: kernels, config, known, bands } = this;
    kernels.within(() => {
      const seen = kernels.rows(count, this._maps.enter.inputs);
      for (let t = 0; t < count; t++) {
        const [now, to] = [guess + 4 * t * known, seen + 4 * t * this._maps.enter.inputs];
        kernels.calls.enter(frames + 4 * t * bands, config.entry * bands, now, now + 4 * known, config.low, to);
      }
      this._maps.enter.times(seen, count, out);
    });
  }

  /** Add a correction, computed per patch from the guess in it and half a patch on both sides. */
  _local(guess, count, hidden, logs) {
    const { _kernels: kernels, config, known, _patches: patches } = this;
    const { near, context, deepen, shallow, correct } = this._maps;
    kernels.within(() => {
      const where = kernels.rows(count, config.local);
      context.times(hidden, count, where);
      const seen = kernels.rows(patches, near.inputs);
      const [inside, settled, back] = [0, 1, 2].map(() => kernels.rows(patches, config.local));
      const deep = kernels.rows(patches, deepen.outputs);
      const made = kernels.rows(patches, config.patch);
      const size = patches * config.local;
      for (let t = 0; t < count; t++) {
        const now = guess + 4 * t * known;
        kernels.calls.see(now, now + 4 * known, known, config.patch, seen);
        near.times(seen, patches, inside);
        kernels.calls.add_rows(inside, patches, config.local, where + 4 * t * config.local, this._place);
        kernels.calls.gelu(inside, size);
        kernels.floats.copyWithin(settled >> 2, inside >> 2, (inside >> 2) + size);
        this._settle.call(settled, patches);
        deepen.times(settled, patches, deep);
        kernels.calls.gelu(deep, patches * deepen.outputs);
        shallow.times(deep, patches, back);
        kernels.calls.add(inside, back, size);
        correct.times(inside, patches, made);
        kernels.calls.add(logs + 4 * t * known, made, known);
      }
    });
  }

  /** Write what is known, and above it a coarse curve that continues its upper end. */
  _air(logs, count, hidden, out) {
    const { _kernels: kernels, config, known, bins } = this;
    kernels.within(() => {
      const points = kernels.rows(count, config.air);
      this._maps.above.times(hidden, count, points);
      for (let t = 0; t < count; t++) {
        const from = (logs >> 2) + t * known;
        const to = (out >> 2) + t * bins;
        kernels.floats.copyWithin(to, from, from + known);
        let top = 0;
        for (let n = known - config.patch; n < known; n++) top += kernels.floats[from + n];
        const curve = resized(kernels.read(points + 4 * t * config.air, config.air), [1, config.air, 1], bins - known);
        kernels.floats.set(curve.map((value) => value + top / config.patch), to + known);
      }
    });
  }
}

/** Takes the place of a network where there is none: returns the guess unchanged. */
export class Unlearned {
  /** @param {import("./kernels.js").Kernels} kernels @param {import("./melbank.js").MelSpec} spec */
  constructor(kernels, spec) {
    this._kernels = kernels;
    this.config = { entry: 2, look_ahead: 1 };
    this.bands = spec.n_mels;
    this.bins = this.known = binsOf(spec);
  }

  nothing() {
    return [];
  }

  /** Write the guesses (T, F) of all but the last frame. */
  advance(frames, guess, count, past, out) {
    this._kernels.floats.copyWithin(out >> 2, guess >> 2, (guess >> 2) + count * this.bins);
    return past;
  }
}
