/** Reads safetensors files: a length, a header of JSON, then the tensors' bytes. */

const READERS = {
  F64: (bytes) => new Float64Array(bytes),
  F32: (bytes) => new Float32Array(bytes),
  F16: (bytes) => doubled(new Uint16Array(bytes)),
  I64: (bytes) => Float64Array.from(new BigInt64Array(bytes), Number),
  I32: (bytes) => new Int32Array(bytes),
  I16: (bytes) => new Int16Array(bytes),
  I8: (bytes) => new Int8Array(bytes),
  U32: (bytes) => new Uint32Array(bytes),
  U16: (bytes) => new Uint16Array(bytes),
  U8: (bytes) => new Uint8Array(bytes),
  BOOL: (bytes) => new Uint8Array(bytes),
};

/** @typedef {{shape: number[], data: Float32Array}} Tensor as most are; others hold whole numbers or doubles */

/**
 * Read a safetensors file. Half precision becomes single, whole numbers of 64 bits become doubles.
 * @param {Uint8Array} bytes
 * @returns {{metadata: Object<string, string>, tensors: Map<string, Tensor>}}
 */
export function readTensors(bytes) {
  const { header, start } = headerOf(bytes);
  const { __metadata__: metadata = {}, ...entries } = header;
  const tensors = new Map();
  for (const [name, { dtype, shape, data_offsets: [first, end] }] of Object.entries(entries)) {
    const read = READERS[dtype];
    if (!read) throw new Error(`the tensor ${name} is of a kind that is not known here, ${dtype}`);
    if (start + end > bytes.length) throw new Error(`the file ends within the tensor ${name}`);
    const at = bytes.byteOffset + start;
    const copy = bytes.buffer.slice(at + first, at + end); // lies at an even address
    tensors.set(name, { shape, data: read(copy) });
  }
  return { metadata, tensors };
}

/** @param {Uint8Array} bytes @returns {{header: Object, start: number}} */
function headerOf(bytes) {
  try {
    const length = Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true));
    const text = new TextDecoder().decode(bytes.subarray(8, 8 + length));
    return { header: JSON.parse(text), start: 8 + length };
  } catch {
    throw new Error("this is no safetensors file, or it is damaged");
  }
}

/** Half precision to single. @param {Uint16Array} halves @returns {Float32Array} */
function doubled(halves) {
  const bits = new Uint32Array(halves.length);
  const out = new Float32Array(bits.buffer);
  for (let i = 0; i < halves.length; i++) {
    const sign = (halves[i] & 0x8000) << 16;
    const exponent = (halves[i] >> 10) & 31;
    const fraction = halves[i] & 1023;
    if (exponent === 0) out[i] = (sign ? -fraction : fraction) / 16777216; // 0 and what is below normal
    else bits[i] = sign | ((exponent === 31 ? 255 : exponent + 112) << 23) | (fraction << 13);
  }
  return out;
}
