/** Plays a parcel's bars: `node conductor.mjs JOB`, a JSON file; what was played goes to its `out`. */

import { readFileSync, writeFileSync } from "node:fs";

import { Conductor } from "../../src/fugue_state/share/engine/conductor.js";
import { Random } from "../../src/fugue_state/share/engine/random.js";
import { takeText } from "../../src/fugue_state/share/engine/take.js";
import { readTensors } from "../../src/fugue_state/share/engine/tensors.js";

const job = JSON.parse(readFileSync(process.argv[2], "utf8"));

/** What a conductor asks of a memory. */
const memory = {
  labels: job.labels,
  latents(count, seed) {
    const values = new Random(seed).standardNormal(count * job.latentSize);
    return Array.from({ length: count }, (_, i) => {
      return Float32Array.from(values.subarray(i * job.latentSize, (i + 1) * job.latentSize));
    });
  },
  bend: (description) => description && { layers: () => {}, toJSON: () => "bent" },
};

const plain = (value) => (value instanceof Uint8Array ? { bytes: [...value] } : value);
const lists = (bar) => ({
  ...bar,
  strengths: [...bar.strengths],
  events: bar.events.map((event) => ({ ...event, latent: [...event.latent], strengths: [...event.strengths] })),
});

const piece = JSON.parse(readFileSync(job.piece, "utf8"));
const { tensors } = readTensors(readFileSync(job.arrays));
const conductor = new Conductor(piece, tensors, memory, job.block);
const bars = [];
for (let number = 0; number < job.blocks; number++) {
  const said = [];
  for (const [path, ...args] of job.hands[number] ?? []) {
    try {
      const value = args[0]?.bytes ? Uint8Array.from(args[0].bytes) : args[0];
      const back = conductor.back(path).map(([way, before]) => [way, plain(before)]);
      conductor.change(path, value);
      said.push(back);
    } catch (error) {
      if (error.name !== "InputError") throw error;
      said.push("refused");
    }
  }
  const bar = lists(conductor.step());
  const { values, position, playedS } = conductor;
  bars.push({ ...bar, said, values: { ...values }, position, playedS });
}
const { brushed, frozen, log, strengths } = conductor;
writeFileSync(
  job.out,
  JSON.stringify({
    bars,
    brushed: [...brushed],
    frozen: [...frozen],
    strengths: [...strengths],
    log,
    take: takeText(piece, log, conductor.position),
  }),
);
