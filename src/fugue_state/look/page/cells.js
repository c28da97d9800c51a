/** The look of units over time: size, brightness, and the flare of a lost unit; the same as in films. */

import { CALMEST_CHANGE, CONTRAST, DIM, FILLED, FLARE_S, FOUND_S, LOST_S } from "./cell.js"; // from look/cell.py
import { calmer, luminance } from "./theme.js";

const STILL_S = 0.6; // time constant of brightness with reduced motion

/**
 * A layer: its name, and the one within its part; its number among all, its part's number, its first unit among all,
 * and its colour's name.
 * @typedef {Object} Layer
 * @property {string} name @property {string} short @property {number} number @property {number} part
 * @property {number} start @property {number} units @property {string} tone
 */

export class Cells {
  /** @param {Layer[]} layers @param {Uint8Array} strengths @param {Uint8Array} brushed */
  constructor(layers, strengths, brushed) {
    this.layers = layers;
    this.asked = Float32Array.from(strengths, (value) => value / 255);
    this.brushed = Float32Array.from(brushed, (value) => value / 255); // what brushes leave; faders reduce it further
    this.heard = this.asked.slice();
    this.wanted = new Float32Array(strengths.length).fill(DIM); // brightness
    this.frozen = new Uint8Array(strengths.length);
    /** The sample at which a requested change is heard; infinite until the server answers, 0 once it is heard. */
    this.due = new Float64Array(strengths.length);
    this.size = this.asked.slice();
    this.glow = this.wanted.slice();
    this.flare = new Float32Array(strengths.length);
    this.lost = new Float32Array(strengths.length); // how much strength each unit has lost since the last step
    const ground = luminance("ground");
    this.flareLight = Math.abs(luminance("flare") - ground);
    this.lights = layers.map(({ tone }) => Math.abs(luminance(tone) - ground));
  }

  /** Note that a unit's strength was asked for. @param {number} unit @param {number} strength @param {number} due */
  ask(unit, strength, due) {
    this.asked[unit] = strength;
    this.due[unit] = due;
  }

  /**
   * Brush a unit by an amount, due when the server answers; false if that changes nothing.
   * @param {number} unit @param {number} by
   */
  brush(unit, by) {
    const before = this.brushed[unit];
    const after = Math.min(1, Math.max(0, before + by));
    if (after === before) return false;
    this.brushed[unit] = after;
    // If nothing was left of the unit, the share that faders leave of it is unknown.
    const left = this.frozen[unit] ? this.asked[unit] : before ? (this.asked[unit] / before) * after : after;
    this.ask(unit, left, Infinity);
    return true;
  }

  /** Take over what is heard now. @param {Uint8Array} strengths @param {Uint8Array} activations */
  hear(strengths, activations) {
    for (let u = 0; u < strengths.length; u++) {
      const strength = strengths[u] / 255;
      if (!calmer.matches) this.lost[u] = Math.max(this.lost[u], this.heard[u] - strength);
      this.heard[u] = strength;
      this.wanted[u] = DIM + (1 - DIM) * (activations[u] / 255) ** CONTRAST;
    }
  }

  /** Advance by some seconds, up to a sample. @param {number} seconds @param {number} sample */
  step(seconds, sample) {
    const fading = 1 - Math.exp(-seconds / LOST_S);
    const growing = 1 - Math.exp(-seconds / FOUND_S);
    const shining = calmer.matches ? 1 - Math.exp(-seconds / STILL_S) : 1;
    const falling = Math.exp(-seconds / FLARE_S);
    for (const [number, { start, units }] of this.layers.entries()) {
      const light = this.lights[number];
      let now = 0;
      let then = 0;
      for (let u = start; u < start + units; u++) {
        now += this.size[u] * this.glow[u] ** 2.2 * light + this.flare[u] ** 2.2 * this.flareLight;
        then += this.#size(u, fading, growing) * this.wanted[u] ** 2.2 * light;
        then += this.#flare(u, falling) ** 2.2 * this.flareLight;
      }
      const change = (FILLED ** 2 * Math.abs(then - now)) / units;
      const allowed = (CALMEST_CHANGE * seconds) / (then > now ? 1 : 2.2);
      const share = Math.min(1, allowed / Math.max(change, 1e-9));
      for (let u = start; u < start + units; u++) {
        this.size[u] += share * (this.#size(u, fading, growing) - this.size[u]);
        this.glow[u] += share * shining * (this.wanted[u] - this.glow[u]);
        this.flare[u] += share * (this.#flare(u, falling) - this.flare[u]);
        this.lost[u] = 0;
        if (this.due[u] && sample >= this.due[u]) this.due[u] = 0;
      }
    }
  }

  #flare(unit, falling) {
    return Math.max(this.flare[unit] * falling, this.lost[unit]);
  }

  #size(unit, fading, growing) {
    const away = this.heard[unit] - this.size[unit];
    return this.size[unit] + away * (away < 0 ? fading : growing);
  }

  /** A unit's strength, or the one asked for if that is not heard yet. @param {number} unit */
  now(unit) {
    return this.due[unit] ? this.asked[unit] : this.heard[unit];
  }

  /** How strongly a unit fires, 0 to 1. @param {number} unit */
  fires(unit) {
    return Math.max(0, (this.wanted[unit] - DIM) / (1 - DIM)) ** (1 / CONTRAST);
  }

  /** The number of remembered units of a layer, as heard; partly remembered ones count in part. @param {Layer} layer */
  remembered({ start, units }) {
    let sum = 0;
    for (let u = start; u < start + units; u++) sum += this.heard[u];
    return sum;
  }
}
