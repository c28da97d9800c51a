/** Reads what a test asks, and writes arrays for it. */

import { readFileSync, writeFileSync } from "node:fs";

import { readTensors } from "../../src/fugue_state/share/engine/tensors.js";

const KINDS = { Float32Array: "F32", Float64Array: "F64", Int32Array: "I32", Uint8Array: "U8" };

/** @param {string} path @returns {{tasks: Object[], arrays: Map}} */
export function readAsked(path) {
  const { metadata, tensors } = readTensors(readFileSync(path));
  return { tasks: JSON.parse(metadata.tasks), arrays: tensors };
}

/** @param {string} path @param {Map<string, Float32Array | Float64Array | Int32Array | Uint8Array>} arrays */
export function writeArrays(path, arrays) {
  const header = {};
  let size = 0;
  for (const [name, values] of arrays) {
    const end = size + values.byteLength;
    header[name] = { dtype: KINDS[values.constructor.name], shape: [values.length], data_offsets: [size, end] };
    size = end;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const parts = [...arrays.values()].map((values) => Buffer.from(values.buffer, values.byteOffset, values.byteLength));
  writeFileSync(path, Buffer.concat([length, text, ...parts]));
}
