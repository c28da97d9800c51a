/** Tensors that nobody reads. */

export function readTensors(bytes) {
  return { metadata: {}, tensors: new Map([["all", { shape: [bytes.length], data: bytes }]]) };
}
