/** Where the sound of a shared page comes from: the engine's worker, straight to what plays it. */

import { player } from "./audio.js";
import { Scheduled } from "./scheduled.js";

/** @implements {import("./audio.js").Source} */
export class FromEngine {
  /** @param {import("./engine.js").Engine} engine @param {string} script of the worklet */
  constructor(engine, script) {
    this.engine = engine;
    // A page from a disk may take a worklet from nowhere else.
    this.script = `data:text/javascript,${encodeURIComponent(script)}`;
  }

  /** @param {AudioContext} context */
  async node(context) {
    try {
      return await player(context, this.script);
    } catch {
      return new Scheduled(context); // a browser that refuses worklets, or an address without https
    }
  }

  /** @param {MessagePort} port */
  async open(port) {
    this.engine.say({ player: port }, [port]);
  }

  expect() {} // the engine is never away
}
