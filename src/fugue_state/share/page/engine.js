/**
 * The engine, as the page speaks to it: a worker in place of a server. Dispatches each of its messages under its type.
 */

export class Engine extends EventTarget {
  /** @param {string} script of the worker */
  constructor(script) {
    super();
    const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    this.worker = new Worker(address);
    this.worker.onmessage = ({ data }) => this.#take(data);
    this.worker.onerror = ({ message }) => this.#take({ type: "bye", reason: `The engine has failed: ${message}` });
    this.open = false;
    this.id = 0;
    /** @type {Map<number, string>} what waits to be answered */ this.sent = new Map();
  }

  /** Say something. @param {any} message @param {Transferable[]} [given] */
  say(message, given = []) {
    this.worker.postMessage(message, given);
  }

  /** Ask for a change. @param {string} path @param {unknown[]} [args] */
  set(path, args = []) {
    this.id += 1;
    this.sent.set(this.id, path);
    this.say({ type: "set", id: this.id, path, args });
    return true;
  }

  /** Whether something of a path waits to be answered. @param {string} path */
  waits(path) {
    return [...this.sent.values()].includes(path);
  }

  /** @param {any} message */
  #take(message) {
    if (message.type === "welcome") this.open = true;
    if (message.type === "ack" || message.type === "nack") {
      message.path = this.sent.get(message.id) ?? "";
      this.sent.delete(message.id);
    }
    this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
  }
}
