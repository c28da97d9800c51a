/** The bending log: what happened when; each line has an editable note. */

import { clock } from "./clock.js";
import { ofBrowser } from "./storage.js";

const KEPT = 200;
const TOGETHER_S = 4; // units of a layer that go within this time share a line

export class Log {
  /** @param {HTMLOListElement} root */
  constructor(root) {
    this.root = root;
    this.session = "";
    /** @type {Map<string, {at: number, line: HTMLElement, count: number}>} */ this.counted = new Map();
    root.addEventListener("change", () => this.#keep());
    addEventListener("pagehide", () => this.#keep());
  }

  /** Open the log of a session: a new one, or the one kept in the browser. @param {string} session */
  open(session) {
    if (session === this.session) return;
    this.session = session;
    this.root.replaceChildren();
    this.counted.clear();
    ofBrowser.clear("log ", `log ${session}`);
    const kept = ofBrowser.read(`log ${session}`, (found) => Array.isArray(found) && found.every(isLine)) ?? [];
    for (const { at, text, note, level } of kept) this.#line(at, text, level).querySelector("input").value = note;
  }

  /**
   * Write a line on top. @param {number} at in seconds @param {string} text @param {string} [level]
   * @returns {HTMLInputElement} its note
   */
  add(at, text, level = "") {
    const line = this.#line(at, text, level);
    this.#keep();
    return line.querySelector("input");
  }

  /** Count one more unit. @param {number} at @param {string} what @param {string} layer @param {number} count */
  count(at, what, layer, count) {
    const key = `${what} ${layer}`;
    let one = this.counted.get(key);
    if (!one || at - one.at > TOGETHER_S || at < one.at) one = { at, count: 0, line: this.#line(at, "", "") };
    one.at = at;
    one.count += count;
    this.counted.set(key, one);
    const units = one.count === 1 ? "1 unit" : `${one.count} units`;
    one.line.querySelector("span").textContent = `${units} of ${layer} ${what}`;
  }

  #line(at, text, level) {
    const line = document.createElement("li");
    const time = document.createElement("time");
    time.textContent = clock(at);
    line.dataset.at = String(at);
    const words = document.createElement("span");
    words.textContent = text;
    words.className = level;
    const note = document.createElement("input");
    note.type = "text";
    note.maxLength = 120;
    note.placeholder = "note";
    note.ariaLabel = `Note at ${time.textContent}`;
    note.tabIndex = this.root.childElementCount ? -1 : 0;
    line.append(time, words, note);
    this.root.prepend(line);
    while (this.root.childElementCount > KEPT) this.root.lastElementChild.remove();
    return line;
  }

  #lines() {
    return [...this.root.children].reverse().map((line) => ({
      at: Number(line.dataset.at),
      text: line.querySelector("span").textContent,
      note: line.querySelector("input").value,
      level: line.querySelector("span").className,
    }));
  }

  #keep() {
    if (this.session) ofBrowser.set(`log ${this.session}`, JSON.stringify(this.#lines()));
  }

  /** Download the log as a text file. */
  save() {
    const lines = this.#lines().map(({ at, text, note }) => [clock(at), text, note].filter(Boolean).join("\t"));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "text/plain" }));
    link.download = "bending-log.txt";
    link.click();
    URL.revokeObjectURL(link.href);
  }
}

function isLine(line) {
  return Number.isFinite(line?.at) && [line.text, line.note, line.level].every((words) => typeof words === "string");
}
