/**
 * The compiled loops (kernels.c) and their memory. Arrays there are named by their address in bytes. Room is given out
 * as on a stack: what is taken within `within` is free again at its end; what is taken outside stays.
 */

const PAGE = 65536;
const PAGES = 16; // by which memory grows at least
const ALIGNED = 16; // bytes
const PANEL = 8; // columns of a product that kernels.c makes together
const TILE = 4; // ... and rows

/** @param {BufferSource} bytes kernels.wasm @returns {Promise<Kernels>} */
export async function loadKernels(bytes) {
  if (!WebAssembly.validate(bytes)) throw new Error("this browser is too old: its WebAssembly does not know vectors");
  const { instance } = await WebAssembly.instantiate(bytes, {});
  return new Kernels(instance.exports);
}

export class Kernels {
  /** @param {WebAssembly.Exports} calls the functions of kernels.c, by name */
  constructor(calls) {
    this.calls = calls;
    this._top = Math.ceil(calls.__heap_base.value / ALIGNED) * ALIGNED;
    this._look();
  }

  /** Bytes of its memory, which only grows. */
  get size() {
    return this.calls.memory.buffer.byteLength;
  }

  /** Make room. @param {number} count of floats @returns {number} the address */
  take(count) {
    const at = this._top;
    this._top += Math.ceil((4 * count) / ALIGNED) * ALIGNED;
    if (this._top > this.size) this._grow();
    return at;
  }

  _grow() {
    try {
      this.calls.memory.grow(Math.max(PAGES, Math.ceil((this._top - this.size) / PAGE)));
    } catch {
      throw new Error("there is not enough memory on this device");
    }
    this._look();
  }

  /** Growing detaches the views. */
  _look() {
    this.floats = new Float32Array(this.calls.memory.buffer);
    this.wholes = new Int32Array(this.calls.memory.buffer);
    this.doubles = new Float64Array(this.calls.memory.buffer);
  }

  /** Do something; afterwards the room taken in it is free. @template T @param {() => T} work @returns {T} */
  within(work) {
    const top = this._top;
    try {
      return work();
    } finally {
      this._top = top;
    }
  }

  /** Put an array into memory. @param {Float32Array | Int32Array | Float64Array} values @returns {number} */
  put(values) {
    const at = this.take((values.length * values.BYTES_PER_ELEMENT) / 4);
    this.write(at, values);
    return at;
  }

  /** @param {number} at @param {Float32Array | Int32Array | Float64Array} values */
  write(at, values) {
    if (values instanceof Float64Array) this.doubles.set(values, at >> 3);
    else (values instanceof Int32Array ? this.wholes : this.floats).set(values, at >> 2);
  }

  /** A copy of floats. @param {number} at @param {number} count @returns {Float32Array} */
  read(at, count) {
    return this.floats.slice(at >> 2, (at >> 2) + count);
  }

  /** @param {number} at @param {number} count @returns {Float64Array} */
  readDoubles(at, count) {
    return this.doubles.slice(at >> 3, (at >> 3) + count);
  }

  /** Set floats to 0. @param {number} count @returns {number} where they are */
  zeros(count) {
    const at = this.take(count);
    this.floats.fill(0, at >> 2, (at >> 2) + count);
    return at;
  }

  /** Room for rows, as `Matrix.times` writes them. @param {number} rows @param {number} columns @returns {number} */
  rows(rows, columns) {
    return this.take((rows > 1 ? Math.ceil(rows / TILE) * TILE : 1) * columns);
  }
}

/** The cosine and sine of e^(-2 pi i n / size), for `transform`. @param {number} size @returns {Float32Array} */
export function turns(size) {
  const table = new Float32Array(2 * size);
  for (let n = 0; n < size; n++) {
    table[2 * n] = Math.cos((2 * Math.PI * n) / size);
    table[2 * n + 1] = -Math.sin((2 * Math.PI * n) / size);
  }
  return table;
}

/** Weights (inputs, outputs), packed for multiplying rows with them. */
export class Matrix {
  /**
   * @param {Kernels} kernels
   * @param {Float32Array} weights
   * @param {{inputs: number, units: number, places?: number, byInput: number, byUnit: number, byPlace?: number}} order
   *   output n is unit n % units at the place n / units; the steps between neighbours in `weights`
   * @param {Float32Array | null} bias for every output
   */
  constructor(kernels, weights, { inputs, units, places = 1, byInput, byUnit, byPlace = 0 }, bias = null) {
    this._kernels = kernels;
    this.inputs = inputs;
    this.outputs = units * places;
    const wide = Math.ceil(this.outputs / PANEL) * PANEL;
    this._packed = kernels.take(inputs * wide);
    this._bias = bias ? kernels.zeros(wide) : 0;
    if (bias) kernels.write(this._bias, bias);
    kernels.within(() => {
      const from = kernels.put(weights);
      kernels.calls.pack(from, inputs, this.outputs, units, byInput, byUnit, byPlace, this._packed);
    });
  }

  /**
   * Multiply rows (R, inputs), and add the bias. With a `list`, only these `count` inputs are other than 0.
   * @param {number} x @param {number} rows @param {number} out @param {number} list @param {number} count
   */
  times(x, rows, out, list = 0, count = 0) {
    const { inputs, outputs } = this;
    this._kernels.calls.product(x, rows, inputs, list, count, this._packed, this._bias, out, outputs);
  }
}

/** An affine map of rows, with weights (outputs, inputs). */
export class Linear extends Matrix {
  /** @param {Kernels} kernels @param {Map<string, import("./tensors.js").Tensor>} tensors @param {string} name */
  constructor(kernels, tensors, name) {
    const { shape: [units, inputs], data } = tensors.get(`${name}.weight`);
    super(kernels, data, { inputs, units, byInput: 1, byUnit: inputs }, tensors.get(`${name}.bias`).data);
  }
}
