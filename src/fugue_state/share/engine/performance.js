/** A piece played: every change of a control is heard from the next block on. It uses no clock. */

import { Chain } from "./chain.js";
import { Conductor } from "./conductor.js";
import { dying } from "./dying.js";
import { Limiter } from "./limiter.js";
import { LoudnessMeter } from "./loudness.js";
import { Player } from "./player.js";

const QUIETEST_DB = -120;

/**
 * A block as it is heard: samples (2 N) from `position` on, and what sounds at its beginning. In silence,
 * `strengths` are those asked for now, `activations` are zero and `mel` is its floor.
 * @typedef {{position: number, samples: Float32Array, chord: string | null, strengths: Float32Array,
 *   activations: Float32Array, mel: Float32Array, peak: number, lufs: number, overloaded: boolean}} Block
 */

export class Performance {
  /** @param {any} piece the parcel's JSON @param {Map<string, any>} arrays @param {any} memory */
  constructor(piece, arrays, memory) {
    const { sound } = piece;
    this.memory = memory;
    this.conductor = new Conductor(piece, arrays, memory);
    this.player = new Player(sound, arrays, memory, this.conductor);
    this.chain = new Chain(sound, arrays.get("room.impulse").data);
    this.sends = sound.voices.some(({ curves }) => curves?.wet_db); // whether the room hears another mix
    this.limiter = new Limiter(sound.ceiling_dbtp, sound.rate_hz, sound.look_ahead_s);
    this.meter = new LoudnessMeter(sound.rate_hz);
    this.runaway = sound.runaway; // of full scale, before the limiter: anything louder is a fault
    this.rate = sound.rate_hz;
    this.block = this.conductor.block;
    this.latency = this.limiter.delay;
    this.last = new Float32Array(2 * this.block); // before the limiter
  }

  get position() {
    return this.conductor.position;
  }

  get values() {
    return this.conductor.values;
  }

  get strengths() {
    return this.conductor.strengths;
  }

  get brushed() {
    return this.conductor.brushed;
  }

  get frozen() {
    return this.conductor.frozen;
  }

  get log() {
    return this.conductor.log;
  }

  /** Move a control that takes record, from the next block on. @param {string} path @param {any} [value] */
  change(path, value) {
    this.conductor.change(path, value);
  }

  /** The changes that restore the present state after this control is moved. @param {string} path */
  back(path) {
    return this.conductor.back(path);
  }

  /** Cut off everything that sounds. */
  drop() {
    this.player.drop();
  }

  /** Play one block; its samples are never NaN and never above the ceiling. @returns {Block} */
  next() {
    const { player, block, position } = this;
    const bar = this.conductor.step();
    player.takeIn(bar);
    const seen = this.#seen(bar);
    const mix = new Float32Array(2 * block);
    const send = this.sends ? new Float32Array(2 * block) : null;
    player.play(bar, position, mix, send);
    this.chain.apply(mix, send);
    const [begin, end] = bar.gain;
    if (bar.fade) for (let n = 0; n < mix.length; n++) mix[n] *= bar.fade[n >> 1];
    for (let n = 0; n < mix.length; n++) mix[n] *= begin + ((end - begin) * ((n >> 1) + 1)) / block;
    const wild = player.failed || !(loudest(mix) < this.runaway);
    player.failed = false;
    if (wild || bar.silenced) player.drop();
    const sound = wild ? dying(this.last) : mix;
    this.last = wild ? new Float32Array(mix.length) : mix;
    if (wild || bar.silenced) this.chain.clear();
    const samples = this.limiter.apply(sound);
    this.meter.add(samples);
    const peak = Math.max(QUIETEST_DB, 20 * Math.log10(Math.max(loudest(samples), 1e-9)));
    return { position, samples, ...seen, peak, lufs: this.meter.momentary_lufs, overloaded: wild };
  }

  /**
   * Chord, strengths, activations and mel column of the newest voice that forgetting reaches; without one, the
   * strengths that are asked for.
   */
  #seen(bar) {
    const { memory, player } = this;
    const { voices } = player;
    const activations = new Float32Array(memory.units);
    if (!voices.length || Math.max(...bar.gate) === 0) {
      const mel = new Float32Array(memory.spec.n_mels).fill(-1);
      return { chord: null, strengths: bar.strengths, activations, mel };
    }
    const reached = voices.findLast((voice) => player.reached(voice));
    const newest = reached ?? voices.at(-1);
    for (const voice of voices) voice.fire(activations);
    return { chord: newest.event.chord, strengths: reached?.event.strengths ?? bar.strengths, activations, mel: newest.column };
  }
}

/** The largest of samples by size; NaN if one is. @param {Float32Array} samples */
function loudest(samples) {
  let most = 0;
  for (let n = 0; n < samples.length; n++) {
    const size = Math.abs(samples[n]);
    if (!(size <= most)) most = size; // so that NaN stays
    if (most !== most) return NaN;
  }
  return most;
}
