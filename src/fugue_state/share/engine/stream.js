/**
 * The vocoder frame by frame (`Stream` in memory/vocoder.py): it plays what the whole mel would give, `latency` samples
 * late. State in, state out; the mel may change at any frame. Phase is integrated from the frames already played
 * (audio/integrate.py), and neighbouring frames overlap by three quarters of a window, so no change makes a click.
 */

import { turns } from "./kernels.js";
import { hann, unitGain } from "./melbank.js";
import { Random } from "./random.js";

// The Gaussian nearest to a Hann window of length L has the time-frequency ratio .25645 L^2.
const HANN_GAMMA = 0.25645;
const TURN = 2 * Math.PI;
const LEAST_WEIGHT = Math.fround(1e-3); // lower bound for the sum of squared windows, at the ends
const SILENT = -1;
const AT_ONCE = 16; // frames that are read together, so that room stays small

/**
 * What a stream hands on to its next frames; never changed, so one state can be read on from several times.
 * @typedef {{
 *   mel: Float32Array,        // (up to entry, M): one frame more than the next step needs
 *   guess: Float32Array,      // (up to look_ahead, known): of the frames that still lack their look-ahead
 *   past: import("./vocoder.js").Past[],
 *   magnitude: Float32Array,  // (0 or 1, F): its phase needs the next frame
 *   before: Float32Array,     // (F,): the magnitudes played last, their phase, and its advance per frame
 *   phase: Float64Array,
 *   turn: Float64Array,
 *   skipped: number,          // samples dropped so far before the first frame's centre
 *   tail: Float32Array,       // (2, n_fft - hop): samples and window weights not yet complete
 * }} State
 */

/** What streams of one memory share: the spec's window and tables, in the memory of the kernels. */
export class Tables {
  /** @param {import("./kernels.js").Kernels} kernels @param {import("./melbank.js").MelSpec} spec */
  constructor(kernels, spec) {
    this.window = kernels.put(hann(spec.n_fft));
    this.turns = kernels.put(turns(spec.n_fft));
    this.unitGain = unitGain(spec);
  }
}

/** @param {Float32Array} one @param {Float32Array} other */
function joined(one, other) {
  const both = new Float32Array(one.length + other.length);
  both.set(one);
  both.set(other, one.length);
  return both;
}

export class Stream {
  /**
   * @param {import("./kernels.js").Kernels} kernels
   * @param {import("./vocoder.js").MagnitudeNet | import("./vocoder.js").Unlearned} net
   * @param {import("./magnitudes.js").Lobes} lobes @param {Tables} tables @param {number} seed
   */
  constructor(kernels, net, lobes, tables, seed) {
    this.spec = lobes.spec;
    this._kernels = kernels;
    this._net = net;
    this._lobes = lobes;
    this._tables = tables;
    this._seed = seed;
  }

  /** Samples by which the sound is late: from reading a frame to hearing its centre. */
  get latency() {
    return this.open * this.spec.hop + Math.floor(this.spec.n_fft / 2);
  }

  /** How many of the newest frames have no phase yet, and can be read again (`anew`). */
  get open() {
    return this._net.config.look_ahead + 1;
  }

  /** The state before any sound. @returns {State} */
  start() {
    const { config, bands, bins } = this._net;
    const { n_fft: window, hop } = this.spec;
    return {
      mel: new Float32Array(config.entry * bands).fill(SILENT),
      guess: new Float32Array(0),
      past: this._net.nothing(),
      magnitude: new Float32Array(0),
      before: new Float32Array(bins),
      phase: new Random(this._seed).uniform(0, TURN, bins),
      turn: Float64Array.from({ length: bins }, (_, m) => (TURN * hop * m) / window),
      skipped: 0,
      tail: new Float32Array(2 * (window - hop)),
    };
  }

  /**
   * The next n * hop samples for n mel frames (n, M), one after the other, and the new state. If `anew`, `open` more
   * frames come first: they replace the newest ones, whose phase is not decided yet. Samples already returned stay
   * valid, and the sound continues from them without a click.
   * @param {Float32Array} frames @param {number} count of all frames given @param {State} state
   * @param {{anew?: boolean}} how @returns {{sound: Float32Array, state: State}}
   */
  step(frames, count, state, { anew = false } = {}) {
    const { bands } = this._net;
    const fresh = count - (anew ? this.open : 0);
    if (frames.length !== count * bands || count < 1) {
      throw new Error(`${count} frames of ${bands} bands are needed, got ${frames.length} values`);
    }
    if (anew && (fresh < 1 || !state.magnitude.length)) {
      throw new Error(`${this.open} frames are read anew once they have been read, with more that follow them`);
    }
    let now = anew ? back(state, this.open, bands) : state;
    const sounds = [];
    for (let t = 0; t < count; t += AT_ONCE) {
      const end = Math.min(t + AT_ONCE, count);
      const made = this._read(frames.subarray(t * bands, end * bands), now);
      sounds.push(made.sound);
      now = made.state;
    }
    return { sound: ending(sounds, fresh * this.spec.hop), state: now };
  }

  /** The last `latency` samples if no frame follows, as at the end of a whole mel. @param {State} state */
  finish(state) {
    if (!state.guess.length) return new Float32Array(this.latency);
    const { config, bands } = this._net;
    const held = new Float32Array(config.look_ahead * bands);
    for (let t = 0; t < config.look_ahead; t++) held.set(state.mel.subarray(-bands), t * bands);
    const first = this._read(held, state);
    const { magnitude } = first.state;
    const last = this._play(joined(joined(magnitude, magnitude), magnitude), first.state);
    const { tail } = last.state;
    const open = tail.length / 2;
    const rest = tail.slice(0, open).map((value, n) => value / Math.max(tail[open + n], LEAST_WEIGHT));
    const all = joined(joined(first.sound, last.sound), rest);
    return ending([all], Math.max(this.latency, all.length)).slice(0, this.latency);
  }

  /** The sound (T * hop,) of a whole mel (T, M), without latency. @param {Float32Array} mel @param {number} frames */
  whole(mel, frames) {
    const { sound, state } = this.step(mel, frames, this.start());
    return joined(sound, this.finish(state)).slice(this.latency);
  }

  /** @param {Float32Array} frames @param {State} state */
  _read(frames, state) {
    const { magnitude, state: after } = this._predict(frames, state);
    return this._play(magnitude, after);
  }

  /** The magnitudes (n, F) that mel frames complete, after the one that waited. */
  _predict(frames, state) {
    const { _kernels: kernels, _net: net } = this;
    const { config, bands, bins, known } = net;
    return kernels.within(() => {
      const count = frames.length / bands;
      const mel = kernels.take(state.mel.length + frames.length);
      kernels.write(mel, state.mel);
      kernels.write(mel + 4 * state.mel.length, frames);
      const rows = state.mel.length / bands + count;
      const guess = kernels.take(state.guess.length + count * known);
      const guessed = guess + 4 * state.guess.length;
      kernels.write(guess, state.guess);
      this._lobes.find(mel + 4 * state.mel.length, count, known, guessed);
      kernels.calls.guessed(guessed, count * known);
      const guesses = state.guess.length / known + count;
      const ready = Math.max(0, guesses - config.look_ahead);
      const made = kernels.take(ready * bins);
      const context = mel + 4 * bands * (rows - (ready + config.entry - 1));
      const past = ready ? net.advance(context, guess, ready, state.past, made) : state.past;
      kernels.calls.heard(made, ready * bins, this._tables.unitGain);
      const kept = Math.min(config.entry, rows);
      const after = {
        ...state,
        mel: kernels.read(mel + 4 * bands * (rows - kept), kept * bands),
        guess: kernels.read(guess + 4 * ready * known, (guesses - ready) * known),
        past,
      };
      return { magnitude: joined(state.magnitude, kernels.read(made, ready * bins)), state: after };
    });
  }

  /** Turn magnitudes (n, F) into sound, except the last, which waits for the next. */
  _play(magnitude, state) {
    const { bins } = this._net;
    const count = magnitude.length / bins;
    if (count < 2) return { sound: new Float32Array(0), state: { ...state, magnitude } };
    const { hop, n_fft: window } = this.spec;
    const { _kernels: kernels } = this;
    return kernels.within(() => {
      const out = kernels.take((count - 1) * hop);
      const [phase, turn] = [state.phase, state.turn].map((values) => kernels.put(values));
      const tail = kernels.put(state.tail);
      this._synthesize(joined(state.before, magnitude), count, { phase, turn, tail, out });
      const skip = Math.min((count - 1) * hop, Math.floor(window / 2) - state.skipped);
      const after = {
        ...state,
        magnitude: magnitude.slice(-bins),
        before: magnitude.slice(-2 * bins, -bins),
        phase: kernels.readDoubles(phase, bins),
        turn: kernels.readDoubles(turn, bins),
        skipped: state.skipped + skip,
        tail: kernels.read(tail, state.tail.length),
      };
      return { sound: kernels.read(out + 4 * skip, (count - 1) * hop - skip), state: after };
    });
  }

  /** Play all but the first and the last of magnitudes (1 + n, F). */
  _synthesize(magnitude, count, { phase, turn, tail, out }) {
    const { _kernels: kernels, _tables: tables } = this;
    const { bins } = this._net;
    const { hop, n_fft: window } = this.spec;
    const [byTime, byFrequency] = [hop / (2 * HANN_GAMMA * window), (-HANN_GAMMA * window) / (2 * hop)];
    const levels = kernels.put(magnitude);
    const logs = kernels.take(magnitude.length);
    const heap = kernels.take(8 * bins);
    const [re, im] = [0, 1].map(() => kernels.take(window));
    const room = kernels.take(2 * window);
    const weights = tail + 4 * (window - hop);
    kernels.calls.logs(levels, magnitude.length, logs);
    for (let t = 0; t < count - 1; t++) {
      const [before, now, next] = [t, t + 1, t + 2].map((row) => 4 * row * bins);
      const heights = [levels + before, levels + now, logs + before, logs + now, logs + next];
      kernels.calls.follow(...heights, phase, turn, bins, window, hop, byTime, byFrequency, heap);
      kernels.calls.polar(levels + now, phase, window, re, im);
      kernels.calls.transform(im, re, window, 1, tables.turns, room); // exchanged: the inverse
      kernels.calls.overlap(re, tables.window, window, hop, tail, weights, out + 4 * t * hop);
    }
  }
}

/** Sounds one after the other, at the end of `count` samples. @param {Float32Array[]} sounds @param {number} count */
function ending(sounds, count) {
  const out = new Float32Array(count);
  let at = count - sounds.reduce((sum, sound) => sum + sound.length, 0);
  for (const sound of sounds) {
    out.set(sound, at);
    at += sound.length;
  }
  return out;
}

/** A state from before its newest frames were read; samples already returned stay valid. */
function back(state, count, bands) {
  const past = state.past.map(({ rows, values }) => {
    return { rows: rows - 1, values: values.subarray(0, (values.length / rows) * (rows - 1)) }; // it had read only one
  });
  const mel = state.mel.subarray(0, Math.max(0, state.mel.length - count * bands));
  return { ...state, mel, guess: new Float32Array(0), past, magnitude: new Float32Array(0) };
}
