/**
 * The parts of a piece: each has a memory, or a forgetting, of its own. Where there are several, a switch chooses which
 * of them the grid and the faders show: all, or one; on a phone always one.
 */

import { rove } from "./controls.js";
import { PHONE } from "./drawer.js";
import { layerColour } from "./theme.js";

/**
 * @typedef {import("./cells.js").Layer} Layer
 * @typedef {{name: string, memory: string, chords: string[], number: number, layers: Layer[]}} Part
 */

/**
 * The parts of a piece, and their layers, as the engine tells of them; an engine that tells of none has one.
 * @param {any} welcome @returns {Part[]}
 */
export function partsOf(welcome) {
  const all = welcome.memory.layers;
  const { name: only, chords } = welcome.memory;
  const told = welcome.parts ?? [{ name: "", memory: only, chords, first: 1, layers: all.length }];
  let start = 0;
  return told.map(({ name, memory, chords, first, layers: count }, part) => {
    const layers = all.slice(first - 1, first - 1 + count).map(([full, units], place) => {
      const short = name ? full.slice(name.length + 1) : full; // after the name of its part
      const layer = { name: full, short, number: first - 1 + place, part, start, units, tone: layerColour(place, count) };
      start += units;
      return layer;
    });
    return { name, memory, chords, number: part, layers };
  });
}

/** The switch, in each of some places. Dispatches `change`. */
export class Parts extends EventTarget {
  /** @param {Iterable<HTMLElement>} places */
  constructor(places) {
    super();
    this.places = [...places];
    /** @type {Part[]} */ this.all = [];
    /** @type {number | null} the part that is shown, or all of them */ this.chosen = null;
    for (const place of this.places) {
      place.addEventListener("click", ({ target }) => {
        const { part } = target.closest("button")?.dataset ?? {};
        if (part !== undefined) this.choose(part ? Number(part) : null);
      });
      rove(place, "button");
    }
    PHONE.addEventListener("change", () => this.choose(this.chosen));
  }

  /** Offer the parts of a piece; what was chosen stays so, if there are as many. @param {Part[]} all */
  offer(all) {
    if (all.length !== this.all.length) this.chosen = null;
    this.all = all;
    for (const place of this.places) {
      place.hidden = all.length < 2;
      place.replaceChildren(...(all.length > 1 ? ["", ...all.keys()] : []).map((part) => this.#button(part)));
    }
    this.choose(this.chosen);
  }

  /** @param {number | ""} part */
  #button(part) {
    const made = document.createElement("button");
    made.dataset.part = String(part);
    made.role = "radio";
    made.innerHTML = "<span></span>";
    made.firstChild.textContent = part === "" ? "All" : this.all[part].name;
    if (part !== "") made.append(" ", document.createElement("b"));
    return made;
  }

  /** Show one part, or all. @param {number | null} part */
  choose(part) {
    const one = PHONE.matches && this.all.length > 1 ? (part ?? 0) : part;
    this.chosen = one;
    for (const button of this.places.flatMap((place) => [...place.children])) {
      const on = button.dataset.part === String(one ?? "");
      button.ariaChecked = String(on);
      button.tabIndex = on ? 0 : -1;
    }
    this.dispatchEvent(new Event("change"));
  }

  /** Say how much of each part is remembered. @param {number[]} percents */
  count(percents) {
    for (const place of this.places) {
      for (const [i, percent] of percents.entries()) {
        const number = place.children[i + 1]?.lastChild;
        if (number && number.textContent !== `${percent} %`) number.textContent = `${percent} %`;
      }
    }
  }
}
