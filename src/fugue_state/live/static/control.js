/**
 * The control socket: sends changes and receives those of others. For a control with a position (a fader, a brush) only
 * the newest value is sent, also after a lost connection. A press is sent once and at once, or refused; it is never
 * sent later or again.
 *
 * Dispatches each message of the server under its type, `link` when the connection comes or goes, and `refused`.
 */

const FLUSH_MS = 16;
const EACH_FLUSH = 12; // most messages per flush; the rest of a wide brush waits
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 4000;
const STANDS = /^\/(forget|volume|ab|tempo|part\/\d+\/forget|grid\/\d+|layer\/\d+\/forget|unit\/\d+\/\d+\/strength)$/;
const LOCAL = new Set(["localhost", "127.0.0.1", "[::1]"]); // reached without a network

/**
 * @typedef {"away" | "unknown" | "too fast"} Why a press is refused; unknown: it was sent, but not answered
 * @typedef {{path: string, args: unknown[], by?: string}} Change
 * @typedef {{change: Change, stands: boolean, turn: number}} Waiting
 */

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
    this.turn = 0;
    this.flushed = 0;
    /** @type {WebSocket | null} */ this.socket = null;
    /** @type {Map<string, Waiting>} */ this.queue = new Map();
    /** @type {Map<number, Waiting>} */ this.sent = new Map();
    /** @type {Map<string, number>} the newest turn of each path with a position */ this.newest = new Map();
    setInterval(() => this.#flush(), FLUSH_MS);
    // The system would keep what is sent without a network, and deliver it when the network is back.
    addEventListener("offline", () => {
      if (!LOCAL.has(location.hostname)) this.#drop();
    });
    this.#connect();
  }

  /**
   * Ask for a change; false if it is refused.
   * @param {string} path @param {unknown[]} [args] @param {string} [by]
   * @param {boolean} [stands] whether the path has a position, or is pressed
   */
  set(path, args = [], by, stands = STANDS.test(path)) {
    if (!this.open && !stands) {
      this.#refuse("away", path);
      return false;
    }
    const change = by ? { path, args, by } : { path, args };
    this.turn += 1;
    const key = stands ? path : `${path} ${this.turn}`;
    if (stands) this.newest.set(path, this.turn);
    this.queue.delete(key);
    this.queue.set(key, { change, stands, turn: this.turn });
    if (performance.now() - this.flushed >= FLUSH_MS) this.#flush();
    return true;
  }

  /** Whether a change of a path waits to be sent or answered. @param {string} path */
  waits(path) {
    return [...this.queue.values(), ...this.sent.values()].some(({ change }) => change.path === path);
  }

  #flush() {
    if (!this.open) return;
    this.flushed = performance.now();
    for (const [key, one] of [...this.queue].slice(0, EACH_FLUSH)) {
      this.queue.delete(key);
      this.id += 1;
      this.sent.set(this.id, one);
      this.socket.send(JSON.stringify({ type: "set", id: this.id, ...one.change }));
    }
  }

  #connect() {
    const socket = new WebSocket(this.address);
    this.socket = socket;
    socket.onopen = () =>
      socket.send(JSON.stringify({ type: "hello", session: this.session, rev: this.rev, ...this.who }));
    socket.onmessage = ({ data }) => {
      if (this.socket === socket) this.#take(JSON.parse(data));
    };
    socket.onclose = () => {
      if (this.socket === socket) this.#drop();
    };
  }

  /** The connection is lost or given up: dispatch that, and connect again. */
  #drop() {
    if (!this.socket) return;
    this.socket.close();
    this.socket = null;
    this.#link(false);
    const [waiting, sent] = [[...this.queue.values()], [...this.sent.values()]];
    this.queue.clear();
    this.sent.clear();
    this.#again([...sent, ...waiting].filter(({ stands }) => stands));
    for (const { change, stands } of sent) if (!stands) this.#refuse("unknown", change.path);
    for (const { change, stands } of waiting) if (!stands) this.#refuse("away", change.path);
    setTimeout(() => this.#connect(), this.wait);
    this.wait = Math.min(LONGEST_WAIT_MS, 2 * this.wait);
  }

  /** Queue positions again, in their order, unless a newer one was sent. @param {Waiting[]} ones */
  #again(ones) {
    for (const one of ones) {
      if (one.turn === this.newest.get(one.change.path)) this.queue.set(one.change.path, one);
    }
    this.queue = new Map([...this.queue].sort(([, a], [, b]) => a.turn - b.turn));
  }

  /** @param {Why} why @param {string} path */
  #refuse(why, path) {
    this.dispatchEvent(new CustomEvent("refused", { detail: { why, path } }));
  }

  /** @param {any} message */
  #take(message) {
    if (message.type === "welcome") {
      this.session = message.session;
      this.wait = FIRST_WAIT_MS;
      this.open = true; // listeners of the welcome may set values
      for (const [key, { change }] of this.queue) if (message.values[key] === change.args[0]) this.queue.delete(key);
    }
    if (message.rev != null) this.rev = message.rev;
    if (message.type === "ack" || message.type === "nack") {
      const one = this.sent.get(message.id);
      this.sent.delete(message.id);
      message.path = one?.change.path ?? "";
      if (message.code === "too_fast" && one) {
        if (one.stands) this.#again([one]);
        else this.#refuse("too fast", message.path);
      }
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
