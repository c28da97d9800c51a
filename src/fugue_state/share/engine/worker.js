/** The engine in its worker: loads what travels in the page, and lets a session play it. */

import { Memory } from "./memory.js";
import { Performance } from "./performance.js";
import { Session } from "./session.js";
import { takeText } from "./take.js";
import { readTensors } from "./tensors.js";
import { inflated, tensors } from "./unpack.js";

/**
 * @typedef {{kernels: string, memory: string, arrays: string, piece: string}} Payloads each as text
 * @typedef {{payloads: Payloads, settings: import("./session.js").Settings & {memory: string}}} Load
 */

const WARM = 12; // blocks that are played for nobody, since what runs for the first time runs slowly

const tell = (message) => postMessage(message);

/** @param {Load} load @returns {Promise<Session>} */
async function open({ payloads, settings }) {
  const [wasm, weights, packed, text] = await Promise.all([
    inflated(payloads.kernels),
    tensors(payloads.memory),
    tensors(payloads.arrays),
    inflated(payloads.piece),
  ]);
  const piece = JSON.parse(new TextDecoder().decode(text));
  const memory = await Memory.load(wasm, weights);
  const arrays = readTensors(packed).tensors;
  const about = { name: settings.memory, layers: memory.layers, chords: memory.labels, units: memory.units };
  const { rate_hz: rate, full_activation } = piece.sound;
  const end_s = piece.samples === null ? null : piece.samples / rate;
  const begin = () => new Performance(piece, arrays, memory);
  const keep = ({ log, position }) => takeText(piece, log, position);
  const session = new Session(begin, about, { ...settings, end_s, full_activation }, tell, keep);
  const unheard = begin();
  for (let i = 0; i < WARM; i++) unheard.next();
  return session;
}

/** @type {Promise<Session | null>} */ let session;

/** @param {any} error */
function fail(error) {
  const short = error instanceof RangeError || error instanceof WebAssembly.RuntimeError;
  const why = short ? "This device has too little memory for the piece." : `The piece cannot be opened: ${error.message}`;
  tell({ type: "bye", reason: why });
  return null;
}

onmessage = async ({ data }) => {
  if (data.payloads) session = open(data).catch(fail);
  else if (data.player) (await session)?.connect(data.player);
  else (await session)?.hear(data);
};
