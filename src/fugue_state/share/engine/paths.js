/** All controls by name, as score/paths.py in Python has them: their table travels with the piece. */

import { InputError, shown, unknown } from "./errors.js";

export const HOLD = "/hold/<n>";
const NUMBER = "(\\d{1,4})";
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u;

/**
 * @typedef {{pattern: string, kind: "float" | "int" | "string" | "trigger" | "bytes", minimum: number, maximum: number,
 *   default: number | string | null, choices: string[], recorded: boolean}} Path
 * @typedef {number | string | Uint8Array | null} Value
 */

export class Paths {
  /** @param {{paths: Path[], banks: number}} controls */
  constructor({ paths, banks }) {
    this.all = paths;
    this.banks = banks;
    this._forms = paths.map((known) => ({ known, form: new RegExp(`^${known.pattern.replace(/<[nkb]>/g, NUMBER)}$`) }));
    /** @type {Map<string, {known: Path, numbers: number[]}>} */ this._found = new Map();
  }

  /** The control that a path names, and the numbers in it, from 1 on. @param {string} path */
  find(path) {
    const before = this._found.get(path);
    if (before) return before;
    for (const { known, form } of this._forms) {
      const found = form.exec(path);
      if (!found) continue;
      const numbers = found.slice(1).map(Number);
      if (known.pattern.includes("<b>") && !(numbers[0] >= 1 && numbers[0] <= this.banks)) {
        throw new InputError(`${path}: there are banks 1 to ${this.banks}`);
      }
      this._found.set(path, { known, numbers });
      return { known, numbers };
    }
    throw unknown("path", path, this.all.map((known) => known.pattern));
  }

  /**
   * The value for a path: a number, a string, bytes, or null if it takes none. Bytes may be given as base64.
   * @param {string} path @param {unknown} [value] @returns {Value}
   */
  check(path, value) {
    const { known } = this.find(path);
    if (known.kind === "trigger") return null;
    if (value === undefined || value === null) {
      if (known.pattern === "/bank/<b>/fire") return known.default;
      throw new InputError(`${path} needs a value`);
    }
    if (known.kind === "bytes") return bytesOf(path, known, value);
    return known.kind === "string" ? textOf(path, known, value) : numberOf(path, known, value);
  }
}

/** @param {string} path @param {Path} known @param {unknown} value */
function numberOf(path, known, value) {
  const number = typeof value === "boolean" ? Number(value) : value;
  const whole = known.kind === "int" ? "whole number" : "number";
  const right = typeof number === "number" && number >= known.minimum && number <= known.maximum;
  if (!right || (known.kind === "int" && !Number.isInteger(number))) {
    throw new InputError(`${path} takes a ${whole} from ${known.minimum} to ${known.maximum}, got ${shown(value)}`);
  }
  return number;
}

/** @param {string} path @param {Path} known @param {unknown} value */
function textOf(path, known, value) {
  const length = typeof value === "string" ? [...value].length : -1;
  if (!(length >= known.minimum && length <= known.maximum) || UNPRINTABLE.test(value)) {
    throw new InputError(`${path} takes a line of up to ${known.maximum} characters, got ${shown(value)}`);
  }
  if (known.choices.length && !known.choices.includes(value)) throw unknown(path.slice(1), value, known.choices);
  return value;
}

/** @param {string} path @param {Path} known @param {unknown} value */
function bytesOf(path, known, value) {
  if (typeof value === "string" && !BASE64.test(value)) {
    throw new InputError(`${path} takes bytes, as base64 where they are text, got ${shown(value)}`);
  }
  const bytes = typeof value === "string" ? Uint8Array.from(atob(value), (c) => c.charCodeAt(0)) : value;
  if (!(bytes instanceof Uint8Array) || bytes.length < known.minimum || bytes.length > known.maximum) {
    throw new InputError(`${path} takes ${known.minimum} to ${known.maximum} bytes, got ${shown(value)}`);
  }
  return bytes;
}

/** A checked value as it is stored in a take: bytes as base64, nothing as 0. @param {Value} value */
export function written(value) {
  if (value instanceof Uint8Array) return btoa(String.fromCharCode(...value));
  return value ?? 0;
}
