/** One voice of a piece: which latent sounds when. See piece/line.py in Python. */

import { Random } from "./random.js";

const NEW = 2; // purposes of random numbers, each with its own stream
const VARIED = 3;

/**
 * @typedef {{timeS: number, turn: number, step: number, heldS: number | null}} Onset when a turn of the loop sounds;
 *   `step` counts from 0; after `heldS` it is let go, without it rings out
 * @typedef {[number, number, number, number][]} Tempo stretches: the beat and the second at which each begins, seconds of
 *   a beat there, by how much of itself the tempo there rises with every beat
 * @typedef {{onset: Onset, number: number, latent: Float32Array}} Coming
 */

/** Seconds at which so many beats have passed. See score/tempo.py in Python. @param {Tempo} tempo @param {number} beats */
function seconds(tempo, beats) {
  let [low, high] = [0, tempo.length]; // the last stretch that begins before
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (tempo[middle][0] <= beats) low = middle;
    else high = middle;
  }
  const [beat, second, beatS, rise] = tempo[low];
  const more = beats - beat;
  return second + (rise ? (Math.log1p(rise * more) / rise) * beatS : more * beatS);
}

/** The latents that an atlas describes, made once. */
export class Atlas {
  /** @param {{count: number, seed: number, pool: number}} told @param {{latents: Function}} memory */
  constructor(told, memory) {
    this._told = told;
    this._memory = memory;
    /** @type {Float32Array[] | null} */ this._latents = null;
  }

  /** @param {number} entry @returns {Float32Array} */
  latent(entry) {
    this._latents ??= this._memory.latents(this._told.count, this._told.seed);
    return this._latents[entry];
  }

  /**
   * The latents that are nearest to a description, those as near drawn by seed.
   * @param {{among: number, places: number[], entries: number[], distances: number[]}} pool @param {number} seed
   */
  chosen(pool, seed) {
    const order = new Random(seed).permutation(pool.among);
    const rank = new Map(Array.from(order, (place, i) => [place, i]));
    const near = pool.places.map((place, i) => ({ at: rank.get(place), far: pool.distances[i], entry: pool.entries[i] }));
    near.sort((one, other) => one.far - other.far || one.at - other.at);
    return near.slice(0, this._told.pool).map(({ entry }) => this.latent(entry));
  }
}

/** A voice: its onsets in time, and the latent of each. `latentSeed`, if given, replaces the voice's own. */
export class Line {
  /**
   * @param {Object} piece @param {number} number @param {{latents: Function}} memory @param {Atlas} atlas
   * @param {number | null} latentSeed
   */
  constructor(piece, number, memory, atlas, latentSeed = null) {
    this.told = piece.lines[number];
    this.number = number;
    this.seed = latentSeed ?? this.told.seed;
    /** @type {Tempo} */ this._tempo = piece.tempos[this.told.tempo];
    const count = this.told.turns.length;
    const own = memory.latents(count, this.seed);
    this.latentsOf = this.told.turns.map((turn, i) => this._found(turn, i, own, memory, atlas, piece.pools));
    const goal = this.told.towards_seed;
    this._towards = goal === null ? own : memory.latents(count, goal);
  }

  /** The latents of a turn: one, or a pool that new ones are drawn from. @returns {Float32Array[]} */
  _found(turn, index, own, memory, atlas, pools) {
    if (turn.entry !== undefined) return [atlas.latent(turn.entry)];
    if (turn.seed !== undefined) return memory.latents(1, turn.seed);
    if (turn.pool !== undefined) return atlas.chosen(pools[turn.pool], this.seed + index);
    return [own[index]];
  }

  /** When the voice sounds, without end unless it has one. @returns {Generator<Onset>} */
  *onsets() {
    const { turns, start_s: startS, until_s: untilS, swing, gate, rounds } = this.told;
    const tempo = this._tempo;
    let beats = 0;
    for (let step = 0; ; step++) {
      const turn = step % turns.length;
      const length = turns[turn].beats;
      const late = step % 2 ? swing * length : 0;
      const timeS = startS + seconds(tempo, beats + late);
      if ((untilS !== null && timeS >= untilS) || (rounds !== null && step >= rounds * turns.length)) return;
      if (!turns[turn].rest) {
        const letGo = gate === null ? null : startS + seconds(tempo, beats + late + gate * (length - late));
        yield { timeS, turn, step, heldS: letGo === null ? null : letGo - timeS };
      }
      beats += length;
    }
  }

  /**
   * Every onset from `beginS` on with its latent; a path reaches its goal at `lastS`.
   * @param {number} lastS @param {number} beginS @returns {Generator<Coming>}
   */
  *latents(lastS, beginS) {
    const { latents: how, turns, wander, variation } = this.told;
    const now = this.latentsOf.map(([first]) => first);
    for (const onset of this.onsets()) {
      if (onset.timeS < beginS) continue;
      const repeated = onset.step >= turns.length;
      if (how === "walk" && repeated) now[onset.turn] = blend(now[onset.turn], this._new(onset), wander);
      else if (how === "fresh" && repeated) now[onset.turn] = this._new(onset);
      let latent = now[onset.turn];
      if (how === "path") latent = blend(latent, this._towards[onset.turn], lastS ? Math.min(1, onset.timeS / lastS) : 0);
      if (variation) latent = blend(latent, this._drawn(VARIED, onset), variation);
      yield { onset, number: this.number, latent };
    }
  }

  /** A new latent for a turn: from its pool if it has one, otherwise drawn at random. @param {Onset} onset */
  _new(onset) {
    if (this.told.turns[onset.turn].pool === undefined) return this._drawn(NEW, onset);
    const pool = this.latentsOf[onset.turn];
    return pool[this._random(NEW, onset).integers(pool.length)];
  }

  /** @param {number} purpose @param {Onset} onset */
  _drawn(purpose, onset) {
    return Float32Array.from(this._random(purpose, onset).standardNormal(this.latentsOf[0][0].length));
  }

  /** @param {number} purpose @param {Onset} onset */
  _random(purpose, onset) {
    return new Random([this.seed, purpose, this.number, onset.step]);
  }
}

/**
 * What voices do, by time; at the same time the first voice is first.
 * @param {Iterator<Coming>[]} voices @returns {Generator<Coming>}
 */
export function merged(voices) {
  return merging(voices);
}

/** @param {Iterator<Coming>[]} voices @returns {Generator<Coming>} */
function* merging(voices) {
  const next = voices.map((voice) => voice.next());
  for (;;) {
    let first = -1;
    for (let i = 0; i < next.length; i++) {
      if (!next[i].done && (first < 0 || next[i].value.onset.timeS < next[first].value.onset.timeS)) first = i;
    }
    if (first < 0) return;
    yield next[first].value;
    next[first] = voices[first].next();
  }
}

/**
 * The point a share of the way from one latent to another, exact at both ends. The weights lie on a quarter circle.
 * @param {Float32Array} one @param {Float32Array} other @param {number} share 0 to 1
 */
export function blend(one, other, share) {
  if (share === 0 || share === 1) return share ? other : one;
  const angle = (share * Math.PI) / 2;
  const here = Math.fround(Math.cos(angle));
  const there = Math.fround(Math.sin(angle));
  return one.map((value, i) => Math.fround(here * value) + Math.fround(there * other[i]));
}
