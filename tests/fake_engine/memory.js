/** A memory that knows nothing. */

export class Memory {
  static async load(wasm, bytes) {
    if (wasm[0] === 1) throw new RangeError("WebAssembly.Memory(): could not allocate memory");
    if (wasm[0] === 2) throw new Error("it is damaged");
    return Object.assign(new Memory(), { bytes });
  }

  layers = [["deconv1", 64], ["deconv2", 32]];
  labels = ["Am", "C"];
  units = 96;
}
