/**
 * A voice that may change while it sounds: an event's mel, read frame by frame.
 *
 * Three clocks run in it, as in Python's `engine/stream.py`: the mel's frames, the samples of the stream that reads
 * them, and the samples that are heard.
 */

import { Converter } from "./filters.js";
import { STILL } from "./motion.js";

const RISE = 0.12; // share of the way to a higher gain covered in one block; a lower gain is reached within the block

/**
 * A generated event: mel (M, T), activations (U, steps), envelope (N,) at the piece's rate, and gain.
 * @typedef {{event: any, mel: Float32Array, frames: number, activations: Float32Array, steps: number,
 *   envelope: Float32Array, gain: number, trail: any}} Made
 */

/** The gains of a place in both ears. @param {number} pan -1 to 1 @returns {[number, number]} */
function sides(pan) {
  const angle = ((pan + 1) * Math.PI) / 4;
  return [Math.cos(angle), Math.sin(angle)];
}

/** A stream's output converted to the piece's rate: samples are added as they are made, and taken in order. */
class Converted {
  /** @param {any} stream @param {Converter} converter */
  constructor(stream, converter) {
    this.converter = converter;
    this.begin = converter.first(0);
    this.sound = new Float32Array(-this.begin);
    this.toSkip = stream.latency;
  }

  /** @param {Float32Array} sound */
  add(sound) {
    const skipped = Math.min(this.toSkip, sound.length);
    this.toSkip -= skipped;
    const longer = new Float32Array(this.sound.length + sound.length - skipped);
    longer.set(this.sound);
    longer.set(sound.subarray(skipped), this.sound.length);
    this.sound = longer;
  }

  /** Samples from `start` on; they can only be taken in order, without gaps. */
  take(start, out) {
    this.converter.convert(this.sound, this.begin, start, out);
    const kept = this.converter.first(start + out.length);
    this.sound = this.sound.subarray(kept - this.begin);
    this.begin = kept;
  }
}

/**
 * The gain at a sample, counted from where a sound is let go: from 1 smoothly to 0 within `length` samples.
 * @param {number} passed @param {number} length
 */
export function letGo(passed, length) {
  return 0.5 + 0.5 * Math.cos(Math.PI * Math.min(1, Math.max(0, passed / Math.max(1, length))));
}

/**
 * An event, sample by sample, from its onset on. When the event is generated anew, frames whose phase is not yet
 * decided are read again, so that the sound continues without a click. While held, it repeats the frame that sounds,
 * and its envelope stands still. Once let go, `event.held` samples after its onset, it fades within `release_s`.
 */
export class Voice {
  /**
   * @param {Made} made @param {any} stream @param {number} rate_hz @param {Converter} converter
   * @param {number} release_s
   */
  constructor(made, stream, rate_hz, converter, release_s) {
    this.made = made;
    this.stream = stream;
    this.waited = 0; // blocks since it was last generated
    this.converted = new Converted(stream, converter);
    this.hop = (stream.spec.hop * rate_hz) / stream.spec.sample_rate_hz;
    this.gain = made.gain;
    this.state = stream.start();
    this.fed = 0;
    this.stale = false; // the frames read ahead are out of date
    this.offset = 0; // frames that were read while it was held
    /** @type {number | null} */ this.held = null;
    this.position = 0;
    this.age = 0;
    this.dropped = false;
    /** @type {number | null} */ this.letGoAt = made.event.held ?? null; // its age when it is let go
    this.release = Math.round(release_s * rate_hz);
  }

  get event() {
    return this.made.event;
  }

  /** Whether it has ended or was dropped. */
  get over() {
    const whole = this.made.envelope.length;
    return this.dropped || this.age >= (this.letGoAt === null ? whole : Math.min(whole, this.letGoAt + this.release));
  }

  /** The gain of being let go at an age. @param {number} age */
  #falling(age) {
    return this.letGoAt === null ? 1 : letGo(age - this.letGoAt, this.release);
  }

  drop() {
    this.dropped = true;
  }

  /** Continue with a newly generated event of the same length. @param {Made} made */
  renew(made) {
    this.made = made;
    this.waited = 0;
    this.stale = true;
  }

  /** Hold the frame that sounds, or go on from it. @param {boolean} held */
  hold(held) {
    if (held === (this.held !== null) || !this.fed) return;
    const first = this.fed - this.stream.open;
    if (this.held === null) {
      this.held = this.#index(first - 1);
    } else {
      this.offset = first - 1 - this.held;
      this.held = null;
    }
    this.stale = true;
  }

  /** Which frame of the mel to read as a frame of the voice; beyond the end, the last one. */
  #index(number) {
    return this.held ?? Math.min(Math.max(0, number - this.offset), this.made.frames - 1);
  }

  /** The frames (n, M) from one number of the voice to another. */
  #frames(start, end) {
    const { mel, frames } = this.made;
    const bands = mel.length / frames;
    const found = new Float32Array((end - start) * bands);
    for (let number = start; number < end; number++) {
      const t = this.#index(number);
      for (let m = 0; m < bands; m++) found[(number - start) * bands + m] = mel[m * frames + t];
    }
    return found;
  }

  /** Read what its next samples need. @param {number} count */
  read(count) {
    const needed = this.converted.converter.needed(this.position + count);
    const until = Math.ceil((needed + this.stream.latency) / this.stream.spec.hop);
    if (until <= this.fed) return;
    const anew = this.stale && this.fed > 0;
    const first = this.fed - (anew ? this.stream.open : 0);
    const { sound, state } = this.stream.step(this.#frames(first, until), until - first, this.state, { anew });
    this.fed = until;
    this.stale = false;
    this.state = state;
    this.converted.add(sound);
  }

  /**
   * Add the next `count` samples, all read already, to a block (N): to its mix (2 N), and to what the room hears if that
   * is not the mix, from sample `begin` on.
   * @param {number} count @param {number} begin
   * @param {{mix: Float32Array, send: Float32Array | null, gate: Float32Array}} block
   * @param {import("./motion.js").Moved} moves what its voice's curves do in the block
   */
  play(count, begin, { mix, send, gate }, moves = STILL) {
    const sound = new Float32Array(count);
    this.converted.take(this.position, sound);
    this.position += count;
    const before = this.gain;
    const target = this.made.gain;
    this.gain = target < before ? target : before + RISE * (target - before);
    this.waited += 1;
    let [left, right] = sides(this.event.pan);
    const { envelope } = this.made;
    const held = envelope[Math.min(this.age, envelope.length - 1)] * this.#falling(this.age);
    for (let n = 0; n < count; n++) {
      const at = begin + n;
      const shape = this.held === null ? (envelope[this.age + n] ?? 0) * this.#falling(this.age + n) : held;
      const gain = before + ((this.gain - before) * (n + 1)) / count;
      const sample = sound[n] * shape * gain * gate[at] * (moves.gain ? moves.gain[at] : 1);
      if (moves.pan) [left, right] = sides(Math.min(1, Math.max(-1, this.event.pan + moves.pan[at])));
      mix[2 * at] += left * sample;
      mix[2 * at + 1] += right * sample;
      if (!send) continue;
      const sent = moves.send ? moves.send[at] : 1;
      send[2 * at] += left * sample * sent;
      send[2 * at + 1] += right * sample * sent;
    }
    if (this.held === null) this.age += count;
  }

  /** The frame of the mel that sounds now. */
  get #now() {
    return this.#index(Math.floor(this.position / this.hop));
  }

  /** The column (M,) of the mel that sounds now. @returns {Float32Array} */
  get column() {
    const { mel, frames } = this.made;
    const now = this.#now;
    return Float32Array.from({ length: mel.length / frames }, (_, m) => mel[m * frames + now]);
  }

  /** Raise values (U,) to how strongly units fire now, under its envelope. @param {Float32Array} firing */
  fire(firing) {
    const { activations, steps, envelope, frames } = this.made;
    const now = Math.floor((this.#now * steps) / frames);
    let gain = 0;
    const end = Math.min(envelope.length, this.age + Math.floor(envelope.length / steps));
    for (let n = this.age; n < end; n++) gain = Math.max(gain, envelope[n]);
    gain *= this.#falling(this.age);
    for (let u = 0; u < firing.length; u++) firing[u] = Math.max(firing[u], gain * activations[u * steps + now]);
  }
}
