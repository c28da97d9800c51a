/** The effects that every sound passes through: tone control, then the room. */

import { Fft } from "./fft.js";

const PARTITION = 2048; // cheap for blocks of 1024 samples

/** A tilt of the spectrum: a first-order filter for interleaved stereo. */
class Tilt {
  /** @param {{now: number, before: number, back: number} | null} tone */
  constructor(tone) {
    this.tone = tone;
    this.clear();
  }

  clear() {
    this.left = [0, 0];
  }

  /** Filter a block (2 N) in place. @param {Float32Array} block */
  apply(block) {
    if (!this.tone) return;
    const { now, before, back } = this.tone;
    for (let channel = 0; channel < 2; channel++) {
      let left = this.left[channel];
      for (let n = channel; n < block.length; n += 2) {
        const made = now * block[n] + left;
        left = before * block[n] - back * made;
        block[n] = made;
      }
      this.left[channel] = left;
    }
  }
}

/**
 * Convolution with a stereo impulse response, uniformly partitioned, without latency: both ears share one transform,
 * the left as the real part, the right as the imaginary part.
 */
export class Convolver {
  /** @param {Float32Array} impulse interleaved (2 N) @param {number} [partition] */
  constructor(impulse, partition = PARTITION) {
    this.partition = partition;
    this.fft = new Fft(2 * partition);
    this.responses = [];
    for (let start = 0; start < impulse.length / 2; start += partition) {
      this.responses.push(this.#spectrum(impulse.subarray(2 * start, 2 * (start + partition))));
    }
    this.re = new Float64Array(2 * partition);
    this.im = new Float64Array(2 * partition);
    this.total = both(partition);
    this.clear();
  }

  /** Forget everything that rings. */
  clear() {
    const { partition } = this;
    this.left = new Float64Array(2 * partition); // the last partition of the input, and the one that is filled
    this.right = new Float64Array(2 * partition);
    this.filled = 0;
    this.spectra = []; // of earlier windows, the newest first
    this.ringing = new Float32Array(2 * partition); // what they add to the partition that is filled
  }

  /** Convolve a block (2 N). @param {Float32Array} block @returns {Float32Array} */
  apply(block) {
    const out = new Float32Array(block.length);
    for (let start = 0; start < block.length; ) {
      const count = Math.min(block.length / 2 - start / 2, this.partition - this.filled);
      this.#part(block.subarray(start, start + 2 * count), out.subarray(start, start + 2 * count));
      start += 2 * count;
    }
    return out;
  }

  /** Convolve a part that does not reach past the end of the partition. */
  #part(part, out) {
    const { partition, filled, left, right, ringing } = this;
    const count = part.length / 2;
    for (let n = 0; n < count; n++) {
      left[partition + filled + n] = part[2 * n];
      right[partition + filled + n] = part[2 * n + 1];
    }
    this.re.set(left);
    this.im.set(right);
    this.fft.forward(this.re, this.im);
    const window = this.#apart(this.re, this.im);
    this.#clearTotal();
    this.#add(window, this.responses[0]);
    this.#back();
    for (let n = 0; n < count; n++) {
      const place = filled + n;
      out[2 * n] = this.re[partition + place] + ringing[2 * place];
      out[2 * n + 1] = this.im[partition + place] + ringing[2 * place + 1];
    }
    this.filled += count;
    if (this.filled === partition) this.#next(window);
  }

  /** Begin a new partition. */
  #next(window) {
    const { partition, left, right } = this;
    this.spectra.unshift(window);
    this.spectra.length = Math.min(this.spectra.length, this.responses.length - 1);
    this.#clearTotal();
    for (const [i, past] of this.spectra.entries()) this.#add(past, this.responses[i + 1]);
    this.#back();
    for (let n = 0; n < partition; n++) {
      this.ringing[2 * n] = this.re[partition + n];
      this.ringing[2 * n + 1] = this.im[partition + n];
    }
    for (const side of [left, right]) {
      side.copyWithin(0, partition);
      side.fill(0, partition);
    }
    this.filled = 0;
  }

  /** The spectra of both ears of samples (2 n). */
  #spectrum(samples) {
    const re = new Float64Array(this.fft.size);
    const im = new Float64Array(this.fft.size);
    for (let n = 0; n < samples.length / 2; n++) {
      re[n] = samples[2 * n];
      im[n] = samples[2 * n + 1];
    }
    this.fft.forward(re, im);
    return this.#apart(re, im);
  }

  /** Take the spectra of two real signals out of that of their sum, one real, one imaginary. */
  #apart(re, im) {
    const { partition, fft } = this;
    const made = both(partition);
    for (let k = 0; k <= partition; k++) {
      const other = (fft.size - k) % fft.size;
      made[0][k] = (re[k] + re[other]) / 2;
      made[1][k] = (im[k] - im[other]) / 2;
      made[2][k] = (im[k] + im[other]) / 2;
      made[3][k] = (re[other] - re[k]) / 2;
    }
    return made;
  }

  #clearTotal() {
    for (const part of this.total) part.fill(0);
  }

  /** Add the product of two spectra of both ears to the total. */
  #add(one, other) {
    for (let ear = 0; ear < 4; ear += 2) {
      addProduct(one[ear], one[ear + 1], other[ear], other[ear + 1], this.total[ear], this.total[ear + 1]);
    }
  }

  /** Turn the total into samples: the left ear in `re`, the right one in `im`. */
  #back() {
    const { re, im, fft, partition } = this;
    const [leftRe, leftIm, rightRe, rightIm] = this.total;
    for (let k = 0; k <= partition; k++) {
      re[k] = leftRe[k] - rightIm[k];
      im[k] = leftIm[k] + rightRe[k];
      if (k > 0 && k < partition) {
        re[fft.size - k] = leftRe[k] + rightIm[k];
        im[fft.size - k] = rightRe[k] - leftIm[k];
      }
    }
    fft.inverse(re, im);
  }
}

/** Add (a + ib) (c + id) to a spectrum. A function of its own, since it takes most of the room's time. */
function addProduct(a, b, c, d, real, imaginary) {
  for (let k = 0; k < real.length; k++) {
    real[k] += a[k] * c[k] - b[k] * d[k];
    imaginary[k] += a[k] * d[k] + b[k] * c[k];
  }
}

/** Real and imaginary parts (F,) of the left ear's spectrum, then of the right ear's. @param {number} partition */
function both(partition) {
  return Array.from({ length: 4 }, () => new Float32Array(partition + 1));
}

/** Tone control and reverb of a piece. */
export class Chain {
  /** @param {{tone: any, wet_db: number}} sound @param {Float32Array} impulse (2 N) */
  constructor(sound, impulse) {
    this.tilt = new Tilt(sound.tone);
    this.sent = new Tilt(sound.tone); // of what the room hears, where that is not the mix
    this.convolver = new Convolver(impulse);
    this.wet = 10 ** (sound.wet_db / 20);
  }

  /** Cut off what rings. */
  clear() {
    this.tilt.clear();
    this.sent.clear();
    this.convolver.clear();
  }

  /**
   * Filter a mix (2 N) in place, and add the room, which hears the mix or what is sent to it.
   * @param {Float32Array} mix @param {Float32Array | null} [send]
   */
  apply(mix, send = null) {
    this.tilt.apply(mix);
    if (send) this.sent.apply(send);
    const wet = this.convolver.apply(send ?? mix);
    for (let n = 0; n < mix.length; n++) mix[n] += this.wet * wet[n];
  }
}
