/**
 * What the browser keeps for this page. It may refuse (a private window, blocked cookies) or be full: then the page
 * remembers until it is left, and nothing else changes.
 */

/** Dispatches `refused` when the browser does not keep something. */
class Store extends EventTarget {
  /** @param {"localStorage" | "sessionStorage"} name */
  constructor(name) {
    super();
    this.name = name;
    /** @type {Map<string, string | null>} what the browser may not have kept; null: let go */ this.own = new Map();
    /** Whether the browser has refused to keep something. */ this.refused = false;
  }

  /** @param {string} key @returns {string | null} */
  get(key) {
    return this.own.has(key) ? this.own.get(key) : this.#ask((area) => area.getItem(key), null);
  }

  /** What was kept as JSON; undefined for what is not there, not JSON, or not as it should be. */
  read(key, fits) {
    try {
      const found = JSON.parse(this.get(key) ?? "null");
      return fits(found) ? found : undefined;
    } catch {
      return undefined;
    }
  }

  /** @param {string} key @param {string} value */
  set(key, value) {
    this.own.set(key, value);
    this.#ask((area) => area.setItem(key, value), undefined);
  }

  /** Let go of all keys that begin so, but for one. @param {string} start @param {string} but */
  clear(start, but) {
    const known = new Set([...this.own.keys(), ...this.#ask((area) => Object.keys(area), [])]);
    for (const key of known) {
      if (!key.startsWith(start) || key === but) continue;
      this.own.set(key, null);
      this.#ask((area) => area.removeItem(key), undefined);
    }
  }

  /** Ask the browser's store for something; the very name of it may throw. */
  #ask(what, otherwise) {
    try {
      return what(globalThis[this.name]);
    } catch {
      this.refused = true;
      this.dispatchEvent(new Event("refused"));
      return otherwise;
    }
  }
}

export const ofTab = new Store("sessionStorage");
export const ofBrowser = new Store("localStorage");
