/** Plays a parcel: writes its first blocks into the folder, and prints what else there is to compare as JSON. */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const engine = new URL("../../src/fugue_state/share/engine/", import.meta.url);
const load = (name) => import(new URL(name, engine));
const { Memory } = await load("memory.js");
const { Performance } = await load("performance.js");
const { readTensors } = await load("tensors.js");

const [folder, count] = process.argv.slice(2);
const read = (name) => new Uint8Array(readFileSync(join(folder, name)));
const moves = JSON.parse(readFileSync(join(folder, "moves.json"), "utf8"));
const memory = await Memory.load(readFileSync(new URL("kernels.wasm", engine)), read("memory.safetensors"));
const piece = JSON.parse(readFileSync(join(folder, "piece.json"), "utf8"));
const performance_ = new Performance(piece, readTensors(read("arrays.safetensors")).tensors, memory);
const samples = new Float32Array(2 * performance_.block * Number(count));
const told = [];
const began = performance.now();
for (let i = 0; i < Number(count); i++) {
  for (const [path, value] of moves[i] ?? []) performance_.change(path, value);
  const { position, samples: own, chord, strengths, activations, mel, peak, lufs, overloaded } = performance_.next();
  samples.set(own, i * own.length);
  told.push({ position, chord, peak, lufs, overloaded, strengths: sum(strengths), fires: sum(activations), mel: sum(mel) });
}
const took_ms = performance.now() - began;
writeFileSync(join(folder, "samples.f32"), samples);
process.stdout.write(JSON.stringify({ told, took_ms, block_ms: (1000 * performance_.block) / performance_.rate }));

/** @param {Float32Array} values */
function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}
