/** Does with the page's memory what tests/test_share_memory.py asks: node memory.mjs asked made */

import { readFileSync } from "node:fs";

import { Memory } from "../../src/fugue_state/share/engine/memory.js";
import { Random } from "../../src/fugue_state/share/engine/random.js";
import { readAsked, writeArrays } from "./files.mjs";

const WASM = new URL("../../src/fugue_state/share/engine/kernels.wasm", import.meta.url);
const [asked, made] = process.argv.slice(2);
const { tasks, arrays } = readAsked(asked);
const out = new Map();
let memory = null;

const array = (name) => (name ? Float32Array.from(arrays.get(name).data) : null);
const wish = (task) => ({
  latent: array(task.latent),
  label: task.label ?? null,
  strengths: array(task.strengths),
  frames: task.frames ?? null,
  bend: memory.bend(task.bend ?? null, arrays),
});

/** The frames (n, M) from one on of a mel (M, T). */
function framesOf({ mel, from, count }) {
  const { shape: [bands, length], data } = arrays.get(mel);
  const at = (i) => (i % bands) * length + from + Math.floor(i / bands);
  return Float32Array.from({ length: count * bands }, (_, i) => data[at(i)]);
}

const deeds = {
  async load({ path }) {
    memory = await Memory.load(readFileSync(WASM), readFileSync(path));
  },
  async unloaded({ name, path, wasm = [] }) {
    const bytes = wasm.length ? Uint8Array.from(wasm) : readFileSync(WASM);
    const said = await Memory.load(bytes, readFileSync(path)).then(() => "", (error) => error.message);
    out.set(name, Uint8Array.from(Buffer.from(said)));
  },
  read({ name }) {
    for (const [key, { data }] of arrays) out.set(`${name}.${key}`, Float64Array.from(data));
  },
  random({ name, seed, count, below }) {
    const draw = (kind, values) => out.set(`${name}.${kind}`, values);
    draw("normal", new Random(seed).standardNormal(count));
    draw("normal32", new Random(seed).standardNormal32(count));
    draw("uniform", new Random(seed).uniform(-2, 5, count));
    draw("random32", new Random(seed).random32(count));
    draw("permutation", new Random(seed).permutation(97));
    const random = new Random(seed);
    const mixed = below.flatMap((most) => [random.integers(most), random.random(), random.random32(1)[0]]);
    draw("mixed", Float64Array.from(mixed));
  },
  latents({ name, count, seed }) {
    memory.latents(count, seed).forEach((latent, i) => out.set(`${name}.${i}`, latent));
  },
  generate(task) {
    const { mel, activations } = memory.generate(wish(task));
    out.set(`${task.name}.mel`, mel);
    out.set(`${task.name}.activations`, activations);
  },
  maps(task) {
    const { latent, label, strengths, frames: wished, bend } = wish(task);
    const frames = wished ?? undefined;
    const seen = (layer, { at, height, width, units }) => {
      out.set(`${task.name}.${layer}`, memory.kernels.read(at, height * width * units));
    };
    const bends = bend && bend.layers(frames);
    memory._generator.generate(latent, memory.labelIndex(label), strengths, { frames, bends, seen });
  },
  trail(task) {
    const trail = memory.trail();
    for (const [i, strengths] of task.strengths.entries()) {
      const what = wish({ ...task, strengths });
      const [kept, fresh] = [memory.generate({ ...what, trail }), memory.generate(what)];
      out.set(`${task.name}.${i}.kept`, kept.mel);
      out.set(`${task.name}.${i}.fresh`, fresh.mel);
      out.set(`${task.name}.${i}.activations.kept`, kept.activations);
      out.set(`${task.name}.${i}.activations.fresh`, fresh.activations);
    }
  },
  stream({ name, seed, learned, readings }) {
    const stream = memory.stream(seed, { learned });
    let state = stream.start();
    const parts = readings.map((reading) => {
      const { sound, state: after } = stream.step(framesOf(reading), reading.count, state, { anew: reading.anew });
      if (!reading.dropped) state = after;
      return reading.dropped ? new Float32Array(0) : sound;
    });
    out.set(name, Float32Array.from(parts.flatMap((part) => [...part])));
    out.set(`${name}.end`, stream.finish(state));
    out.set(`${name}.late`, Int32Array.of(stream.latency, stream.open));
  },
  whole({ name, seed, learned, mel, count }) {
    out.set(name, memory.stream(seed, { learned }).whole(framesOf({ mel, from: 0, count }), count));
  },
  magnitudes({ name, learned, mel, count }) {
    const stream = memory.stream(0, { learned });
    out.set(name, stream._predict(framesOf({ mel, from: 0, count }), stream.start()).magnitude);
  },
  play({ name, seed, magnitude }) {
    const stream = memory.stream(seed, { learned: false });
    const { sound, state } = stream._play(array(magnitude), stream.start());
    out.set(name, sound);
    out.set(`${name}.phase`, state.phase);
    out.set(`${name}.turn`, state.turn);
  },
  sizes(task) {
    const trail = memory.trail();
    const stream = memory.stream(1);
    const frame = new Float32Array(memory.spec.n_mels).fill(-0.5);
    const sizes = [];
    let state = stream.start();
    for (let i = 0; i < task.times; i++) {
      memory.generate({ ...wish(task), trail: i % 2 ? trail : null });
      state = stream.step(frame, 1, state).state;
      if (i % 100 === 99) sizes.push(memory.kernels.size);
    }
    out.set(`${task.name}`, Int32Array.from(sizes));
  },
  refused({ name, attempts }) {
    const said = attempts.map((attempt) => {
      try {
        deeds[attempt.do](attempt);
        return "";
      } catch (error) {
        return error.message;
      }
    });
    out.set(name, Uint8Array.from(Buffer.from(said.join("\n"))));
  },
};

for (const task of tasks) await deeds[task.do](task);
writeArrays(made, out);
