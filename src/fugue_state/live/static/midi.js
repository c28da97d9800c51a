/**
 * MIDI in the page: controllers, notes and programs set paths; other changes are sent back to lights and motor faders.
 * A controller takes over a value only once it has reached it (pickup), unless that is turned off.
 *
 * Notes play the piano instead, and the pedal holds it, where that is chosen: all but those that were learned.
 *
 * Lights are sent only to devices that play the page, because a note sent to a synthesizer would sound. Messages of the
 * page that come back over a loop are ignored.
 */

import { BeatIn, BeatOut, isBeat } from "./beat.js";
import { ofBrowser } from "./storage.js";

const NEAR = 0.03;
const LIGHT_MS = 40; // between two messages to the same light
const PADS = 36; // the note of the first bank
const [STORE, PLAYS] = ["midi map", "midi keys"];
const PEDAL = "cc:64";
const SILENT = ["cc:120", "cc:123"]; // all sound off, all notes off
// Controllers without a meaning to synthesizers. Of the others, only those that came in are sent out.
const FREE = /^cc:(14|15|2\d|30|31|10[2-9]|11\d)$/;
const ECHO_MS = 100; // an echo of a sent message comes within this time
const HELD_MS = 400; // so long after a controller's last movement, the server's values may be older

/** The default map: `cc:` controllers and `note:` keys, each with a path. */
function defaults() {
  const map = { "cc:1": "/forget", "cc:7": "/volume", "cc:64": "/freeze", "cc:120": "/hush", "cc:123": "/hush" };
  for (let layer = 1; layer <= 5; layer++) map[`cc:${19 + layer}`] = `/layer/${layer}/forget`;
  for (let bank = 1; bank <= 16; bank++) map[`note:${PADS + bank - 1}`] = `/bank/${bank}/fire`;
  return map;
}

export class Midi extends EventTarget {
  /**
   * @param {import("./controls.js").Controls} controls @param {import("./banks.js").Banks} banks
   * @param {import("./piano.js").Piano} piano
   */
  constructor(controls, banks, piano) {
    super();
    Object.assign(this, { controls, banks, piano });
    /** Whether notes play the piano. */ this.plays = ofBrowser.get(PLAYS) === "yes";
    this.beatIn = new BeatIn(controls);
    this.beatOut = new BeatOut(controls);
    this.pickup = true;
    /** @type {Record<string, string>} */ this.map = ofBrowser.read(STORE, isMap) ?? defaults();
    /** @type {MIDIAccess | null} */ this.access = null;
    /** @type {Promise<string> | null} */ this.opening = null;
    /** Whether lights and motor faders get messages. */ this.lit = true;
    /** Whether the page was left; some browsers keep it for a return. */ this.left = false;
    /** @type {Map<string, Device>} by their inputs */ this.devices = new Map();
    /** @type {string | null} */ this.learning = null;
    /** For each controller: its position, and whether it has picked up its path. */
    this.places = new Map();
    /** @type {Map<string, number>} of each controller and key, what it shows */ this.lights = new Map();
    controls.addEventListener("value", ({ detail }) => this.#changed(detail));
    setInterval(() => this.#light(), LIGHT_MS);
    addEventListener("pagehide", () => {
      this.left = true;
      this.beatOut.lead(null);
      this.#darken();
    });
    addEventListener("pageshow", () => (this.left = false));
  }

  /** Ask the browser for MIDI, only once however often it is pressed. @returns {Promise<string>} the result in words */
  open() {
    this.opening ??= this.#open().finally(() => (this.opening = null));
    return this.opening;
  }

  async #open() {
    if (this.access) return this.connected;
    if (!navigator.requestMIDIAccess) return "This browser has no MIDI; Chrome, Edge and Firefox have.";
    try {
      this.access = await navigator.requestMIDIAccess();
    } catch {
      return "MIDI was refused. Allow it in the browser's settings of this page.";
    }
    this.access.onstatechange = () => this.#listen();
    this.#listen();
    return this.connected;
  }

  /** Listen to every input, and find the output that belongs to it. */
  #listen() {
    const there = ([, port]) => port.state !== "disconnected";
    const inputs = [...this.access.inputs].filter(there);
    const outputs = [...this.access.outputs].filter(there).map(([, output]) => output);
    const before = this.devices;
    this.devices = new Map();
    for (const [id, input] of inputs) {
      // Several devices of the same kind get one output each.
      const place = outputs.findIndex((output) => kindOf(output) === kindOf(input));
      const [output] = place < 0 ? [null] : outputs.splice(place, 1);
      const known = before.get(id);
      const device = known?.output === output ? known : new Device(output);
      this.devices.set(id, device);
      input.onmidimessage = ({ data, timeStamp }) => this.take(data, device, timeStamp);
    }
    for (const [id, device] of before) if (this.devices.get(id) !== device) this.#lose(device);
    if (this.beatOut.output && !outputs.includes(this.beatOut.output)) this.beatOut.lead(null);
    this.dispatchEvent(new Event("changed"));
  }

  /** The names of what is connected. */
  get connected() {
    const inputs = [...(this.access?.inputs.values() ?? [])].filter(({ state }) => state !== "disconnected");
    if (!inputs.length) return "MIDI is open; nothing is connected yet.";
    return `Connected: ${inputs.map(({ name }) => name).join(", ")}`;
  }

  /** Restore the default map. */
  reset() {
    this.#remap(defaults());
  }

  #remap(map) {
    this.map = map;
    this.places.clear();
    ofBrowser.set(STORE, JSON.stringify(map));
    this.dispatchEvent(new Event("changed"));
  }

  /** The outputs that a clock can be sent to. @returns {MIDIOutput[]} */
  get outputs() {
    return [...(this.access?.outputs.values() ?? [])].filter(({ state }) => state !== "disconnected");
  }

  /** Let notes play the piano, or what they are mapped to. @param {boolean} on */
  play(on) {
    this.plays = on;
    this.piano.releaseAll("midi");
    ofBrowser.set(PLAYS, on ? "yes" : "no");
  }

  /** Let go of what a device held that is gone. @param {Device} device */
  #lose(device) {
    this.piano.releaseAll(`midi ${device.number} `);
    if (device.pedal) this.controls.set("/pedal", [0], "midi", false);
    device.pedal = false;
  }

  /**
   * A message from a device, on any channel.
   * @param {Uint8Array} data @param {Device} [device] @param {number} [at] when it came, in ms
   */
  take(data, device, at = performance.now()) {
    if (isBeat(data[0])) {
      this.beatIn.take(data[0], at);
      return;
    }
    if ([...this.devices.values()].some((one) => one.isEcho(data))) return;
    const [status, first, second = 0] = data;
    const kind = status & 0xf0;
    if (this.plays && !this.learning && this.#played(kind, first, second, device)) return;
    if (kind === 0xc0 && first < 16) this.banks.fire(first + 1, "midi");
    if (kind === 0xb0) this.#control(`cc:${first}`, second);
    if (kind === 0x90 && second) this.#note(`note:${first}`);
    const key = { 0xb0: `cc:${first}`, 0x90: `note:${first}` }[kind];
    if (!(key in this.map)) return;
    device?.plays(key);
    if (kind !== 0xb0) return;
    // It is now where a hand has moved it, no longer where it was sent.
    this.lights.delete(key);
    for (const one of this.devices.values()) one.shown.delete(key);
  }

  /** Play the piano by a message; false if it means something else. */
  #played(kind, first, second, device) {
    const note = kind === 0x90 || kind === 0x80;
    const key = `${note ? "note" : "cc"}:${first}`;
    if ((!note && kind !== 0xb0) || (this.map[key] && this.map[key] !== defaults()[key])) return false;
    const who = `midi ${device?.number ?? 0} `;
    if (note && kind === 0x90 && second) this.piano.press(first, second / 127, who, "midi");
    else if (note) this.piano.release(first, who, "midi");
    else if (key === PEDAL) this.#pedal(second >= 64, device);
    else if (SILENT.includes(key)) this.piano.releaseAll(who);
    else return false;
    return true;
  }

  /** A pedal tells all of its way: only its turns count. @param {boolean} down @param {Device} [device] */
  #pedal(down, device) {
    if (down === Boolean(this.controls.values.get("/pedal"))) return;
    if (device) device.pedal = down;
    this.controls.set("/pedal", [down ? 1 : 0], "midi", false);
  }

  #learn(key) {
    if (!this.learning) return false;
    this.#remap({ ...this.map, [key]: this.learning });
    this.learning = null;
    this.dispatchEvent(new CustomEvent("learned", { detail: key }));
    return true;
  }

  #note(key) {
    if (this.#learn(key)) return;
    const path = this.map[key];
    if (!path) return;
    const bank = /^\/bank\/(\d+)\/fire$/.exec(path);
    if (bank) this.banks.fire(Number(bank[1]), "midi");
    else if (/\/(freeze|play|lock)$/.test(path)) this.controls.toggle(path, "midi");
    else this.controls.set(path, [], "midi");
  }

  #control(key, value) {
    if (this.#learn(key)) return;
    const path = this.map[key];
    if (!path) return;
    // A pedal or button is on from the middle up; the sound stays frozen only while a pedal is held.
    if (/\/(freeze|play|lock)$/.test(path)) {
      this.controls.set(path, [value >= 64 ? 1 : 0], "midi", path.endsWith("/freeze") || undefined);
    }
    else if (path === "/hush") this.controls.set(path, [], "midi");
    else if (/\/(forget|volume|ab|strength)$/.test(path)) this.#turn(key, path, value / 127);
    else if (value >= 64) this.#note(key);
  }

  #turn(key, path, value) {
    const now = this.controls.values.get(path) ?? 0;
    const before = this.places.get(key);
    const met = Math.abs(value - now) < NEAR || (before && (before.at - now) * (value - now) < 0);
    const taken = !this.pickup || before?.taken || met;
    this.places.set(key, { at: value, taken, moved: performance.now() });
    if (taken) this.controls.set(path, [value], "midi");
  }

  #changed({ path, value, by }) {
    for (const [key, to] of Object.entries(this.map)) {
      if (to !== path || typeof value !== "number") continue;
      const place = this.places.get(key);
      const held = place?.taken && performance.now() - place.moved < HELD_MS;
      if (by === "midi" || held || (place && Math.abs(place.at - value) < NEAR)) continue;
      if (place) place.taken = false;
      this.lights.set(key, value);
    }
  }

  #light() {
    if (this.lit && !this.left) for (const device of this.devices.values()) device.show(this.lights);
  }

  #darken() {
    for (const device of this.devices.values()) device.darken();
  }

  /** Turn messages to lights and motor faders on or off. @param {boolean} on */
  light(on) {
    this.lit = on;
    if (!on) this.#darken();
  }

  /** Light the pads of banks. @param {number[]} stored @param {number} armed */
  pads(stored, armed) {
    for (let bank = 1; bank <= 16; bank++) {
      this.lights.set(`note:${PADS + bank - 1}`, bank === armed ? 1 : stored.includes(bank) ? 0.3 : 0);
    }
  }
}

/** The lights and motor faders of a device that plays the page. */
class Device {
  /** How many there were. */ static made = 0;

  /** @param {MIDIOutput | null} output that belongs to it */
  constructor(output) {
    this.output = output;
    Device.made += 1;
    this.number = Device.made;
    /** Whether its pedal is down. */ this.pedal = false;
    /** What it has played: single controllers and keys, and the kinds `cc` and `note`. */
    this.played = new Set();
    /** @type {Map<string, number>} */ this.shown = new Map();
    /** @type {{message: number[], at: number}[]} */ this.sent = [];
  }

  /** Note that it has played a key or controller. @param {string} key */
  plays(key) {
    this.played.add(key).add(key.split(":")[0]);
  }

  #lights(key) {
    return this.played.has(key) || ((key.startsWith("note") || FREE.test(key)) && this.played.has(key.split(":")[0]));
  }

  /** Send the lights that have changed. @param {Map<string, number>} lights */
  show(lights) {
    for (const [key, value] of lights) {
      const [kind, number] = key.split(":");
      const level = Math.round(127 * value);
      if (!this.#lights(key) || this.shown.get(key) === level) continue;
      this.shown.set(key, level);
      this.#send([kind === "cc" ? 0xb0 : 0x90, Number(number), level]);
    }
  }

  /** Turn all lit keys off: a note that stays on could sound for ever. */
  darken() {
    for (const [key, level] of this.shown) {
      const [kind, number] = key.split(":");
      if (kind === "note" && level) this.#send([0x80, Number(number), 0]);
    }
    this.shown.clear();
  }

  #send(message) {
    this.sent = this.sent.filter(({ at }) => performance.now() - at < ECHO_MS);
    this.sent.push({ message, at: performance.now() });
    try {
      this.output?.send(message);
    } catch {
      this.shown.clear(); // unplugged; the browser reports it
    }
  }

  /** Whether a message is an echo of one that the page sent. @param {Uint8Array} data */
  isEcho(data) {
    const now = performance.now();
    const place = this.sent.findIndex(
      ({ message, at }) => now - at < ECHO_MS && message.every((byte, i) => byte === data[i]),
    );
    if (place >= 0) this.sent.splice(place, 1);
    return place >= 0;
  }
}

/** The device of a port: maker and name, without the words for in and out. @param {MIDIPort} port */
function kindOf({ manufacturer, name }) {
  return `${manufacturer ?? ""} ${(name ?? "").replace(/\b(midi\s*)?(in|out)(put)?\b/gi, "").trim()}`;
}

function isMap(found) {
  return typeof found === "object" && found !== null && Object.values(found).every((path) => typeof path === "string");
}
