/**
 * What each block of a performance plays: the piece, and the changes made by hand. Makes no sound itself. See
 * piece/conductor.py in Python.
 */

import { InputError, unknown } from "./errors.js";
import { Hand } from "./hand.js";
import { Atlas, Line, merged } from "./line.js";
import { Ending } from "./motion.js";
import { interpolated, rounded } from "./numbers.js";
import { Paths, written } from "./paths.js";
import { Timeline } from "./timeline.js";

// What a performer does to units, which acts at onsets too.
const REACHING_UNITS = ["/forget", "/recall", "/layer/", "/unit/", "/grid/", "/hold/"];
const reachesUnits = (path) => REACHING_UNITS.some((start) => path.startsWith(start));

/**
 * @typedef {import("./paths.js").Value} Value
 * @typedef {{onset: number, chord: string | null, label: string | null, latent: Float32Array, strengths: Float32Array,
 *   pan: number, envelope: Object, frames: number, voice: number, levelDb: number, bend: Object | null,
 *   held: number | null}} Event from `held` samples after its onset it is let go; null: it rings out
 * @typedef {{events: Event[], strengths: Float32Array, frozen: boolean, quality: string, rests: boolean,
 *   gate: [number, number], gain: [number, number], silenced: boolean, going: import("./motion.js").Going,
 *   fade: Float32Array | null}} Bar
 */

/** The gate before the room and the gain after it, followed from block to block. */
class Fades {
  /** @param {number} volume @param {number} hushBlocks */
  constructor(volume, hushBlocks) {
    this.gate = 1;
    this.gain = volume;
    this._hushed = 1;
    this._left = 0;
    this._hushBlocks = hushBlocks;
  }

  /** Start fading to silence, over the length of a hush. */
  hush() {
    this._left = this._hushBlocks;
  }

  /** Cancel a hush. */
  unhush() {
    this._left = 0;
  }

  /** Close the gate: everything has faded out. */
  end() {
    this.gate = 0;
  }

  /** Advance by a block: its gate, its gain, and whether it ends in silence. @param {boolean} playing @param {number} volume */
  step(playing, volume) {
    const hushing = this._left > 0;
    const gate = [this.gate, playing || (hushing && this.gate > 0) ? 1 : 0];
    this._hushed = hushing ? (this._hushed * (this._left - 1)) / this._left : 1;
    const gain = [this.gain, volume * this._hushed];
    this._left -= Number(hushing);
    const silenced = hushing && this._left === 0;
    this.gate = silenced ? 0 : gate[1];
    this.gain = gain[1];
    return { gate, gain, silenced };
  }
}

/**
 * Goes through a piece block by block: changes come in, bars come out. Changes that the piece brings along are applied by
 * themselves, at the first block after their time. The piece stands still while the sound is frozen or paused. The
 * score's length ends its plan, not the playing: its loop goes on, unless the piece fades out. Then it stops, as after a
 * hush, and goes on when it is played again.
 */
export class Conductor {
  /**
   * @param {Object} piece as share/parcel.py writes it @param {Map<string, {data: ArrayLike<number>}>} arrays
   * @param {Object} memory @param {number | null} block samples; by default the piece's own
   */
  constructor(piece, arrays, memory, block = null) {
    this._piece = piece;
    this._memory = memory;
    this._paths = new Paths(piece.controls);
    this.rate = piece.sound.rate_hz;
    this.block = block ?? piece.sound.block;
    this.position = 0;
    /** @type {{at: number, path: string, value: number | string}[]} */ this.log = [];
    this._own = this._defaults(); // the value of every control that reaches no units; the hand has the others
    const { data } = arrays.get("orders");
    const orderOf = (number) => data.subarray(number ? piece.orders[number - 1] : 0, piece.orders[number]);
    this._units = piece.layers.reduce((sum, [, units]) => sum + units, 0);
    this._hand = new Hand(piece, this._paths, orderOf);
    this._timeline = new Timeline(piece, orderOf, this._units);
    this._bend = memory.bend(piece.bend, arrays);
    // Made now, for what is made first: while a chord waits, it would be a gap.
    for (const { frames, forgets } of piece.lines) if (forgets) this._bend?.layers(frames);
    this._atlas = new Atlas(piece.atlas, memory);
    this._played = 0; // samples of the piece itself, without pauses
    this._ending = new Ending(piece.ending, this.block);
    this._begin(0);
    this._fades = new Fades(this._own["/volume"], Math.ceil((piece.sound.hush_s * this.rate) / this.block));
    this._rests = false;
    this._due = [...piece.changes].sort(([one], [other]) => one - other);
    this._done = 0; // of these changes
    this._takeDue();
  }

  /** The initial value of every control that reaches no units. @returns {Object<string, Value>} */
  _defaults() {
    const { seed, sound } = this._piece;
    const found = {};
    for (const { pattern, kind, recorded, default: initial } of this._paths.all) {
      if (recorded && kind !== "trigger" && !reachesUnits(pattern)) found[pattern] = initial;
    }
    return { ...found, "/seed": seed, "/quality": sound.quality };
  }

  /** The value of every control, except those of single units. @returns {Object<string, Value>} */
  get values() {
    return { ...this._hand.values, ...this._own };
  }

  /** The strengths that are asked for now. */
  get strengths() {
    return this._hand.left(this._planned());
  }

  _planned() {
    return this._timeline.at(this.playedS);
  }

  /** The strengths that brushes alone have left. */
  get brushed() {
    return this._hand.brushed;
  }

  /** Which units are frozen, 1 each. */
  get frozen() {
    return this._hand.frozen.slice();
  }

  /** Seconds of the piece played so far; less than the time elapsed if it was paused or frozen. */
  get playedS() {
    return this._played / this.rate;
  }

  /** Move a control from the next block on; InputError if it cannot be moved. @param {string} path @param {unknown} [asked] */
  change(path, asked) {
    if (!this._paths.find(path).known.recorded) throw new InputError(`${path} is no control of the sound`);
    const value = this._paths.check(path, asked);
    if (path === "/chord" && value) this._labelOf(value);
    if (reachesUnits(path)) this._hand.play(path, value, () => this._planned());
    this.log.push({ at: this.position, path, value: written(value) });
    if (path in this._own) this._own[path] = value;
    if (path === "/freeze" && !value) {
      this._ending.frozen = false;
    } else if (path === "/hush") {
      this._own["/play"] = 0;
      this._fades.hush();
    } else if (path === "/play" && value) {
      this._fades.unhush();
    } else if (path === "/seed") {
      this._begin((this._played - 0.5) / this.rate); // onsets are rounded
    } else if (path === "/rest") {
      this._rests = true;
    }
  }

  /**
   * The changes that restore the present state after this control is moved; InputError as in `change`.
   * @param {string} path @returns {[string, Value][]}
   */
  back(path) {
    if (reachesUnits(path)) return this._hand.back(path);
    return path in this._own ? [[path, this._own[path]]] : [];
  }

  /** Apply the changes whose time has come. */
  _takeDue() {
    while (this._done < this._due.length && rounded(this._due[this._done][0] * this.rate) <= this.position) {
      const [, path, value] = this._due[this._done];
      this._done += 1;
      this.change(path, value);
    }
    if (this._ending.freezes(this._played)) this._own["/freeze"] = 1;
  }

  /** Begin with the onsets of all voices from a time on, with latents drawn by the present seed. @param {number} beginS */
  _begin(beginS) {
    const piece = this._piece;
    const seed = this._own["/seed"];
    const voices = piece.lines.map((_, number) => {
      const own = seed === piece.seed ? null : (seed + number) % (piece.seed_max + 1);
      return new Line(piece, number, this._memory, this._atlas, own).latents(piece.last_s, beginS);
    });
    this._coming = merged(voices);
    this._next = this._coming.next();
  }

  /** Advance by one block. @returns {Bar} */
  step() {
    const own = this._own;
    const playing = Boolean(own["/play"]);
    const frozen = Boolean(own["/freeze"]);
    const quality = own["/quality"];
    const rests = this._rests;
    this._rests = false;
    // During a hush the piece goes on until it is silent, and events may still begin.
    const { gate, gain, silenced: hushed } = this._fades.step(playing, own["/volume"]);
    const moving = Math.max(...gate) > 0 && !frozen;
    const strengths = this.strengths;
    const events = moving ? this._events(strengths) : [];
    const going = { begin: this._played, moves: moving };
    const fade = this._ending.step(moving || (this._ending.frozen && Math.max(...gate) > 0));
    if (this._ending.over) {
      own["/play"] = 0;
      this._fades.end();
    }
    const silenced = hushed || this._ending.over;
    if (silenced) {
      own["/freeze"] = 0;
      this._ending.frozen = false;
    }
    this.position += this.block;
    this._played += moving ? this.block : 0;
    this._takeDue();
    return { events, strengths, frozen, quality, rests, gate, gain, silenced, going, fade };
  }

  /** The events of the piece's next block, with onsets counted in samples of the performance. @param {Float32Array} strengths */
  _events(strengths) {
    const found = [];
    for (;;) {
      if (this._next.done) return found;
      const onset = rounded(this._next.value.onset.timeS * this.rate);
      if (onset >= this._played + this.block) return found;
      found.push(this._event(this._next.value, onset - this._played + this.position, strengths));
      this._next = this._coming.next();
    }
  }

  /** @param {import("./line.js").Coming} coming @param {number} at sample of the performance @param {Float32Array} strengths @returns {Event} */
  _event({ onset, number, latent }, at, strengths) {
    const line = this._piece.lines[number];
    const turn = line.turns[onset.turn];
    const chord = this._own["/chord"];
    return {
      onset: at,
      chord: chord || turn.chord,
      label: chord ? this._labelOf(chord) : turn.label,
      latent,
      strengths: line.forgets ? strengths : new Float32Array(this._units).fill(1),
      pan: turn.pan,
      envelope: line.envelope,
      frames: line.frames,
      voice: number,
      levelDb: line.level_db + turn.level_db + this._plannedLu(onset.timeS),
      bend: line.forgets ? this._bend : null,
      held: onset.heldS === null ? null : Math.max(1, rounded(onset.heldS * this.rate)),
    };
  }

  /** The planned level at a time of the piece, in LU relative to the beginning. @param {number} timeS */
  _plannedLu(timeS) {
    const { plan } = this._piece;
    return plan ? interpolated(timeS, plan.times, plan.levels) : 0;
  }

  /** The label that a chord's name stands for, in quotes or not; InputError if the memory does not know it. @param {string} chord */
  _labelOf(chord) {
    const { labels } = this._memory;
    if (!labels.length) throw new InputError("the memory learned without labels: it knows no chord by name");
    const bare = /^(["']).+\1$/su.test(chord) ? chord.slice(1, -1) : chord;
    const found = labels.find((label) => label === chord) ?? labels.find((label) => label === bare);
    if (found === undefined) throw unknown("chord", chord, labels);
    return found;
  }
}
