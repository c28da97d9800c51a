/** How units look over time: their size and brightness, how they flare when lost; the same as in the film. */

import { CALMEST_CHANGE, CONTRAST, DIM, FILLED, FLARE_S, FOUND_S, LOST_S } from "./cell.js"; // from look/cell.py
import { calmer, layerColour, luminance } from "./theme.js";

const STILL_S = 0.6; // of brightness, where motion is to be reduced

/** @typedef {{name: string, number: number, start: number, units: number}} Layer */

export class Cells {
  /** @param {Layer[]} layers @param {Uint8Array} strengths @param {Uint8Array} brushed */
  constructor(layers, strengths, brushed) {
    this.layers = layers;
    this.asked = Float32Array.from(strengths, (value) => value / 255);
    this.brushed = Float32Array.from(brushed, (value) => value / 255); // what brushes leave; faders take from that
    this.heard = this.asked.slice();
    this.wanted = new Float32Array(strengths.length).fill(DIM); // brightness
    this.frozen = new Uint8Array(strengths.length);
    /** The sample at which what was asked for is heard; infinite while the server has not said when; 0 once heard. */
    this.due = new Float64Array(strengths.length);
    this.size = this.asked.slice();
    this.glow = this.wanted.slice();
    this.flare = new Float32Array(strengths.length);
    this.lost = new Float32Array(strengths.length); // of each unit's strength, since the last step
    const ground = luminance("ground");
    this.flareLight = Math.abs(luminance("flare") - ground);
    this.lights = layers.map((layer) => Math.abs(luminance(layerColour(layer.number, layers.length)) - ground));
  }

  /** Ask for a strength of a unit. @param {number} unit @param {number} strength @param {number} due */
  ask(unit, strength, due) {
    this.asked[unit] = strength;
    this.due[unit] = due;
  }

  /**
   * Brush a unit by so much, to be heard when the server has said so; false if that changes nothing.
   * @param {number} unit @param {number} by
   */
  brush(unit, by) {
    const before = this.brushed[unit];
    const after = Math.min(1, Math.max(0, before + by));
    if (after === before) return false;
    this.brushed[unit] = after;
    // What faders leave of it is not known where nothing was left to see it by.
    const left = this.frozen[unit] ? this.asked[unit] : before ? (this.asked[unit] / before) * after : after;
    this.ask(unit, left, Infinity);
    return true;
  }

  /** What is heard now. @param {Uint8Array} strengths @param {Uint8Array} activations */
  hear(strengths, activations) {
    for (let u = 0; u < strengths.length; u++) {
      const strength = strengths[u] / 255;
      if (!calmer.matches) this.lost[u] = Math.max(this.lost[u], this.heard[u] - strength);
      this.heard[u] = strength;
      this.wanted[u] = DIM + (1 - DIM) * (activations[u] / 255) ** CONTRAST;
    }
  }

  /** Go on by some seconds, up to a sample. @param {number} seconds @param {number} sample */
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

  /** A unit's strength: as asked for if that is not heard yet. @param {number} unit */
  now(unit) {
    return this.due[unit] ? this.asked[unit] : this.heard[unit];
  }

  /** How strongly a unit fires, 0 to 1. @param {number} unit */
  fires(unit) {
    return Math.max(0, (this.wanted[unit] - DIM) / (1 - DIM)) ** (1 / CONTRAST);
  }

  /** How many units of a layer are heard, partly remembered ones in part. @param {Layer} layer */
  remembered({ start, units }) {
    let sum = 0;
    for (let u = start; u < start + units; u++) sum += this.heard[u];
    return sum;
  }
}
