/** A memory at work: the events that sound, kept up to date with the strengths asked for. */

import { Converter } from "./filters.js";
import { envelope, Level } from "./level.js";
import { moved } from "./motion.js";
import { Voice } from "./voice.js";

const ENVELOPES = 8; // that are kept

/** @param {Float32Array} one @param {Float32Array} other */
function equal(one, other) {
  for (let i = 0; i < one.length; i++) if (one[i] !== other[i]) return false;
  return true;
}

export class Player {
  /** @param {any} sound of the parcel @param {Map<string, any>} arrays @param {any} memory @param {any} conductor */
  constructor(sound, arrays, memory, conductor) {
    this.sound = sound;
    this.memory = memory;
    this.conductor = conductor;
    this.rests = sound.rests; // blocks without generating, after one with
    const plain = memory.stream(sound.seed, { learned: false });
    const full = sound.learned ? memory.stream(sound.seed) : plain;
    this.streams = { draft: plain, live: full };
    this.level = new Level(sound.level, arrays.get("level.weights").data, memory.spec);
    this.converter = new Converter(memory.spec.sample_rate_hz, sound.rate_hz);
    this.envelopes = new Map();
    /** @type {Voice[]} */ this.voices = [];
    this.resting = 0; // blocks left in which only new events are generated
    this.failed = false; // the memory generated a NaN or an infinity
  }

  /** Start a bar's events, and update a sounding voice to the strengths asked for. */
  takeIn(bar) {
    for (const voice of this.voices) voice.hold(bar.frozen);
    for (const event of bar.events) {
      const made = this.#made(event, this.memory.trail());
      this.voices.push(new Voice(made, this.streams[bar.quality], this.sound.rate_hz, this.converter, this.sound.release_s));
    }
    if (bar.events.length || (!this.resting && !bar.rests && this.#renew(bar.strengths))) {
      this.resting = this.rests[bar.quality];
    } else {
      this.resting = Math.max(0, this.resting - 1);
    }
  }

  /**
   * Generate one voice again whose strengths are out of date; whether there was one. Generating is slow, so a block
   * renews one voice at most. The newest goes first; while strengths keep moving, all take turns.
   */
  #renew(strengths) {
    const most = 2 * this.voices.length;
    let chosen = null;
    for (const voice of this.voices) {
      if (!this.reached(voice) || equal(voice.event.strengths, strengths)) continue;
      const waited = Math.min(voice.waited, most);
      const best = chosen && Math.min(chosen.waited, most);
      if (!chosen || waited > best || (waited === best && voice.event.onset > chosen.event.onset)) chosen = voice;
    }
    if (chosen) chosen.renew(this.#made({ ...chosen.event, strengths: strengths.slice() }, chosen.made.trail));
    return chosen !== null;
  }

  /** Whether forgetting reaches a voice. @param {Voice} voice */
  reached(voice) {
    return this.sound.voices[voice.event.voice].forgets;
  }

  /** Generate an event; a mel with NaN or infinities becomes silence. @returns {import("./voice.js").Made} */
  #made(event, trail) {
    const { latent, label, strengths, frames: asked, bend } = event;
    const { mel, frames, activations, steps } = this.memory.generate({
      latent,
      label,
      strengths,
      frames: asked,
      bend,
      trail,
    });
    if (!mel.every(Number.isFinite)) {
      this.failed = true;
      mel.fill(-1);
      activations.fill(0);
    }
    const { hop, sample_rate_hz } = this.memory.spec;
    const { gain, taken_db } = this.#envelope(Math.round((frames * hop * this.sound.rate_hz) / sample_rate_hz), event);
    const level = this.level.gain(mel, frames, event.levelDb, gain, taken_db);
    return { event, mel, frames, activations, steps, envelope: gain, gain: level, trail };
  }

  /** An envelope; each is computed once. */
  #envelope(length, event) {
    const key = JSON.stringify([length, event.envelope]);
    const kept = this.envelopes.get(key) ?? envelope(length, this.sound.rate_hz, event.envelope);
    this.envelopes.delete(key);
    this.envelopes.set(key, kept);
    if (this.envelopes.size > ENVELOPES) this.envelopes.delete(this.envelopes.keys().next().value);
    return kept;
  }

  /**
   * Advance all voices by a block, and add them to a mix (2 N), and to what the room hears if that is not the mix.
   * @param {any} bar @param {number} position first sample of the block @param {Float32Array} mix
   * @param {Float32Array | null} [send]
   */
  play(bar, position, mix, send = null) {
    const block = mix.length / 2;
    if (Math.max(...bar.gate) === 0) return;
    const gate = new Float32Array(block);
    const [begin, end] = bar.gate;
    for (let n = 0; n < block; n++) gate[n] = begin + ((end - begin) * (n + 1)) / block;
    const moves = this.sound.voices.map(({ curves }) => moved(curves, bar.going, block));
    for (const voice of this.voices) {
      const late = Math.max(0, voice.event.onset - position);
      voice.read(block - late);
      voice.play(block - late, late, { mix, send, gate }, moves[voice.event.voice]);
    }
    this.leave();
  }

  /** Remove voices that are over. */
  leave() {
    this.voices = this.voices.filter((voice) => !voice.over);
  }

  /** Cut off everything that sounds. */
  drop() {
    this.voices = [];
  }
}
