/**
 * What is heard, as it is seen: units, faders and spectrogram follow what the engine tells, in step with the sound,
 * and brushes go to the engine. The engine speaks as the server of the live page does, over whatever wire.
 *
 * Dispatches `moved` for each control that has moved, `vain` when a brush can bring nothing back, and `words` now and
 * then, when words that follow the sound may have changed.
 */

import { decode, encode } from "./bytes.js";
import { Cells } from "./cells.js";
import { button } from "./controls.js";
import { Faders, whole } from "./faders.js";
import { Parts, partsOf } from "./parts.js";

const QUEUE = 256; // frames that wait to be heard
const LATE_S = 3; // a frame further from what is heard than this is shown at once
const HINT_MS = 10_000; // between two hints
const APART = 8; // units of a layer that a brush sets one by one in any case
const WORDS_MS = 200; // between two changes of the words that follow the sound
const SAME = 1 / 256; // strengths that differ by less are the same byte

const $ = (selector) => document.querySelector(selector);

export class Scene extends EventTarget {
  /**
   * @param {EventTarget} control dispatches what the engine says @param {import("./controls.js").Controls} controls
   * @param {import("./audio.js").Sound} sound @param {import("./grid.js").Grid} grid @param {import("./mel.js").Mel} mel
   */
  constructor(control, controls, sound, grid, mel) {
    super();
    Object.assign(this, { controls, sound, grid, mel });
    /** @type {Cells | null} */ this.cells = null;
    /** @type {Faders | null} */ this.faders = null;
    this.parts = new Parts(document.querySelectorAll(".parts"));
    this.parts.addEventListener("change", () => this.#choose());
    /** @type {any[]} */ this.frames = [];
    /** @type {any} */ this.shown = null; // the frame that is heard
    /** @type {any} */ this.stats = {};
    this.rate = 44_100;
    this.latency = 0; // samples, of the engine
    this.last = performance.now();
    this.said = 0;
    this.hinted = -HINT_MS;
    control.addEventListener("welcome", ({ detail }) => this.#begin(detail));
    control.addEventListener("patch", ({ detail: { changes, at_sample: at } }) => {
      for (const [path, value] of Object.entries(changes)) this.#change(path, value, at);
    });
    control.addEventListener("ack", ({ detail: { path, at_sample: at } }) => {
      for (const unit of this.#expected(path)) this.cells.due[unit] = from(at);
    });
    control.addEventListener("nack", ({ detail: { code, path } }) => {
      if (code === "too_fast") return; // it is sent again
      for (const unit of this.#expected(path)) this.cells.due[unit] = 0;
      controls.refuse(path);
    });
    control.addEventListener("frame", ({ detail: frame }) => {
      this.frames.push(frame);
      if (this.frames.length > QUEUE) this.frames.shift();
      mel.add(decode(frame.mel), frame.at_sample);
    });
    control.addEventListener("stats", ({ detail }) => (this.stats = detail));
    requestAnimationFrame((now) => this.#tick(now));
  }

  /** Second of the stream that is shown. */
  get time_s() {
    return (this.shown?.at_sample ?? 0) / this.rate;
  }

  /** Begin with the memories of a piece, as the engine says how all is. */
  #begin(welcome) {
    const { controls, grid } = this;
    this.rate = welcome.rate;
    this.latency = welcome.latency_samples;
    const parts = partsOf(welcome);
    const layers = parts.flatMap((part) => part.layers);
    this.cells = new Cells(layers, decode(welcome.grid.strengths), decode(welcome.grid.brushed));
    this.cells.frozen.set(decode(welcome.grid.frozen).map((value) => (value ? 1 : 0)));
    this.faders = new Faders($("#faders"), parts);
    this.parts.offer(parts);
    this.mel.clear();
    this.frames = [];
    this.shown = null;
    for (const [path, value] of Object.entries(welcome.values)) this.#change(path, value, 0);
    controls.showAll();
    controls.watchOnly(welcome.view);
  }

  /** Show the chosen part, or all. */
  #choose() {
    const { all, chosen } = this.parts;
    if (!this.cells) return;
    const shown = chosen === null ? all : [all[chosen]];
    this.grid.show(this.cells, shown);
    this.faders.choose(chosen);
    this.said = -WORDS_MS; // the new captions get their numbers with the next frame
    this.#showChords([...new Set(shown.flatMap(({ chords }) => chords))]);
  }

  #showChords(chords) {
    const buttons = ["", ...chords].map((name) => {
      const one = button(name || "As composed", "/chord", name);
      one.ariaPressed = "false";
      one.disabled = this.controls.view;
      one.tabIndex = name ? -1 : 0;
      return one;
    });
    $("#chords").replaceChildren(...(chords.length ? buttons : []));
    $("#chords").hidden = !chords.length;
    this.controls.show("/chord");
  }

  /** A value has changed at a sample. @param {string} path @param {any} value @param {number} at */
  #change(path, value, at) {
    const { cells, controls } = this;
    const layer = this.#layerOf(path);
    if (path.startsWith("/grid/")) this.#follow(layer, decode(value), (unit, left) => (cells.brushed[unit] = left));
    else if (path.startsWith("/strengths/")) this.#follow(layer, decode(value), (unit, left) => this.#told(unit, left, at));
    else if (path.startsWith("/frozen/")) cells.frozen.set(decode(value).map((level) => (level ? 1 : 0)), layer.start);
    else if (this.#unitOf(path) === undefined) {
      controls.follow(path, value);
      this.dispatchEvent(new CustomEvent("moved", { detail: { path, value, at } }));
    }
  }

  /** A strength that is asked for from a sample on, if that is new. */
  #told(unit, strength, at) {
    if (Math.abs(this.cells.asked[unit] - strength) > SAME) this.cells.ask(unit, strength, from(at));
  }

  /** Take over a layer from the engine, but for units that this page has asked for meanwhile. */
  #follow(layer, levels, take) {
    for (const [i, level] of levels.entries()) {
      const unit = layer.start + i;
      if (this.cells.due[unit] !== Infinity) take(unit, level / 255);
    }
  }

  /** Units of a path that wait to be answered. @param {string} path */
  *#expected(path) {
    const layer = this.#layerOf(path);
    const one = this.#unitOf(path);
    const whole = path.startsWith("/grid/") ? [layer.start, layer.start + layer.units] : [one, one + 1];
    for (let unit = whole[0]; unit < whole[1]; unit++) if (this.cells.due[unit] === Infinity) yield unit;
  }

  /** The unit that a path is about. @param {string} path */
  #unitOf(path) {
    const found = /^\/unit\/\d+\/(\d+)\//.exec(path);
    return found ? this.#layerOf(path).start + Number(found[1]) - 1 : undefined;
  }

  /** The layer that a path is about. @param {string} path */
  #layerOf(path) {
    const found = /^\/(?:layer|unit|grid|strengths|frozen)\/(\d+)/.exec(path);
    return found ? this.cells?.layers[Number(found[1]) - 1] : undefined;
  }

  /**
   * Use a brush on units. @param {number[]} units @param {import("./brush.js").Kind} kind @param {number} amount
   * @param {boolean} [freezing]
   */
  stroke(units, kind, amount, freezing) {
    const { cells, controls } = this;
    if (controls.view) return;
    for (const layer of cells.layers) {
      const touched = units.filter((unit) => unit >= layer.start && unit < layer.start + layer.units);
      if (!touched.length) continue;
      const path = (unit, what) => `/unit/${layer.number + 1}/${unit - layer.start + 1}/${what}`;
      if (kind === "freeze") {
        for (const unit of touched) {
          const on = freezing ? 1 : 0;
          if (controls.set(path(unit, "freeze"), [on])) cells.frozen[unit] = on;
        }
        continue;
      }
      const by = kind === "forget" ? -amount : amount;
      const changed = touched.filter((unit) => cells.brush(unit, by));
      // Where other hands play, each by itself: a whole layer would take back what they do meanwhile.
      if (changed.length > APART && !(this.stats.clients > 1)) {
        const levels = cells.brushed.slice(layer.start, layer.start + layer.units).map((left) => Math.round(255 * left));
        controls.set(`/grid/${layer.number + 1}`, [encode(Uint8Array.from(levels))]);
      } else {
        for (const unit of changed) controls.set(path(unit, "strength"), [cells.brushed[unit]]);
      }
    }
    const inVain = kind === "recall" && units.every((unit) => cells.brushed[unit] === 1 && cells.now(unit) === 0);
    if (inVain && performance.now() - this.hinted > HINT_MS) {
      this.hinted = performance.now();
      this.dispatchEvent(new Event("vain"));
    }
  }

  // The picture, in step with the sound.

  /** @param {number} now */
  #tick(now) {
    const { cells, frames } = this;
    const seconds = Math.min(0.1, (now - this.last) / 1000);
    this.last = now;
    const heard = this.sound.heard(now);
    if (cells) {
      while (frames.length && this.#due(frames[0].at_sample, heard)) this.#show(frames.shift());
      const sample = heard ?? this.shown?.at_sample ?? 0;
      cells.step(seconds, sample);
      this.grid.paint();
      this.mel.paint(sample, this.rate);
    }
    if (now - this.said > WORDS_MS) {
      this.said = now;
      if (cells) this.#showWords(heard);
    }
    requestAnimationFrame((then) => this.#tick(then));
  }

  /** Whether a frame is to be shown: when it is heard, or at once where nothing is. */
  #due(at, heard) {
    return heard === null || at <= heard || at > heard + LATE_S * this.rate;
  }

  #show(frame) {
    this.shown = frame;
    this.cells.hear(decode(frame.strengths), decode(frame.activations));
  }

  /** Words that follow the sound. @param {number | null} heard */
  #showWords(heard) {
    const { layers } = this.cells;
    const counts = layers.map((layer) => this.cells.remembered(layer));
    const shares = this.parts.all.map((part) => share(part.layers, counts));
    const percent = share(layers, counts);
    this.faders.count(counts, shares, percent);
    this.parts.count(shares);
    $("#remembered b").textContent = String(percent);
    this.grid.count(
      layers.map(({ units }, i) => `${Math.round(counts[i])} of ${units}`),
      shares.map((left) => `${left} %`),
    );
    const chord = this.shown?.chord ?? "";
    if ($("#chord").textContent !== chord) {
      $("#chord").textContent = chord;
      $("#chord").style.setProperty("--length", String(Math.max(1, chord.length)));
    }
    this.dispatchEvent(new CustomEvent("words", { detail: { heard, percent } }));
  }
}

/**
 * How much of some layers is remembered, in percent. @param {import("./cells.js").Layer[]} layers
 * @param {number[]} counts of all layers
 */
function share(layers, counts) {
  const all = layers.reduce((sum, { units }) => sum + units, 0);
  return whole((100 * layers.reduce((sum, { number }) => sum + counts[number], 0)) / all, 100);
}

/** From which sample on a change counts as heard: 0 stands for what is heard. @param {number} at */
function from(at) {
  return Math.max(1, at);
}
