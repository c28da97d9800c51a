/** Bytes in JSON, as base64. */

/** @param {Uint8Array} bytes @returns {string} base64 */
export function encode(bytes) {
  return btoa(String.fromCharCode(...bytes));
}

/** @param {string} text base64 @returns {Uint8Array} */
export function decode(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}
