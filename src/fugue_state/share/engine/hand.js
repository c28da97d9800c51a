/** Strengths as a performer set them: faders, brushes, freezes and locks. See bending/hand.py in Python. */

import { InputError, unknown } from "./errors.js";
import { rounded } from "./numbers.js";
import { HOLD } from "./paths.js";
import { forget } from "./timeline.js";

const HELD_STEPS = 254; // steps of a held strength in a byte: 0 is not frozen, 1 is forgotten, 255 intact
const FULL = 255;

/** @typedef {import("./paths.js").Value} Value @typedef {() => Float32Array} Planned the plan's strengths of now */

/**
 * The master fader forgets along the score's order. A layer's fader forgets along that order within the layer, or along
 * one of its own. Brushes set single units. All of these are multiplied with what is planned. The master does not reach
 * locked layers. Frozen units keep their strength until they are released or recalled, or given one to hold.
 */
export class Hand {
  /** @param {Object} piece @param {import("./paths.js").Paths} paths @param {(number: number) => Uint16Array} orderOf */
  constructor(piece, paths, orderOf) {
    this._paths = paths;
    this._orderOf = orderOf;
    this._inside = piece.hand.inside;
    this._order = orderOf(piece.hand.base);
    this._composed = piece.order; // its name
    this._names = piece.layers.map(([name]) => name);
    let start = 0;
    this._layers = piece.layers.map(([, units]) => ({ start, stop: (start += units) }));
    this._master = 0;
    this._faders = this._layers.map(() => 0);
    this._orders = this._layers.map((layer) => this._own(layer));
    this._named = this._layers.map(() => ""); // the names of these orders
    this._brush = new Float32Array(start).fill(1);
    this._locked = new Uint8Array(start);
    this.frozen = new Uint8Array(start);
    this._held = new Float32Array(start).fill(1);
    /** @type {Float32Array | null} from faders, brushes and locks */ this._set = null;
  }

  /** The strengths that brushes have left. */
  get brushed() {
    return this._brush.slice();
  }

  /** The value of every control but those of single units. @returns {Object<string, Value>} */
  get values() {
    const found = { "/forget": this._master };
    for (const [i, { start, stop }] of this._layers.entries()) {
      const all = (mask) => Number(mask.subarray(start, stop).every(Boolean));
      found[`/layer/${i + 1}/forget`] = this._faders[i];
      found[`/layer/${i + 1}/lock`] = all(this._locked);
      found[`/layer/${i + 1}/order`] = this._named[i] || this._composed;
      found[`/layer/${i + 1}/freeze`] = all(this.frozen);
    }
    return found;
  }

  /** Apply a change now; InputError if it cannot be. @param {string} path @param {Value} value @param {Planned} planned */
  play(path, value, planned) {
    this._check(path, value);
    this._move(path, value, planned);
    this._set = null;
  }

  /**
   * The changes that restore the units as they are now, after this control is moved.
   * @param {string} path @returns {[string, Value][]}
   */
  back(path) {
    const { known, numbers } = this._paths.find(path);
    const where = this._slice(path, numbers);
    const what = known.pattern.slice(known.pattern.lastIndexOf("/") + 1);
    if (what === "recall") return this._allBack(numbers);
    if (what === "freeze" || known.pattern === HOLD) return [this._holdBack(numbers[0])];
    if (known.kind === "bytes") return [this._brushBack(numbers[0])];
    if (what === "strength") return [[path, this._brush[where.start]]];
    if (what === "lock") return [[path, Number(this._locked.subarray(where.start, where.stop).every(Boolean))]];
    if (what === "order") return [[path, this._named[numbers[0] - 1]]];
    return [[path, numbers.length ? this._faders[numbers[0] - 1] : this._master]];
  }

  /** The changes that undo a recall. @param {number[]} numbers @returns {[string, Value][]} */
  _allBack(numbers) {
    const moves = [];
    if (!numbers.length && this._master) moves.push(["/forget", this._master]);
    for (const number of numbers.length ? numbers.slice(0, 1) : this._layers.map((_, i) => i + 1)) {
      const { start, stop } = this._layers[number - 1];
      if (this._faders[number - 1]) moves.push([`/layer/${number}/forget`, this._faders[number - 1]]);
      if (this._brush.subarray(start, stop).some((left) => left !== 1)) moves.push(this._brushBack(number));
      if (this.frozen.subarray(start, stop).some(Boolean)) moves.push(this._holdBack(number));
    }
    return moves;
  }

  /** @param {number} number @returns {[string, Uint8Array]} */
  _brushBack(number) {
    const { start, stop } = this._layers[number - 1];
    const left = this._brush.subarray(start, stop);
    return [`/grid/${number}`, Uint8Array.from(left, (value) => rounded(Math.fround(FULL * value)))];
  }

  /** @param {number} number @returns {[string, Uint8Array]} */
  _holdBack(number) {
    const { start, stop } = this._layers[number - 1];
    const held = (value, i) =>
      this.frozen[start + i] ? rounded(Math.fround(1 + Math.fround(HELD_STEPS * value))) : 0;
    return [HOLD.replace("<n>", String(number)), Uint8Array.from(this._held.subarray(start, stop), held)];
  }

  /** The strengths of now: the plan's, altered by the hand. @param {Float32Array} planned */
  left(planned) {
    this._set ??= this._setNow();
    return planned.map((value, unit) => (this.frozen[unit] ? this._held[unit] : value * this._set[unit]));
  }

  _setNow() {
    const units = this._brush.length;
    const left = forget(this._order, this._master, units);
    for (let unit = 0; unit < units; unit++) left[unit] = this._brush[unit] * (this._locked[unit] ? 1 : left[unit]);
    this._faders.forEach((value, i) => {
      if (!value) return;
      const inside = forget(this._orders[i], value, units);
      for (let unit = 0; unit < units; unit++) left[unit] *= inside[unit];
    });
    return left;
  }

  /** @param {string} path @param {Value} value @param {Planned} planned */
  _move(path, value, planned) {
    const { known, numbers } = this._paths.find(path);
    const what = known.pattern.slice(known.pattern.lastIndexOf("/") + 1);
    const { start, stop } = this._slice(path, numbers);
    const layer = numbers[0] - 1;
    if (known.pattern === "/forget") {
      this._master = value;
    } else if (what === "recall") {
      if (numbers.length) this._faders[layer] = 0;
      else [this._master, this._faders] = [0, this._faders.map(() => 0)];
      this._brush.fill(1, start, stop);
      this.frozen.fill(0, start, stop);
    } else if (what === "forget") {
      this._faders[layer] = value;
    } else if (what === "order") {
      this._orders[layer] = this._ordered(value, layer);
      this._named[layer] = value;
    } else if (what === "lock") {
      this._locked.fill(value, start, stop);
    } else if (what === "freeze") {
      // The plan may go on moving, but the held strength is that of this moment.
      this._held.set(this.left(planned()).subarray(start, stop), start);
      this.frozen.fill(value, start, stop);
    } else if (known.pattern === HOLD) {
      this.frozen.set(value.map((held) => Number(held > 0)), start);
      this._held.set(Float32Array.from(value, (held) => Math.max(held - 1, 0) / HELD_STEPS), start);
    } else if (value instanceof Uint8Array) {
      this._brush.set(Float32Array.from(value, (left) => left / FULL), start);
    } else {
      this._brush.fill(value, start, stop);
    }
  }

  /** The score's order within a layer. @param {{start: number, stop: number}} layer */
  _own({ start, stop }) {
    return this._order.filter((unit) => unit >= start && unit < stop);
  }

  /** The order that a name gives to a layer. @param {string} name @param {number} layer from 0 on */
  _ordered(name, layer) {
    if (!name) return this._own(this._layers[layer]);
    const known = this._inside[name];
    if (!known) throw unknown("order", name, Object.keys(this._inside));
    if (typeof known[layer] === "string") throw new InputError(known[layer]);
    return this._orderOf(known[layer]);
  }

  /** @param {string} path @param {Value} value */
  _check(path, value) {
    const { numbers } = this._paths.find(path);
    const { start, stop } = this._slice(path, numbers);
    if (value instanceof Uint8Array && value.length !== stop - start) {
      throw new InputError(`${path} takes ${stop - start} bytes, one a unit, got ${value.length}`);
    }
    if (path.endsWith("/order")) this._ordered(value, numbers[0] - 1);
  }

  /** The units that a change affects. @param {string} path @param {number[]} numbers */
  _slice(path, numbers) {
    const count = this._layers.length;
    if (!numbers.length) return { start: 0, stop: this._layers[count - 1].stop };
    if (!(numbers[0] >= 1 && numbers[0] <= count)) throw new InputError(`${path}: there are layers 1 to ${count}`);
    const layer = this._layers[numbers[0] - 1];
    if (numbers.length === 1) return layer;
    const size = layer.stop - layer.start;
    if (!(numbers[1] >= 1 && numbers[1] <= size)) {
      throw new InputError(`${path}: ${this._names[numbers[0] - 1]} has units 1 to ${size}`);
    }
    return { start: layer.start + numbers[1] - 1, stop: layer.start + numbers[1] };
  }
}
