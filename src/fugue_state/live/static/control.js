/**
 * The control socket: what is set goes out, the newest value of a path first and only; what changed comes in.
 * Dispatches each message of the server under its type, and `link` when the connection comes or goes.
 */

const FLUSH_MS = 16;
const EACH_FLUSH = 12; // messages; a wide brush waits its turn
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 4000;

/** @typedef {{path: string, args: unknown[], by?: string}} Change */

export class Control extends EventTarget {
  /** @param {string} address @param {{name: string, view: boolean}} who */
  constructor(address, who) {
    super();
    this.address = address;
    this.who = who;
    this.session = null;
    this.rev = null;
    this.open = false;
    this.wait = FIRST_WAIT_MS;
    this.id = 0;
    this.flushed = 0;
    /** @type {Map<string, Change>} */ this.queue = new Map();
    /** @type {Map<number, Change>} */ this.sent = new Map();
    setInterval(() => this.#flush(), FLUSH_MS);
    this.#connect();
  }

  /** Ask for a change. @param {string} path @param {unknown[]} args @param {string} [by] */
  set(path, args = [], by) {
    // What is pressed while nobody listens must not come true later; where a fader stands must.
    if (!this.open && !args.length) return;
    const change = by ? { path, args, by } : { path, args };
    // Presses count each for itself; of values only the newest, in its turn.
    const key = args.length ? path : `${path} ${(this.id += 1)}`;
    this.queue.delete(key);
    this.queue.set(key, change);
    if (performance.now() - this.flushed >= FLUSH_MS) this.#flush();
  }

  #flush() {
    if (!this.open) return;
    this.flushed = performance.now();
    for (const [key, change] of [...this.queue].slice(0, EACH_FLUSH)) {
      this.queue.delete(key);
      this.id += 1;
      this.sent.set(this.id, change);
      this.socket.send(JSON.stringify({ type: "set", id: this.id, ...change }));
    }
  }

  #connect() {
    this.socket = new WebSocket(this.address);
    this.socket.onopen = () =>
      this.socket.send(JSON.stringify({ type: "hello", session: this.session, rev: this.rev, ...this.who }));
    this.socket.onmessage = ({ data }) => this.#take(JSON.parse(data));
    this.socket.onclose = () => {
      if (this.open) this.#link(false);
      for (const change of this.sent.values()) {
        if (change.args.length && !this.queue.has(change.path)) this.queue.set(change.path, change);
      }
      this.sent.clear();
      setTimeout(() => this.#connect(), this.wait);
      this.wait = Math.min(LONGEST_WAIT_MS, 2 * this.wait);
    };
  }

  /** @param {any} message */
  #take(message) {
    if (message.type === "welcome") {
      this.session = message.session;
      this.wait = FIRST_WAIT_MS;
    }
    if (message.rev != null) this.rev = message.rev;
    if (message.type === "ack" || message.type === "nack") {
      const change = this.sent.get(message.id);
      this.sent.delete(message.id);
      if (message.code === "too_fast" && change?.args.length && !this.queue.has(change.path)) {
        this.queue.set(change.path, change);
      }
      message.path = change?.path ?? "";
    }
    this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
    if (message.type === "welcome") this.#link(true);
  }

  /** @param {boolean} open */
  #link(open) {
    this.open = open;
    this.dispatchEvent(new CustomEvent("link", { detail: open }));
  }
}
