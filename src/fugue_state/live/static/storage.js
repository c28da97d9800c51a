/**
 * The browser's storage for this page. If the browser refuses (a private window, blocked cookies) or its storage is
 * full, values last until the page is left.
 */

/** Dispatches `refused` when the browser does not store something. */
class Store extends EventTarget {
  /** @param {"localStorage" | "sessionStorage"} name */
  constructor(name) {
    super();
    this.name = name;
    /** @type {Map<string, string | null>} what the browser may not have stored; null: removed */ this.own = new Map();
    /** Whether the browser has refused to store something. */ this.refused = false;
  }

  /** @param {string} key @returns {string | null} */
  get(key) {
    return this.own.has(key) ? this.own.get(key) : this.#ask((area) => area.getItem(key), null);
  }

  /** Read a value stored as JSON; undefined if it is missing, not JSON, or does not fit. */
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

  /** Remove all keys with this beginning, except one. @param {string} start @param {string} but */
  clear(start, but) {
    const known = new Set([...this.own.keys(), ...this.#ask((area) => Object.keys(area), [])]);
    for (const key of known) {
      if (!key.startsWith(start) || key === but) continue;
      this.own.set(key, null);
      this.#ask((area) => area.removeItem(key), undefined);
    }
  }

  /** Access the browser's storage; even naming it may throw. */
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
