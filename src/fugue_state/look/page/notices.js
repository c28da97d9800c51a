/** Notices: a line that is visible everywhere and spoken by screen readers, and the words for refusals. */

const SHOWN_MS = 8000;
const AGAIN_MS = 1000; // least time before the same line is said again

/** The names of paths, as on the page. */
const NAMES = [
  [/^\/bank\/(\d+)\/(store|arm|fire)$/, (bank, did) => `${did[0].toUpperCase()}${did.slice(1)} bank ${bank}`],
  [/^\/layer\/(\d+)\/(lock|freeze|order|recall)$/, (layer, did) => `${did[0].toUpperCase()}${did.slice(1)} layer ${layer}`],
  [/^\/unit\/.*freeze$/, () => "Freeze"],
  [/^\/key\/\d+$/, () => "Key"],
  [/^\/keys\/.*$/, () => "Keys"],
  [/^\/recall$/, () => "Recall all"],
  [/^\/rec\/start$/, () => "Record"],
  [/^\/rec\/stop$/, () => "Stop"],
  [/^\/([a-z])([a-z]*)$/, (first, rest) => `${first.toUpperCase()}${rest}`],
];

/** The name of a path. @param {string} path */
export function called(path) {
  for (const [form, name] of NAMES) {
    const found = form.exec(path);
    if (found) return name(...found.slice(1));
  }
  return path;
}

/** The sentence for a refused press. @param {import("./control.js").Why} why @param {string} path */
export function refusal(why, path) {
  const name = `“${called(path)}”`;
  if (why === "unknown") return `The connection broke before the answer came: ${name} may not have been done. Look, then press again.`;
  if (why === "too fast") return `Too much at once: ${name} was not done. Press it again.`;
  if (path === "/hush") return "No connection: the sound fades here, but the server was not hushed.";
  return `No connection: ${name} was not done. Press it again when the connection is back.`;
}

export class Notices {
  /** @param {HTMLElement} line a live region */
  constructor(line) {
    this.line = line;
    this.timer = 0;
    this.text = "";
    this.said = -AGAIN_MS;
  }

  /** Say something; false if it was just said. @param {string} text */
  say(text) {
    const now = performance.now();
    const again = text === this.text && now - this.said < AGAIN_MS;
    this.said = now;
    if (again) return false;
    this.text = text;
    // Outside an open dialog nothing would be seen or spoken.
    const place = document.querySelector("dialog[open]") ?? document.body;
    if (this.line.parentElement !== place) place.append(this.line);
    this.line.textContent = "";
    clearTimeout(this.timer);
    // Screen readers speak a change only if the line was empty before.
    this.timer = setTimeout(() => {
      this.line.textContent = text;
      this.timer = setTimeout(() => (this.line.textContent = ""), SHOWN_MS);
    }, 50);
    return true;
  }
}
