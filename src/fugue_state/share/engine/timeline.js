/** Strengths over time: the moves of a score, each taking over from the one before. See bending/timeline.py in Python. */

import { below, interpolated, upTo } from "./numbers.js";

const ROOM = 32; // paths that are kept: more than a fade has points

/** @typedef {(share: number) => Float32Array} Path strengths at a share of the way, 0 to 1 */

/** Strengths after a fraction of an order is forgotten. @param {ArrayLike<number>} order @param {number} fraction @param {number} units */
export function forget(order, fraction, units) {
  const strengths = new Float32Array(units).fill(1);
  const gone = fraction * order.length;
  for (let i = 0; i < order.length; i++) strengths[order[i]] = Math.min(1, Math.max(0, i + 1 - gone));
  return strengths;
}

/**
 * The path from strengths to the point where a fraction `to` of an order's units is forgotten, unit after unit. With a
 * direction it only forgets (-1) or only recalls (1).
 * @param {Float32Array} begin @param {ArrayLike<number>} order @param {number} to @param {number} direction
 * @returns {Path}
 */
export function along(begin, order, to, direction = 0) {
  const held = Float64Array.from(order, (unit) => begin[unit]);
  const change = order.length * (1 - to) - held.reduce((sum, value) => sum + value, 0);
  if (change * direction < 0) return () => begin.slice();
  const goal = change > 0 ? 1 : 0;
  const sign = Math.sign(change);
  const room = held.map((value) => Math.abs(goal - value));
  const before = new Float64Array(order.length);
  for (let i = 1; i < order.length; i++) before[i] = before[i - 1] + room[i - 1];
  return (share) => {
    const gone = share * Math.abs(change);
    const now = begin.slice();
    const last = below(before, gone) - 1; // all before it are finished
    for (let i = 0; i < last; i++) now[order[i]] = held[i] + sign * room[i];
    if (last >= 0) now[order[last]] = held[last] + sign * Math.min(gone - before[last], room[last]);
    return now;
  };
}

/** How far an adaptive forgetting has come, as it was decided when the piece was put into the page. */
class Decided {
  /** @param {{rate: number, times: number[], shares: number[], drives: number[]}} told */
  constructor(told) {
    this._told = told;
  }

  /** @param {number} timeS of the forgetting itself */
  share(timeS) {
    const { rate, times, shares, drives } = this._told;
    const at = Math.max(0, upTo(times, timeS) - 1);
    return Math.min(1, Math.max(0, shares[at] + rate * drives[at] * (timeS - times[at])));
  }
}

/** From the time within a move to how far along it is, both 0 to 1. @param {Object} shape @param {number} time */
export function shareOf(shape, time) {
  const { pace, steps, steepness } = shape;
  if (pace === "steps") return Math.min(Math.floor(time * (steps + 1)), steps) / steps;
  if (pace === "points") return Math.min(1, Math.max(0, interpolated(time, shape.times, shape.shares)));
  if (pace === "exponential") return within(Math.expm1(steepness * time) / Math.expm1(steepness));
  if (pace === "sigmoid") return within(0.5 + (0.5 * Math.tanh(steepness * (time - 0.5))) / Math.tanh(steepness / 2));
  return time;
}

const within = (share) => Math.min(1, Math.max(0, share));

/** A path that takes some time from its start on, not counting its pauses. */
class Move {
  /** @param {Object} told @param {Decided | null} decided */
  constructor(told, decided) {
    this.startS = told.start_s;
    this.order = told.order;
    this.to = told.to;
    this.direction = told.direction;
    this._lengthS = told.length_s;
    this._pauses = told.pauses.map(([at, length]) => [at, length ?? Infinity]);
    const { shape } = told;
    this._shape = shape.pace === "decided" ? (time) => decided.share(time * this._lengthS) : (time) => shareOf(shape, time);
  }

  /** How many seconds of it have passed at a time, without pauses. @param {number} timeS */
  elapsedS(timeS) {
    let pausedS = 0;
    for (const [at, length] of this._pauses) pausedS += Math.min(Math.max(0, timeS - at), length);
    return Math.min(this._lengthS, Math.max(0, timeS - this.startS - pausedS));
  }

  /** How far along it is at a time not before its start. @param {number} timeS */
  share(timeS) {
    return this._shape(this._lengthS > 0 ? this.elapsedS(timeS) / this._lengthS : 1);
  }
}

/** Strengths over time; before the first move, all units are intact. */
export class Timeline {
  /** @param {Object} piece @param {(number: number) => Uint16Array} orderOf @param {number} units */
  constructor(piece, orderOf, units) {
    const { fade_s: fadeS, fade_points: points, moves } = piece.timeline;
    const decided = piece.decided && new Decided(piece.decided);
    this._units = units;
    this._fadeS = fadeS;
    this._points = points;
    this._orderOf = orderOf;
    this._moves = moves.map((told) => new Move(told, decided));
    this._starts = this._moves.map((move) => move.startS);
    /** @type {Float32Array[]} what each move begins with */ this._begun = [];
    /** @type {Map<number, Path>} */ this._paths = new Map();
  }

  /** The strengths at a time in seconds; each change of a unit is spread over the fade. @param {number} timeS */
  at(timeS) {
    if (this._fadeS === 0) return this._planned(timeS);
    const sum = new Float32Array(this._units);
    for (let i = 0; i < this._points; i++) {
      const planned = this._planned(timeS - (this._fadeS * i) / this._points);
      for (let unit = 0; unit < sum.length; unit++) sum[unit] += planned[unit];
    }
    return sum.map((value) => value / this._points);
  }

  /** The strengths without the fade. @param {number} timeS */
  _planned(timeS) {
    const index = upTo(this._starts, timeS);
    return index ? this._strengths(index - 1, timeS) : new Float32Array(this._units).fill(1);
  }

  /** @param {number} number of a move @param {number} timeS */
  _strengths(number, timeS) {
    return this._path(number)(this._moves[number].share(timeS));
  }

  /** @param {number} number @returns {Path} */
  _path(number) {
    let path = this._paths.get(number);
    if (!path) {
      const { order, to, direction } = this._moves[number];
      path = along(this._begins(number), this._orderOf(order), to, direction);
      if (this._paths.size === ROOM) this._paths.delete(this._paths.keys().next().value);
      this._paths.set(number, path);
    }
    return path;
  }

  /** The strengths that a move begins with; those of all moves before it are found on the way. @param {number} number */
  _begins(number) {
    while (this._begun.length <= number) {
      const following = this._begun.length;
      this._begun.push(
        following ? this._strengths(following - 1, this._starts[following]) : new Float32Array(this._units).fill(1),
      );
    }
    return this._begun[number];
  }
}
