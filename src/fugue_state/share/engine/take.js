/** What was played, as the text of a take that `fugue render` and `fugue play` accept. */

import { InputError } from "./errors.js";
import { Paths } from "./paths.js";

/** A text as TOML has it. @param {string} text */
function quoted(text) {
  return JSON.stringify(text).replaceAll("\u007f", "\\u007f"); // what JSON escapes, TOML reads
}

/** A number with a point, so that it is read as it was played. @param {number} number */
function real(number) {
  const text = String(number);
  return /[.e]/.test(text) ? text : `${text}.0`;
}

/**
 * The score that was played, with the changes made before sample `position`: later ones were not heard.
 * @param {Object} piece as share/parcel.py writes it
 * @param {{at: number, path: string, value: number | string}[]} log @param {number} position
 */
export function takeText(piece, log, position) {
  if (!position) throw new InputError("nothing was played yet: a take needs a block at least");
  const rate = piece.sound.rate_hz;
  const paths = new Paths(piece.controls);
  const changes = log
    .filter(({ at }) => at < position)
    .map(({ at, path, value }) => {
      const whole = paths.find(path).known.kind === "int";
      const told = typeof value === "string" ? quoted(value) : whole ? String(value) : real(value);
      return `\n[[changes]]\nat = ${real(at / rate)}\npath = ${quoted(path)}\nvalue = ${told}\n`;
    });
  return `played_s = ${real(position / rate)}\n${piece.text}${changes.join("")}`;
}
