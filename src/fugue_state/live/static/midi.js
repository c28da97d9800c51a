/**
 * MIDI in the page: controllers, notes and programs set paths; what changes elsewhere goes back out to lights and
 * motor faders. A controller takes over a value only where the value stands, unless told otherwise.
 */

const NEAR = 0.03;
const LIGHT_MS = 40; // between two messages to the same light
const PADS = 36; // the note of the first bank
const STORE = "midi map";
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
    /** @type {Record<string, string>} */ this.map = JSON.parse(localStorage.getItem(STORE) ?? "null") ?? defaults();
    /** @type {MIDIAccess | null} */ this.access = null;
    /** @type {string | null} */ this.learning = null;
    /** Of each controller: where it stands, and whether it has its path in hand. */
    this.places = new Map();
    this.lights = new Map();
    controls.addEventListener("value", ({ detail }) => this.#changed(detail));
    setInterval(() => this.#light(), LIGHT_MS);
  }

  /** Ask the browser for MIDI. @returns {Promise<string>} what became of it */
  async open() {
    if (!navigator.requestMIDIAccess) return "This browser has no MIDI; Chrome, Edge and Firefox have.";
    try {
      this.access = await navigator.requestMIDIAccess();
    } catch {
      return "MIDI was refused. Allow it in the browser's settings of this page.";
    }
    const listen = () => {
      for (const input of this.access.inputs.values()) input.onmidimessage = ({ data }) => this.take(data);
      this.dispatchEvent(new Event("changed"));
    };
    this.access.onstatechange = listen;
    listen();
    return this.devices;
  }

  /** The names of what is connected. */
  get devices() {
    const names = [...(this.access?.inputs.values() ?? [])].map((input) => input.name);
    return names.length ? `Connected: ${names.join(", ")}` : "MIDI is open; nothing is connected yet.";
  }

  /** Put the first map back. */
  reset() {
    this.#remap(defaults());
  }

  #remap(map) {
    this.map = map;
    this.places.clear();
    localStorage.setItem(STORE, JSON.stringify(map));
    this.dispatchEvent(new Event("changed"));
  }

  /** A message from a device, on any channel. @param {Uint8Array} data */
  take([status, first, second = 0]) {
    const kind = status & 0xf0;
    if (kind === 0xc0 && first < 16) this.banks.fire(first + 1, "midi");
    if (kind === 0xb0) this.#control(`cc:${first}`, second);
    if (kind === 0x90 && second) this.#note(`note:${first}`);
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
    // A pedal or button counts by its half.
    if (/\/(freeze|play|lock)$/.test(path)) this.controls.set(path, [value >= 64 ? 1 : 0], "midi");
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
    for (const [key, value] of this.lights) {
      const [kind, number] = key.split(":");
      const message = [kind === "cc" ? 0xb0 : 0x90, Number(number), Math.round(127 * value)];
      for (const output of this.access?.outputs.values() ?? []) output.send(message);
    }
    this.lights.clear();
  }

  /** Light the pads of banks. @param {number[]} stored @param {number} armed */
  pads(stored, armed) {
    for (let bank = 1; bank <= 16; bank++) {
      this.lights.set(`note:${PADS + bank - 1}`, bank === armed ? 1 : stored.includes(bank) ? 0.3 : 0);
    }
  }
}
