/** Errors that say what would be right. */

const LONGEST = 40;

/** Something impossible was asked for: a wrong value or name. */
export class InputError extends Error {
  /** @param {string} message one line */
  constructor(message) {
    super(message);
    this.name = "InputError";
  }
}

/** A value for a message. @param {unknown} value */
export function shown(value) {
  const text = typeof value === "bigint" ? String(value) : (JSON.stringify(value) ?? String(value));
  return text.length <= LONGEST ? text : `${text.slice(0, LONGEST)}...`;
}

/** The error for a name that is none of the choices. @param {string} what @param {unknown} value @param {string[]} choices */
export function unknown(what, value, choices) {
  return new InputError(`unknown ${what} ${shown(value)} (known: ${choices.join(", ")})`);
}
