/** What a shared page says in words: how much is remembered, for those who do not see it, and what the browser lacks. */

const AGAIN_MS = 10_000; // between two sentences
const SHARES = [
  [0, "Nothing is remembered."],
  [0.1, "A tenth is remembered."],
  [0.2, "A fifth is remembered."],
  [0.25, "A quarter is remembered."],
  [0.3, "Three tenths are remembered."],
  [0.4, "Two fifths are remembered."],
  [0.5, "Half is remembered."],
  [0.6, "Three fifths are remembered."],
  [0.7, "Seven tenths are remembered."],
  [0.75, "Three quarters are remembered."],
  [0.8, "Four fifths are remembered."],
  [0.9, "Nine tenths are remembered."],
  [1, "Everything is remembered."],
];

/** @param {number} share 0 to 1 @returns {string} */
export function inWords(share) {
  const away = ([known]) => Math.abs(known - share);
  return SHARES.reduce((best, one) => (away(one) < away(best) ? one : best))[1];
}

export class Words {
  /** @param {HTMLElement} line a live region @param {() => number} [now] in milliseconds */
  constructor(line, now = () => performance.now()) {
    this.line = line;
    this.now = now;
    this.said = -Infinity;
    this.tenth = -1;
  }

  /** Say how much is remembered, if that has changed by a tenth and nothing was said lately. @param {number} share */
  remembered(share) {
    const tenth = Math.round(10 * share);
    const now = this.now();
    if (tenth === this.tenth || now - this.said < AGAIN_MS) return;
    this.tenth = tenth;
    this.said = now;
    this.line.textContent = inWords(share);
  }
}

/** Why a piece cannot be played in this browser, or "". @returns {string} */
export function missing() {
  if (!globalThis.WebAssembly) return "This browser has no WebAssembly, or is told not to use it: the piece needs it to play.";
  if (!globalThis.AudioContext) return "This browser has no Web Audio: the piece needs it to sound. A newer one has.";
  if (!globalThis.DecompressionStream) return "This browser cannot unpack the piece (no DecompressionStream). A newer one can.";
  return "";
}
