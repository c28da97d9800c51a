/** A complex FFT of one length, a power of two: radix 2, in place, in double precision. */

export class Fft {
  /** @param {number} size */
  constructor(size) {
    this.size = size;
    this.cos = new Float64Array(size / 2);
    this.sin = new Float64Array(size / 2);
    for (let k = 0; k < size / 2; k++) {
      this.cos[k] = Math.cos((2 * Math.PI * k) / size);
      this.sin[k] = -Math.sin((2 * Math.PI * k) / size);
    }
    this.swapped = new Uint32Array(size);
    const bits = Math.log2(size);
    for (let i = 1; i < size; i++) this.swapped[i] = (this.swapped[i >> 1] >> 1) | ((i & 1) << (bits - 1));
  }

  /** Transform in place. @param {Float64Array} re @param {Float64Array} im */
  forward(re, im) {
    const { size, cos, sin, swapped } = this;
    for (let i = 0; i < size; i++) {
      const j = swapped[i];
      if (j > i) {
        [re[i], re[j]] = [re[j], re[i]];
        [im[i], im[j]] = [im[j], im[i]];
      }
    }
    for (let half = 1, step = size / 2; half < size; half *= 2, step /= 2) {
      for (let start = 0; start < size; start += 2 * half) {
        for (let k = 0, turn = 0; k < half; k++, turn += step) {
          const low = start + k;
          const high = low + half;
          const real = re[high] * cos[turn] - im[high] * sin[turn];
          const imaginary = re[high] * sin[turn] + im[high] * cos[turn];
          re[high] = re[low] - real;
          im[high] = im[low] - imaginary;
          re[low] += real;
          im[low] += imaginary;
        }
      }
    }
  }

  /** Transform back in place, divided by the size. @param {Float64Array} re @param {Float64Array} im */
  inverse(re, im) {
    this.forward(im, re); // with the parts exchanged, forward is backward
    for (let i = 0; i < this.size; i++) {
      re[i] /= this.size;
      im[i] /= this.size;
    }
  }
}
