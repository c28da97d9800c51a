/**
 * What moves sample by sample: curves of voices, fades, and how a piece ends. See piece/motion.py and engine/moving.py in
 * Python.
 */

import { interpolated } from "./numbers.js";

/**
 * @typedef {{begin: number, moves: boolean}} Going samples of a piece before a block, and whether it goes on in it
 * @typedef {{at: number[], values: number[]}} Curve by samples of the piece
 * @typedef {{gain: Float32Array | null, pan: Float64Array | null, send: Float32Array | null}} Moved of a voice in a block
 */

/** Where nothing moves. @type {Moved} */
export const STILL = { gain: null, pan: null, send: null };

/**
 * What the curves of a voice do in a block: gain, what is added to pans, gain into the room.
 * @param {{level_db?: Curve, pan?: Curve, wet_db?: Curve} | null} curves @param {Going} going @param {number} count
 * @returns {Moved}
 */
export function moved(curves, going, count) {
  if (!curves) return STILL;
  const values = ({ at, values: levels }) =>
    Float64Array.from({ length: count }, (_, n) => interpolated(going.begin + (going.moves ? n : 0), at, levels));
  const gain = (curve) => (curve ? Float32Array.from(values(curve), (db) => 10 ** (db / 20)) : null);
  return { gain: gain(curves.level_db), pan: curves.pan ? values(curves.pan) : null, send: gain(curves.wet_db) };
}

/** A gain that rises smoothly from 0 to 1. @param {number} share */
function rise(share) {
  return 0.5 - 0.5 * Math.cos(Math.PI * Math.min(1, Math.max(0, share)));
}

/** How a piece begins and ends by itself: its fades, and the moment from which its sound is frozen. */
export class Ending {
  /** @param {{rising: number, falling: number, end: number, freezes: number | null}} told @param {number} block */
  constructor(told, block) {
    this.told = told;
    this.block = block;
    this.waits = told.freezes !== null;
    this.stops = told.falling ? told.end : Infinity; // the sample from which there is silence
    this.passed = 0; // samples towards the end; they pass while the piece, and no hand, has frozen the sound
    this.frozen = false; // by the piece
    this.over = false; // everything faded out in the last block
  }

  /** Whether the sound freezes now, once, after so many samples of the piece. @param {number} played */
  freezes(played) {
    if (!this.waits || played < this.told.freezes) return false;
    this.waits = false;
    this.frozen = true;
    return true;
  }

  /** The fade of the next block, null where its gain is 1; the end comes nearer if it moves. @param {boolean} moves */
  step(moves) {
    const before = this.passed;
    const fade = before < this.stops ? this.#fade(moves) : null;
    this.passed += moves ? this.block : 0;
    this.over = before < this.stops && this.stops <= this.passed;
    return fade;
  }

  /** @param {boolean} moves @returns {Float32Array | null} */
  #fade(moves) {
    const { told, passed, block } = this;
    const falls = told.falling > 0 && passed + (moves ? block : 1) > told.end - told.falling;
    if (passed >= told.rising && !falls) return null;
    return Float32Array.from({ length: block }, (_, n) => {
      const at = passed + (moves ? n : 0);
      return (told.rising ? rise(at / told.rising) : 1) * (falls ? rise((told.end - 1 - at) / told.falling) : 1);
    });
  }
}
