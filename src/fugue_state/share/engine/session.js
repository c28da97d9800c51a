/**
 * The session of a shared page: plays a performance as fast as it is heard, follows hands, and tells how all is, in the
 * messages of the live page's server. It uses no timers: what was heard asks for more.
 */

import { decode, encode } from "./bytes.js";
import { dying } from "./dying.js";
import { Pace } from "./pace.js";

const ENDING_S = 0.5; // in which the sound fades where a take ends
const STANDS = /^\/(forget|volume|grid\/\d+|layer\/\d+\/forget|unit\/\d+\/\d+\/strength)$/;
const BYTES = /^\/(grid|hold)\//; // whose values are bytes
const OURS = new Set(["/play", "/hush", "/volume", "/quality"]); // that stay when all else is given back
const ALWAYS = new Set(["/play", "/hush"]); // whoever may play along
const OF_LAYERS = [["grid", "brushed"], ["strengths", "strengths"], ["frozen", "frozen"]];
const MUTED = "The sound ran away and is muted for a moment.";

/**
 * @typedef {Object} Settings
 * @property {boolean} locked nobody may play along @property {number | null} end_s of a take
 * @property {number} frames_per_s of pictures @property {number} units_per_s how often units are told of
 * @property {import("./pace.js").Limits} pace @property {number} full_activation
 * @typedef {{id: number, path: string, args: any[]}} Wish
 */

export class Session {
  /**
   * @param {() => any} begin makes a performance from its beginning @param {any} memory what `welcome` says of it
   * @param {Settings} settings @param {(message: any) => void} tell
   * @param {(performance: any) => string} keep makes a take of what was done
   */
  constructor(begin, memory, settings, tell, keep) {
    this.begin = begin;
    this.keep = keep;
    this.memory = memory;
    this.settings = settings;
    this.tell = tell;
    /** @type {MessagePort | null} */ this.player = null;
    /** @type {Map<string, Wish[]>} */ this.asked = new Map();
    this.sent = 0; // samples that went to the player
    this.played = 0;
    this.cushion = 0; // samples that shall wait to be heard
    this.offset = 0; // from a performance's position to the sample that is heard
    this.rev = 0;
    this.turns = new MessageChannel(); // so that messages come between two blocks
    this.turns.port1.onmessage = () => this.#turn();
    this.turning = false;
    this.#open();
  }

  #open() {
    this.performance = this.begin();
    this.values = this.performance.values;
    this.units = this.#copied();
    this.state = "armed";
    /** @type {Map<string, any>} what takes back what hands did, by path */ this.hands = new Map();
    this.logged = this.performance.log.length;
    this.shown = -1;
    this.told = 0;
    this.ran = false; // away, in the last block
    this.last = new Float32Array(2 * this.performance.block);
    this.pace = new Pace(this.settings.pace, this.values["/quality"], (text) => this.#notice("warning", text));
    this.#welcome();
  }

  /** First sample of the next block. */
  get at() {
    return this.offset + this.performance.position;
  }

  #welcome() {
    const { performance, units, rev } = this;
    const grid = Object.fromEntries(Object.entries(units).map(([name, values]) => [name, levels(values)]));
    this.tell({
      type: "welcome",
      session: "",
      rev,
      values: { ...this.values, "/play": 0 },
      memory: this.memory,
      grid,
      state: this.state,
      rate: performance.rate,
      block: performance.block,
      latency_samples: performance.latency,
      view: this.settings.locked,
    });
  }

  #notice(level, text) {
    this.tell({ type: "notice", level, text });
  }

  #copied() {
    const { strengths, brushed, frozen } = this.performance;
    return { strengths: strengths.slice(), brushed: brushed.slice(), frozen: frozen.slice() };
  }

  /** Send sound to a player from now on. @param {MessagePort} player */
  connect(player) {
    this.player = player;
    this.sent = this.played = 0;
    player.onmessage = ({ data }) => {
      this.played = data.played;
      this.cushion = data.cushion;
      this.#go();
    };
  }

  /** Play on, if less sound waits than should. */
  #go() {
    if (this.turning || !this.player || !this.#goes) return;
    if (this.sent - this.played >= this.cushion + this.performance.block) return;
    this.turning = true;
    this.turns.port2.postMessage(0);
  }

  get #goes() {
    return this.state !== "armed" && this.state !== "ended" && this.state !== "failed";
  }

  // What hands do.

  /** Do what the page asks for. @param {any} message */
  hear(message) {
    if (message.type === "set") this.#set(message);
    else if (message.type === "back") this.#giveBack();
    else if (message.type === "keep") this.#keep();
  }

  #keep() {
    try {
      this.tell({ type: "take", text: this.keep(this.performance) });
    } catch (error) {
      this.#notice("warning", error.message);
    }
  }

  /** @param {Wish} wish */
  #set(wish) {
    const { path, id, args } = wish;
    if (this.settings.locked && !ALWAYS.has(path)) {
      this.tell({ type: "nack", id, code: "view_only", message: "This piece plays by itself." });
      return;
    }
    if (path === "/play" && args[0] && !this.#goes) {
      if (this.state !== "armed") this.#again();
      this.#start();
    }
    const key = STANDS.test(path) ? path : `${path} ${id}`;
    this.asked.set(key, [...(this.asked.get(key) ?? []), wish]);
    if (!this.#goes) this.#patch(this.#follow());
    else this.#go();
  }

  #start() {
    this.state = "playing";
    this.tell({ type: "event", what: "state", at_sample: this.at, state: this.state });
  }

  /** Play from the beginning. */
  #again() {
    const at = this.at;
    this.asked.clear();
    this.#open();
    this.offset = at - this.performance.position;
  }

  /** Do what was asked for, of a path that stands only the newest; return those that were done. */
  #follow() {
    const done = [];
    for (const wishes of this.asked.values()) {
      const { path, args } = wishes.at(-1);
      const wrong = this.#change(path, args[0]);
      for (const { id } of wishes) {
        if (wrong) this.tell({ type: "nack", id, code: "bad_value", message: wrong });
        else this.tell({ type: "ack", id, rev: this.rev, at_sample: this.at });
      }
      if (!wrong && !BYTES.test(path)) done.push([path, args.length ? args[0] : 0]);
    }
    this.asked.clear();
    return done;
  }

  /** Move a control, and keep what takes it back; return why it cannot be moved. @returns {string} */
  #change(path, value) {
    const { performance, hands } = this;
    const given = BYTES.test(path) ? decode(value) : value;
    try {
      const back = OURS.has(path) ? [] : performance.back(path);
      performance.change(path, given);
      for (const [key, before] of back) if (!hands.has(key)) hands.set(key, before);
      if (path === "/quality") this.pace.wanted = value;
    } catch (error) {
      return error.message;
    }
    this.logged = performance.log.length;
    return "";
  }

  /** Take back what hands did, last first. */
  #giveBack() {
    for (const [path, value] of [...this.hands].reverse()) this.performance.change(path, value);
    this.hands.clear();
    this.logged = this.performance.log.length;
    if (!this.#goes) this.#patch([]);
  }

  /** What the piece itself has moved meanwhile stays as it has it. */
  #leave() {
    const { log } = this.performance;
    for (; this.logged < log.length; this.logged++) this.hands.delete(log[this.logged].path);
  }

  // What sounds.

  #turn() {
    this.turning = false;
    if (!this.#goes) return;
    const begun = now_s();
    const { performance } = this;
    const late = this.played > 0 && this.sent - this.played < this.cushion / 2;
    if (late) performance.change("/rest"); // a change of strengths can wait for a block, the sound cannot
    this.logged = performance.log.length;
    const at = this.at;
    const asked = this.asked.size > 0;
    const done = this.#follow();
    const sounding = this.#next();
    this.#send(at, sounding ? sounding.samples : dying(this.last));
    if (!sounding) return;
    this.#leave();
    if (asked || (at - this.told) * this.settings.units_per_s >= performance.rate) this.#patch(done, at);
    this.#see(sounding, at);
    this.pace.keep(performance, now_s() - begun, late);
    this.#note(at);
    this.#go();
  }

  /** Play a block; if that fails, say so and end. */
  #next() {
    try {
      const sounding = this.performance.next();
      if (sounding.overloaded && !this.ran) this.#notice("warning", MUTED);
      this.ran = sounding.overloaded;
      this.#fade(sounding);
      return sounding;
    } catch (error) {
      this.#halt("failed", `The sound has failed (${error.message}). You may play it again.`);
      return null;
    }
  }

  /** Fade out what follows the end of a take. */
  #fade({ samples }) {
    const { performance } = this;
    const { rate, block, position } = performance;
    const end = Math.round((this.settings.end_s ?? Infinity) * rate);
    const length = ENDING_S * rate;
    if (position <= end) return;
    for (let n = 0; n < block; n++) {
      const gain = Math.min(1, Math.max(0, 1 - (position - block + n - end) / length));
      samples[2 * n] *= gain;
      samples[2 * n + 1] *= gain;
    }
    if (position >= end + length) this.#halt("ended", "");
  }

  /** @param {"ended" | "failed"} state @param {string} why */
  #halt(state, why) {
    this.state = state;
    this.tell({ type: "event", what: "state", at_sample: this.at, state });
    if (why) this.#notice("error", why);
  }

  #send(first, samples) {
    this.last = samples;
    this.sent += samples.length / 2;
    const copy = samples.slice();
    this.player.postMessage({ first, rate: this.performance.rate, samples: copy }, [copy.buffer]);
  }

  // What is told.

  /** Tell what has changed: values that moved, and units. @param {[string, any][]} done @param {number} at */
  #patch(done, at = this.at) {
    this.told = at;
    const changes = Object.fromEntries(done);
    const { values } = this.performance;
    for (const [path, value] of Object.entries(values)) if (this.values[path] !== value) changes[path] = value;
    this.values = values;
    const [before, units] = [this.units, this.#copied()];
    this.units = units;
    let start = 0;
    for (const [number, [, count]] of this.memory.layers.entries()) {
      for (const [path, name] of OF_LAYERS) {
        const [old, now] = [before, units].map((one) => one[name].subarray(start, start + count));
        if (now.some((value, i) => value !== old[i])) changes[`/${path}/${number + 1}`] = levels(now);
      }
      start += count;
    }
    if (!Object.keys(changes).length) return;
    this.rev += 1;
    this.tell({ type: "patch", rev: this.rev, at_sample: at, by: "", changes });
  }

  /** Show what is due of a block. */
  #see({ strengths, activations, mel, chord }, at) {
    const number = Math.floor((at * this.settings.frames_per_s) / this.performance.rate);
    if (number === this.shown) return;
    this.shown = number;
    const { full_activation: full } = this.settings;
    const bright = activations.map((value) => 1 - Math.exp(-Math.max(0, value) / full));
    const column = mel.map((value) => (value + 1) / 2);
    const shown = { strengths: levels(strengths), activations: levels(bright), mel: levels(column) };
    this.tell({ type: "frame", at_sample: at, ...shown, chord });
  }

  /** Tell how the engine keeps up, once a second, and when it goes on, freezes or stops. */
  #note(at) {
    const { rate, block } = this.performance;
    if (Math.floor(at / rate) !== Math.floor((at + block) / rate)) {
      this.tell({ type: "stats", load: this.pace.load, quality: this.values["/quality"], clients: 1 });
    }
    if (!this.#goes) return;
    const state = !this.values["/play"] ? "paused" : this.values["/freeze"] ? "frozen" : "playing";
    if (state === this.state) return;
    this.state = state;
    this.tell({ type: "event", what: "state", at_sample: at, state });
  }
}

/** Values within 0..1 as bytes in base64. @param {Float32Array | Uint8Array} values */
function levels(values) {
  return encode(Uint8Array.from(values, (value) => Math.round(255 * Math.min(1, Math.max(0, value || 0)))));
}

function now_s() {
  return performance.now() / 1000;
}
