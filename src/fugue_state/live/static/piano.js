/**
 * Keys on the page: a small piano that is touched, two rows of the computer's keys, and whatever else presses and lets
 * go, as MIDI does. It knows who holds which key; what is held is let go when the page, the connection or a device is
 * lost.
 */

import { PHONE } from "./drawer.js";

const NAMES = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"];
const WHITE = [0, 2, 4, 5, 7, 9, 11];
const OCTAVES = [0, 9]; // of the lowest C that the piano may begin with, as counted from MIDI number 0
const FIRST = 4;
const [SOFTEST, HARDEST] = [0.35, 1]; // at the upper and at the lower end of a key
/** The computer's keys by their places, in semitones from the lowest C: two rows, as a piano's. */
const ROWS = [
  ["KeyZ", "KeyS", "KeyX", "KeyD", "KeyC", "KeyV", "KeyG", "KeyB", "KeyH", "KeyN", "KeyJ", "KeyM", "Comma"],
  [
    "KeyQ", "Digit2", "KeyW", "Digit3", "KeyE", "KeyR", "Digit5", "KeyT", "Digit6", "KeyY", "Digit7", "KeyU", "KeyI",
    "Digit9", "KeyO", "Digit0", "KeyP",
  ],
];
const OURS = /^(Key[^K]|Digit\d|Comma)$/;
const CODES = new Map(ROWS.flatMap((row, octave) => row.map((code, i) => [code, 12 * octave + i])));

/** The name of a key. @param {number} key its MIDI number */
export function nameOf(key) {
  return `${NAMES[key % 12]}${Math.floor(key / 12) - 1}`;
}

export class Piano {
  /**
   * @param {HTMLElement} root where the keys are drawn @param {import("./controls.js").Controls} controls
   * @param {() => number} velocity of the computer's keys, 0..1
   */
  constructor(root, controls, velocity) {
    this.root = root;
    this.controls = controls;
    this.velocity = velocity;
    this.octave = FIRST;
    /** Whether the computer's keys play. */ this.typed = false;
    /** @type {Map<number, Set<string>>} of each key that is down, who holds it */ this.holds = new Map();
    /** @type {Map<number, HTMLButtonElement>} */ this.keys = new Map();
    this.#draw();
    PHONE.addEventListener("change", () => this.#draw());
    controls.addEventListener("value", ({ detail: { path, value } }) => this.#shown(path, value));
    this.#touch();
    // Before the keys of the page, some of which mean something else there.
    document.addEventListener("keydown", (event) => this.#typed(event), true);
    document.addEventListener("keyup", ({ code }) => this.#lifted(code), true);
    // Whoever looks elsewhere lets go of keys here unheard; a device still tells.
    addEventListener("blur", () => this.#leave());
    document.addEventListener("visibilitychange", () => document.hidden && this.#leave());
    addEventListener("pagehide", () => this.releaseAll());
  }

  /** Press a key. @param {number} key @param {number} velocity above 0, up to 1 @param {string} who @param {string} [by] */
  press(key, velocity, who, by) {
    if (!(key >= 0 && key <= 127) || !this.controls.set(`/key/${key}`, [velocity], by, false)) return;
    const holds = this.holds.get(key) ?? new Set();
    this.holds.set(key, holds.add(who));
  }

  /** Let go of a key, unless somebody else holds it, too. @param {number} key @param {string} who @param {string} [by] */
  release(key, who, by) {
    const holds = this.holds.get(key);
    if (!holds?.delete(who) || holds.size) return;
    this.holds.delete(key);
    this.controls.set(`/key/${key}`, [0], by, false);
  }

  /** Let go of all that is held, or of all that those hold whose names begin so. @param {string} [who] */
  releaseAll(who = "") {
    for (const [key, holds] of [...this.holds]) {
      for (const one of [...holds]) if (one.startsWith(who)) this.release(key, one);
    }
  }

  #leave() {
    this.releaseAll("typed");
    this.releaseAll("touched");
  }

  /** The connection is lost: the server lets go of all that this page held. */
  forget() {
    this.holds.clear();
    for (const key of this.keys.values()) key.classList.remove("down");
  }

  /** Turn the computer's keys on or off. @param {boolean} on */
  type(on) {
    this.typed = on;
    this.releaseAll("typed");
  }

  /** Begin with a higher or lower octave. @param {number} by */
  shift(by) {
    this.releaseAll("typed");
    this.octave = Math.min(OCTAVES[1], Math.max(OCTAVES[0], this.octave + by));
    this.#draw();
  }

  #draw() {
    this.releaseAll("touched");
    const first = 12 * this.octave;
    const white = (PHONE.matches ? 7 : 14) + 1;
    this.keys.clear();
    this.root.style.setProperty("--white", String(white));
    for (let i = 0; i < white; i++) {
      const above = 12 * Math.floor(i / 7) + WHITE[i % 7];
      this.#key(first + above, i, "white");
      if (i < white - 1 && ![2, 6].includes(i % 7)) this.#key(first + above + 1, i, "black");
    }
    this.root.replaceChildren(...[...this.keys].sort(([one], [other]) => one - other).map(([, key]) => key));
    this.root.ariaLabel = `Piano from ${nameOf(first)} on`;
    for (const [path, value] of this.controls.values) this.#shown(path, value);
    for (const [i, key] of [...this.root.children].entries()) key.tabIndex = i ? -1 : 0;
  }

  #key(key, place, kind) {
    if (key > 127) return;
    const made = document.createElement("button");
    made.className = kind;
    made.dataset.key = String(key);
    made.style.setProperty("--place", String(place));
    made.ariaLabel = nameOf(key);
    made.textContent = kind === "white" && key % 12 === 0 ? nameOf(key) : "";
    made.disabled = this.controls.view;
    this.keys.set(key, made);
  }

  #shown(path, value) {
    const found = /^\/key\/(\d+)$/.exec(path);
    if (found) this.keys.get(Number(found[1]))?.classList.toggle("down", value > 0);
  }

  #touch() {
    /** @type {Map<number, number>} the key under each pointer */ const under = new Map();
    const at = ({ clientX, clientY }) => {
      const key = document.elementFromPoint(clientX, clientY)?.closest("[data-key]");
      if (!key || !this.root.contains(key)) return [];
      const { top, height } = key.getBoundingClientRect();
      const low = Math.min(1, Math.max(0, (clientY - top) / height));
      return [Number(key.dataset.key), SOFTEST + (HARDEST - SOFTEST) * low];
    };
    const follow = (event) => {
      const who = `touched ${event.pointerId}`;
      const before = under.get(event.pointerId);
      const [key, velocity] = at(event);
      if (key === before) return;
      if (before !== undefined) this.release(before, who);
      under.delete(event.pointerId);
      if (key === undefined) return;
      under.set(event.pointerId, key);
      this.press(key, velocity, who);
    };
    this.root.addEventListener("pointerdown", (event) => {
      if (event.button || this.controls.view || document.body.classList.contains("learning")) return;
      this.root.setPointerCapture(event.pointerId);
      this.sliding = (this.sliding ?? new Set()).add(event.pointerId);
      follow(event);
    });
    this.root.addEventListener("pointermove", (event) => this.sliding?.has(event.pointerId) && follow(event));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      this.root.addEventListener(end, ({ pointerId }) => {
        if (!this.sliding?.delete(pointerId)) return;
        const key = under.get(pointerId);
        under.delete(pointerId);
        if (key !== undefined) this.release(key, `touched ${pointerId}`);
      });
    }
    this.root.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  /** @param {KeyboardEvent} event */
  #typed(event) {
    const { target, code } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    // A piano key that has the focus is played by Enter and Space, as buttons are.
    const own = target instanceof HTMLElement && target.matches("[data-key]") && ["Enter", "Space"].includes(code);
    const above = CODES.get(code);
    // Those between the piano's do nothing, so that a slip does not move the page.
    const plays = this.typed && OURS.test(code) && !event.shiftKey;
    if ((!own && !plays) || (target instanceof HTMLElement && target.matches("input:not([type=range]), select"))) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.repeat || (!own && above === undefined)) return;
    const key = own ? Number(target.dataset.key) : 12 * this.octave + above;
    this.press(key, this.velocity(), `typed ${code}`);
  }

  /** @param {string} code */
  #lifted(code) {
    for (const [key, holds] of [...this.holds]) if (holds.has(`typed ${code}`)) this.release(key, `typed ${code}`);
  }
}

/**
 * The chords of the twelve pitch classes: a menu each; the first choice is what the memory has for that root.
 * @param {HTMLElement} root @param {string[]} labels of the memory @param {string[]} own what keys play by themselves
 */
export function showChords(root, labels, own) {
  const lines = NAMES.map((name, i) => {
    const line = document.createElement("label");
    const menu = document.createElement("select");
    menu.dataset.path = `/keys/${i + 1}/chord`;
    menu.append(new Option(own[i] ? `${own[i]}, by itself` : "by itself", ""), ...labels.map((label) => new Option(label)));
    line.append(Object.assign(document.createElement("span"), { textContent: name }), menu);
    return line;
  });
  root.replaceChildren(...lines);
}
