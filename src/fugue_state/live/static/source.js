/** Where the live page's sound comes from: the server, by way of a worker that speaks to its audio socket. */

import { player } from "./audio.js";

/** @implements {import("./audio.js").Source} */
export class Server {
  /** @param {string} address of the audio socket */
  constructor(address) {
    this.address = address;
    /** @type {Worker | null} */ this.feed = null;
  }

  /** @param {AudioContext} context */
  node(context) {
    return player(context, new URL("worklet.js", import.meta.url));
  }

  /** @param {MessagePort} port */
  async open(port) {
    this.feed = await opened(new Worker(new URL("feed.js", import.meta.url), { type: "module" }));
    this.feed.postMessage({ address: this.address, player: port }, [port]);
  }

  /** @param {boolean} expected */
  expect(expected) {
    this.feed?.postMessage({ expected });
  }
}

/** A worker once it works; an error if its script cannot be had. @param {Worker} worker @returns {Promise<Worker>} */
function opened(worker) {
  return new Promise((done, fail) => {
    worker.onmessage = () => done(worker);
    worker.onerror = () => {
      worker.terminate();
      fail(new Error("the server does not answer"));
    };
  });
}
