/**
 * MIDI in the page: controllers, notes and programs set paths; what changes elsewhere goes back out to lights and
 * motor faders. A controller takes over a value only where the value stands, unless told otherwise.
 *
 * Lights go to the devices that play the page, and to no others: a note sent to a synthesizer would sound. What comes
 * back of them over a loop is not played.
 */

import { ofBrowser } from "./storage.js";

const NEAR = 0.03;
const LIGHT_MS = 40; // between two messages to the same light
const PADS = 36; // the note of the first bank
const STORE = "midi map";
// Controllers that mean nothing to a synthesizer; of the others only those go out that came in.
const FREE = /^cc:(14|15|2\d|30|31|10[2-9]|11\d)$/;
const ECHO_MS = 100; // in which a message that was sent comes back, if it does
const HELD_MS = 400; // after the last movement of a controller: what the server tells then may be older

/** The map that is there at first: `cc:` controller, `note:` key, each to a path. */
function defaults() {
  const map = { "cc:1": "/forget", "cc:7": "/volume", "cc:64": "/freeze", "cc:120": "/hush", "cc:123": "/hush" };
  for (let layer = 1; layer <= 5; layer++) map[`cc:${19 + layer}`] = `/layer/${layer}/forget`;
  for (let bank = 1; bank <= 16; bank++) map[`note:${PADS + bank - 1}`] = `/bank/${bank}/fire`;
  return map;
}

export class Midi extends EventTarget {
  /** @param {import("./controls.js").Controls} controls @param {import("./banks.js").Banks} banks */
  constructor(controls, banks) {
    super();
    this.controls = controls;
    this.banks = banks;
    this.pickup = true;
    /** @type {Record<string, string>} */ this.map = ofBrowser.read(STORE, isMap) ?? defaults();
    /** @type {MIDIAccess | null} */ this.access = null;
    /** @type {Promise<string> | null} */ this.opening = null;
    /** Whether lights and motor faders are sent to. */ this.lit = true;
    /** Whether the page was left; some browsers keep it, to come back to. */ this.left = false;
    /** @type {Map<string, Device>} by their inputs */ this.devices = new Map();
    /** @type {string | null} */ this.learning = null;
    /** Of each controller: where it stands, and whether it has its path in hand. */
    this.places = new Map();
    /** @type {Map<string, number>} of each controller and key, what it shows */ this.lights = new Map();
    controls.addEventListener("value", ({ detail }) => this.#changed(detail));
    setInterval(() => this.#light(), LIGHT_MS);
    addEventListener("pagehide", () => {
      this.left = true;
      this.#darken();
    });
    addEventListener("pageshow", () => (this.left = false));
  }

  /** Ask the browser for MIDI, once however often it is pressed. @returns {Promise<string>} what became of it */
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

  /** Listen to every input that is there, and know which output belongs to it. */
  #listen() {
    const there = ([, port]) => port.state !== "disconnected";
    const inputs = [...this.access.inputs].filter(there);
    const outputs = [...this.access.outputs].filter(there).map(([, output]) => output);
    const before = this.devices;
    this.devices = new Map();
    for (const [id, input] of inputs) {
      // Of several devices of a kind each has its own.
      const place = outputs.findIndex((output) => kindOf(output) === kindOf(input));
      const [output] = place < 0 ? [null] : outputs.splice(place, 1);
      const known = before.get(id);
      const device = known?.output === output ? known : new Device(output);
      this.devices.set(id, device);
      input.onmidimessage = ({ data }) => this.take(data, device);
    }
    this.dispatchEvent(new Event("changed"));
  }

  /** The names of what is connected. */
  get connected() {
    const inputs = [...(this.access?.inputs.values() ?? [])].filter(({ state }) => state !== "disconnected");
    if (!inputs.length) return "MIDI is open; nothing is connected yet.";
    return `Connected: ${inputs.map(({ name }) => name).join(", ")}`;
  }

  /** Put the first map back. */
  reset() {
    this.#remap(defaults());
  }

  #remap(map) {
    this.map = map;
    this.places.clear();
    ofBrowser.set(STORE, JSON.stringify(map));
    this.dispatchEvent(new Event("changed"));
  }

  /** A message from a device, on any channel. @param {Uint8Array} data @param {Device} [device] */
  take(data, device) {
    if ([...this.devices.values()].some((one) => one.isEcho(data))) return;
    const [status, first, second = 0] = data;
    const kind = status & 0xf0;
    if (kind === 0xc0 && first < 16) this.banks.fire(first + 1, "midi");
    if (kind === 0xb0) this.#control(`cc:${first}`, second);
    if (kind === 0x90 && second) this.#note(`note:${first}`);
    const key = { 0xb0: `cc:${first}`, 0x90: `note:${first}` }[kind];
    if (!(key in this.map)) return;
    device?.plays(key);
    if (kind !== 0xb0) return;
    // It stands where a hand has put it, not where it was sent.
    this.lights.delete(key);
    for (const one of this.devices.values()) one.shown.delete(key);
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
    // A pedal or button counts by its half; the sound stays frozen no longer than a pedal is held.
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

  /** Whether lights and motor faders are sent to. @param {boolean} on */
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

/** What a device shows, if it plays the page: its lights and motor faders. */
class Device {
  /** @param {MIDIOutput | null} output that belongs to it */
  constructor(output) {
    this.output = output;
    /** What has played: single controllers and keys, and whether there are any (`cc`, `note`). */
    this.played = new Set();
    /** @type {Map<string, number>} */ this.shown = new Map();
    /** @type {{message: number[], at: number}[]} */ this.sent = [];
  }

  /** It has moved something here. @param {string} key */
  plays(key) {
    this.played.add(key).add(key.split(":")[0]);
  }

  #lights(key) {
    return this.played.has(key) || ((key.startsWith("note") || FREE.test(key)) && this.played.has(key.split(":")[0]));
  }

  /** Show what is not shown yet. @param {Map<string, number>} lights */
  show(lights) {
    for (const [key, value] of lights) {
      const [kind, number] = key.split(":");
      const level = Math.round(127 * value);
      if (!this.#lights(key) || this.shown.get(key) === level) continue;
      this.shown.set(key, level);
      this.#send([kind === "cc" ? 0xb0 : 0x90, Number(number), level]);
    }
  }

  /** Let every key go that was lit: what stays on would sound on for ever. */
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
      this.shown.clear(); // it was pulled out; the browser tells of it
    }
  }

  /** Whether a message is one of this page's, come back. @param {Uint8Array} data */
  isEcho(data) {
    const now = performance.now();
    const place = this.sent.findIndex(
      ({ message, at }) => now - at < ECHO_MS && message.every((byte, i) => byte === data[i]),
    );
    if (place >= 0) this.sent.splice(place, 1);
    return place >= 0;
  }
}

/** What a port belongs to: its maker and name, without the way that the port goes. @param {MIDIPort} port */
function kindOf({ manufacturer, name }) {
  return `${manufacturer ?? ""} ${(name ?? "").replace(/\b(midi\s*)?(in|out)(put)?\b/gi, "").trim()}`;
}

function isMap(found) {
  return typeof found === "object" && found !== null && Object.values(found).every((path) => typeof path === "string");
}
