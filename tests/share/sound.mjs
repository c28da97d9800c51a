/** What the engine of a shared page makes of the numbers on standard input, as JSON; Python compares. */

import { readFileSync } from "node:fs";

const engine = new URL("../../src/fugue_state/share/engine/", import.meta.url);
const load = (name) => import(new URL(name, engine));
const { Chain } = await load("chain.js");
const { Converter } = await load("filters.js");
const { envelope, Level } = await load("level.js");
const { Limiter } = await load("limiter.js");
const { LoudnessMeter } = await load("loudness.js");
const { Voice } = await load("voice.js");

const asked = JSON.parse(readFileSync(0, "utf8"));
const floats = (values) => Float32Array.from(values);
const cut = (values, sizes) => {
  let at = 0;
  return sizes.map((size) => floats(values).slice(at, (at += size)));
};
const joined = (parts) => parts.flatMap((part) => [...part]);

const does = {
  chain({ sound, impulse, blocks, sizes }) {
    const chain = new Chain(sound, floats(impulse));
    return joined(
      cut(blocks, sizes).map((block) => {
        chain.apply(block);
        return block;
      }),
    );
  },
  limiter({ ceiling, rate, look_ahead_s, blocks, sizes }) {
    const limiter = new Limiter(ceiling, rate, look_ahead_s);
    return joined(cut(blocks, sizes).map((block) => limiter.apply(block)));
  },
  converter({ from, to, sound, count }) {
    const converter = new Converter(from, to);
    const begin = converter.first(0);
    const out = new Float32Array(count);
    converter.convert(floats([...new Array(-begin).fill(0), ...sound]), begin, 0, out);
    return { out: [...out], needed: converter.needed(count), first: converter.first(count) };
  },
  level({ level, weights, spec, mel, frames, level_db, length, rate, config }) {
    const { gain, taken_db } = envelope(length, rate, config);
    const made = new Level(level, floats(weights), spec).gain(floats(mel), frames, level_db, gain, taken_db);
    return { envelope: [...gain], taken_db, gain: made };
  },
  /** A voice that would sound 1 for `length` samples, at one rate. */
  voice({ held, release_s, rate, length, blocks }) {
    const stream = {
      latency: 0,
      open: 0,
      spec: { hop: 100, sample_rate_hz: rate },
      start: () => null,
      step: (_, count) => ({ sound: new Float32Array(100 * count).fill(1), state: null }),
    };
    const event = { pan: 0, held };
    const ones = new Float32Array(length).fill(1);
    const mel = new Float32Array(40);
    const made = { event, mel, frames: 40, activations: ones, steps: 1, envelope: ones, gain: 1, trail: null };
    const voice = new Voice(made, stream, rate, new Converter(rate, rate), release_s);
    const parts = blocks.map((count) => {
      const mix = new Float32Array(2 * count);
      voice.read(count);
      voice.play(count, 0, { mix, send: null, gate: new Float32Array(count).fill(1) });
      return [mix, voice.over];
    });
    return { samples: joined(parts.map(([mix]) => mix)), over: parts.map(([, over]) => over) };
  },
  meter({ rate, blocks, sizes }) {
    const meter = new LoudnessMeter(rate);
    return cut(blocks, sizes).map((block) => {
      meter.add(block);
      return meter.momentary_lufs;
    });
  },
};

process.stdout.write(JSON.stringify(does[asked.do](asked)));
