/**
 * NumPy's random numbers, bit by bit: `np.random.default_rng(seed)`, which is PCG64 (O'Neill, 2014) seeded through
 * SeedSequence. Numbers of 64 and 128 bits are kept in limbs of 32.
 */

import { HEIGHT, INSIDE, NORMAL_INVERSE, NORMAL_RIGHT, WIDTH } from "./ziggurat.js";

const LIMB = 4294967296; // 2^32
const POOL = 4; // words of a SeedSequence
const SINGLE = 2 ** 29; // the tables are for 52 bits; those for single precision have 23

const inside32 = INSIDE.map((value) => Math.round(value / SINGLE));
const width32 = WIDTH.map((value) => Math.fround(value * SINGLE));
const height32 = HEIGHT.map(Math.fround);
const right32 = Math.fround(NORMAL_RIGHT);
const inverse32 = Math.fround(NORMAL_INVERSE);

/** The upper 32 bits of the product of two numbers of 32. @param {number} a @param {number} b */
function high(a, b) {
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const b0 = b & 0xffff;
  const b1 = b >>> 16;
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  return (a1 * b1 + (middle >>> 16) + ((a0 * b1 + (middle & 0xffff)) >>> 16)) >>> 0;
}

/** The words of a whole number, or of several, the lowest first. @param {number | number[]} seed @returns {number[]} */
function words(seed) {
  if (Array.isArray(seed)) return seed.flatMap(words);
  if (!Number.isSafeInteger(seed) || seed < 0) throw new Error(`a seed is a whole number from 0 on, got ${seed}`);
  return seed < LIMB ? [seed] : [seed % LIMB, Math.floor(seed / LIMB)];
}

/** What NumPy's SeedSequence makes of a seed: words of 32 bits. @param {number[]} entropy @param {number} count */
function seeded(entropy, count) {
  let hash = 0x43b0d7e5;
  const hashed = (value) => {
    const mixed = value ^ hash;
    hash = Math.imul(hash, 0x931e8875);
    const product = Math.imul(mixed, hash);
    return product ^ (product >>> 16);
  };
  const mix = (x, y) => {
    const product = (Math.imul(0xca01f9dd, x) - Math.imul(0x4973f715, y)) | 0;
    return product ^ (product >>> 16);
  };
  const pool = Array.from({ length: POOL }, (_, i) => hashed(entropy[i] ?? 0));
  for (let from = 0; from < POOL; from++) {
    for (let to = 0; to < POOL; to++) if (from !== to) pool[to] = mix(pool[to], hashed(pool[from]));
  }
  for (let from = POOL; from < entropy.length; from++) {
    for (let to = 0; to < POOL; to++) pool[to] = mix(pool[to], hashed(entropy[from]));
  }
  hash = 0x8b51f9dd;
  return Array.from({ length: count }, (_, i) => {
    const mixed = pool[i % POOL] ^ hash;
    hash = Math.imul(hash, 0x58f38ded);
    const product = Math.imul(mixed, hash);
    return (product ^ (product >>> 16)) >>> 0;
  });
}

export class Random {
  /** @param {number | number[]} seed a whole number from 0 on, or several */
  constructor(seed) {
    const [s2, s3, s0, s1, i2, i3, i0, i1] = seeded(words(seed), 2 * POOL);
    this._0 = this._1 = this._2 = this._3 = 0; // the state, its lowest limb first
    this._i0 = ((i0 << 1) | 1) >>> 0; // the increment: twice the sequence, and one
    this._i1 = ((i1 << 1) | (i0 >>> 31)) >>> 0;
    this._i2 = ((i2 << 1) | (i1 >>> 31)) >>> 0;
    this._i3 = ((i3 << 1) | (i2 >>> 31)) >>> 0;
    this._high = this._low = 0; // of the last 64 bits
    this._kept = -1; // the upper half of 64 bits of which the lower was used; -1 is none
    this._step();
    this._add(s0, s1, s2, s3);
    this._step();
  }

  _add(i0, i1, i2, i3) {
    const s0 = this._0 + i0;
    const s1 = this._1 + i1 + (s0 >= LIMB ? 1 : 0);
    const s2 = this._2 + i2 + (s1 >= LIMB ? 1 : 0);
    this._3 = (this._3 + i3 + (s2 >= LIMB ? 1 : 0)) >>> 0;
    this._0 = s0 >>> 0;
    this._1 = s1 >>> 0;
    this._2 = s2 >>> 0;
  }

  /** Multiply the state by 0x2360ed051fc65da44385df649fccf645 and add the increment. */
  _step() {
    const s0 = this._0;
    const s1 = this._1;
    const s2 = this._2;
    const m0 = 0x9fccf645;
    const m1 = 0x4385df64;
    const m2 = 0x1fc65da4;
    const p1 = high(s0, m0) + (Math.imul(s0, m1) >>> 0) + (Math.imul(s1, m0) >>> 0);
    const p2 =
      high(s0, m1) + high(s1, m0) + Math.floor(p1 / LIMB) +
      (Math.imul(s0, m2) >>> 0) + (Math.imul(s1, m1) >>> 0) + (Math.imul(s2, m0) >>> 0);
    const p3 =
      high(s0, m2) + high(s1, m1) + high(s2, m0) + Math.floor(p2 / LIMB) + (Math.imul(s0, 0x2360ed05) >>> 0) +
      (Math.imul(s1, m2) >>> 0) + (Math.imul(s2, m1) >>> 0) + (Math.imul(this._3, m0) >>> 0);
    this._0 = Math.imul(s0, m0) >>> 0;
    this._1 = p1 >>> 0;
    this._2 = p2 >>> 0;
    this._3 = p3 >>> 0;
    this._add(this._i0, this._i1, this._i2, this._i3);
  }

  /** Draw 64 bits, into `_high` and `_low`. */
  _next64() {
    this._step();
    const low = this._0 ^ this._2;
    const up = this._1 ^ this._3;
    const by = this._3 >>> 26;
    const [a, b] = by & 32 ? [up, low] : [low, up];
    const shift = by & 31;
    this._low = (shift ? (a >>> shift) | (b << (32 - shift)) : a) >>> 0;
    this._high = (shift ? (b >>> shift) | (a << (32 - shift)) : b) >>> 0;
  }

  _next32() {
    if (this._kept >= 0) {
      const kept = this._kept;
      this._kept = -1;
      return kept;
    }
    this._next64();
    this._kept = this._high;
    return this._low;
  }

  _single() {
    return (this._next32() >>> 8) / 16777216;
  }

  /** A number in [0, 1). */
  random() {
    this._next64();
    return (this._high * 2097152 + (this._low >>> 11)) / 9007199254740992;
  }

  /** Numbers in [0, 1), in single precision. @param {number} count */
  random32(count) {
    return Float32Array.from({ length: count }, () => this._single());
  }

  /** Numbers from low to high. @param {number} low @param {number} high @param {number} count */
  uniform(low, high, count) {
    return Float64Array.from({ length: count }, () => low + (high - low) * this.random());
  }

  /** A whole number from 0 on, below `count`, which is at least 1. @param {number} count */
  integers(count) {
    if (!Number.isSafeInteger(count) || count < 1) {
      throw new Error(`a whole number is drawn from 1 or more, got ${count}`);
    }
    if (count === 1) return 0;
    if (count === LIMB) return this._next32();
    return count < LIMB ? this._below(count) : this._belowMany(BigInt(count));
  }

  /** Lemire's method (2019). @param {number} count @returns {number} */
  _below(count) {
    let drawn = this._next32();
    let left = Math.imul(drawn, count) >>> 0;
    if (left < count) {
      const least = (LIMB - count) % count;
      while (left < least) {
        drawn = this._next32();
        left = Math.imul(drawn, count) >>> 0;
      }
    }
    return high(drawn, count);
  }

  /** @param {bigint} count @returns {number} */
  _belowMany(count) {
    const least = ((1n << 64n) - count) % count;
    for (;;) {
      this._next64();
      const product = ((BigInt(this._high) << 32n) | BigInt(this._low)) * count;
      if (BigInt.asUintN(64, product) >= least) return Number(product >> 64n);
    }
  }

  /** The numbers from 0 on, below `count`, in a drawn order. @param {number} count */
  permutation(count) {
    const order = Int32Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i--) {
      const j = this._upTo(i);
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }

  /** A number up to `most`: what is drawn above it is thrown away. @param {number} most */
  _upTo(most) {
    const mask = 0xffffffff >>> Math.clz32(most);
    for (;;) {
      const drawn = (this._next32() & mask) >>> 0;
      if (drawn <= most) return drawn;
    }
  }

  /** Normal numbers. @param {number} count */
  standardNormal(count) {
    const out = new Float64Array(count);
    for (let i = 0; i < count; i++) out[i] = this._normal();
    return out;
  }

  /** Normal numbers in single precision, which NumPy draws otherwise. @param {number} count */
  standardNormal32(count) {
    const out = new Float32Array(count);
    for (let i = 0; i < count; i++) out[i] = this._normal32();
    return out;
  }

  _normal() {
    for (;;) {
      this._next64();
      const layer = this._low & 0xff;
      const negative = this._low & 0x100;
      const place = (this._high & 0x1fffffff) * 8388608 + (this._low >>> 9);
      const value = negative ? -place * WIDTH[layer] : place * WIDTH[layer];
      if (place < INSIDE[layer]) return value;
      if (layer === 0) return this._tail(this._low & 0x20000);
      const between = (HEIGHT[layer - 1] - HEIGHT[layer]) * this.random() + HEIGHT[layer];
      if (between < Math.exp(-0.5 * value * value)) return value;
    }
  }

  _tail(negative) {
    for (;;) {
      const x = -NORMAL_INVERSE * Math.log1p(-this.random());
      const y = -Math.log1p(-this.random());
      if (y + y > x * x) return negative ? -(NORMAL_RIGHT + x) : NORMAL_RIGHT + x;
    }
  }

  _normal32() {
    for (;;) {
      const drawn = this._next32();
      const layer = drawn & 0xff;
      const place = drawn >>> 9;
      const value = Math.fround((drawn & 0x100 ? -place : place) * width32[layer]);
      if (place < inside32[layer]) return value;
      if (layer === 0) return this._tail32(drawn & 0x20000);
      const drop = Math.fround(height32[layer - 1] - height32[layer]);
      const between = Math.fround(Math.fround(drop * Math.fround(this._single())) + height32[layer]);
      if (between < Math.exp(-0.5 * value * value)) return value;
    }
  }

  _tail32(negative) {
    for (;;) {
      const x = Math.fround(-inverse32 * Math.fround(Math.log1p(-this._single())));
      const y = Math.fround(-Math.log1p(-this._single()));
      if (Math.fround(y + y) > Math.fround(x * x)) {
        const value = Math.fround(right32 + x);
        return negative ? -value : value;
      }
    }
  }
}
