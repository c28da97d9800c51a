/** What travels in a page as text, as bytes again: base64, deflated, and of tensors the first bytes of all numbers first. */

const SIZES = new Map([["F64", 8], ["I64", 8], ["F32", 4], ["I32", 4], ["U32", 4], ["F16", 2], ["I16", 2], ["U16", 2]]);
const PART = 1 << 20; // characters that are decoded at a time; a multiple of four

/** @param {string} text base64 @returns {Uint8Array<ArrayBuffer>} */
function decoded(text) {
  const bytes = new Uint8Array(Math.ceil(text.length / 4) * 3);
  let end = 0;
  for (let at = 0; at < text.length; at += PART) {
    const part = atob(text.slice(at, at + PART));
    for (let i = 0; i < part.length; i++) bytes[end++] = part.charCodeAt(i);
  }
  return bytes.subarray(0, end);
}

/** @param {string} text base64 of what zlib has deflated @returns {Promise<Uint8Array<ArrayBuffer>>} */
export async function inflated(text) {
  const stream = new Blob([decoded(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** A file of tensors (safetensors) as it was before its numbers were taken apart. @param {string} text */
export async function tensors(text) {
  const packed = await inflated(text);
  const length = Number(new DataView(packed.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(packed.subarray(8, 8 + length)));
  const whole = packed.slice();
  for (const { dtype, data_offsets: ends } of Object.values(header)) {
    const size = SIZES.get(dtype);
    if (size) join(packed.subarray(8 + length + ends[0], 8 + length + ends[1]), whole, 8 + length + ends[0], size);
  }
  return whole;
}

/** Put the bytes of each number side by side. */
function join(planes, whole, start, size) {
  const count = planes.length / size;
  for (let plane = 0; plane < size; plane++) {
    const from = plane * count;
    for (let i = 0; i < count; i++) whole[start + i * size + plane] = planes[from + i];
  }
}
