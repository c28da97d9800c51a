/**
 * Sound: the audio context, its player and its source, and which sample of the stream is heard now. A browser may pause
 * a context (a call, a locked screen, a tab put aside): it is resumed as soon as that is possible, at any press at the
 * latest. Dispatches `change` when that happens.
 */

/**
 * What the player tells: which sample of the stream, of so many a second, it plays at a time of the context.
 * @typedef {{sample: number | null, rate: number, time: number}} Moment
 * @typedef {Moment & {cushion_ms: number, underruns: number, holding: boolean}} Report
 */

/**
 * Where sound comes from: `node` makes what plays it, `open` sends its blocks to a port from then on.
 * @typedef {Object} Source
 * @property {(context: AudioContext) => Promise<AudioWorkletNode>} node
 * @property {(player: MessagePort) => Promise<void>} open
 * @property {(expected: boolean) => void} expect says whether sound is to be expected, so that its end counts as a loss
 */

const STALE_S = 0.5;
const REFUSED_MS = 400; // a refused resume stays pending until a press, so do not wait longer
const WAKING = ["pointerdown", "pointerup", "keydown", "visibilitychange", "pageshow", "focus"];

export class Sound extends EventTarget {
  /** @param {Source} source */
  constructor(source) {
    super();
    this.source = source;
    /** @type {AudioContext | null} */ this.context = null;
    /** @type {AudioWorkletNode | null} */ this.node = null;
    /** @type {Report | null} */ this.report = null;
    this.expected = false;
  }

  /**
   * Start the sound; true once it may play. Browsers refuse until someone has pressed something. A call during another
   * one waits for it, and tries again if that was refused, because a press may have come in between.
   * @returns {Promise<boolean>}
   */
  start() {
    if (this.starting) {
      this.context?.resume().catch(() => {}); // within the press, as browsers demand
      return this.starting.then((open) => open || this.start());
    }
    this.starting = this.#start().finally(() => (this.starting = null));
    return this.starting;
  }

  async #start() {
    if (!globalThis.AudioContext) throw new Error("this browser has no Web Audio; a newer one has");
    if (!this.context) {
      this.context = new AudioContext({ latencyHint: "interactive" });
      this.context.onstatechange = () => this.#changed();
    }
    await Promise.race([this.context.resume(), new Promise((done) => setTimeout(done, REFUSED_MS))]);
    if (this.context.state !== "running") return false;
    if (!this.node) await this.#connect(this.context);
    return true;
  }

  /** @param {AudioContext} context */
  async #connect(context) {
    const node = await this.source.node(context);
    const { port1, port2 } = new MessageChannel();
    await this.source.open(port2);
    this.expect(this.expected);
    node.port.postMessage({ feed: port1 }, [port1]);
    node.port.onmessage = ({ data }) => (this.report = data);
    node.connect(context.destination);
    this.node = node;
    for (const happens of WAKING) addEventListener(happens, () => this.wake(), true);
  }

  /** Whether the browser has paused the sound since it was started. */
  get paused() {
    return this.node !== null && this.context.state !== "running";
  }

  /** Resume the sound if the browser has paused it. */
  wake() {
    // If it is refused, the next press tries again.
    if (this.paused) this.context.resume().catch(() => {});
  }

  #changed() {
    this.wake();
    this.dispatchEvent(new Event("change"));
  }

  /** Say whether sound is expected, so that a missing stream counts as lost. @param {boolean} expected */
  expect(expected) {
    this.expected = expected;
    this.source.expect(expected);
  }

  /** Fade out the loop that is held while the server is away. */
  hush() {
    this.node?.port.postMessage({ hush: true });
  }

  /** The sample that leaves the speakers at this time, or null. @param {number} now as performance.now() */
  heard(now) {
    const { context, report } = this;
    if (!context || this.paused || report?.sample == null || context.currentTime - report.time > STALE_S) return null;
    const { contextTime = 0, performanceTime = 0 } = context.getOutputTimestamp();
    const leaving = contextTime
      ? contextTime + (now - performanceTime) / 1000
      : context.currentTime - (context.outputLatency || context.baseLatency);
    return report.sample + (leaving - report.time) * report.rate;
  }

  /** Milliseconds from the ring to the ear. */
  get latency_ms() {
    if (!this.context || !this.report) return 0;
    return this.report.cushion_ms + 1000 * (this.context.outputLatency || this.context.baseLatency);
  }
}

/**
 * What plays a stream in a thread of its own. @param {AudioContext} context @param {URL | string} script of the worklet
 * @returns {Promise<AudioWorkletNode>}
 */
export async function player(context, script) {
  if (!context.audioWorklet) throw new Error("the browser allows it only to https and to localhost");
  await context.audioWorklet.addModule(script);
  return new AudioWorkletNode(context, "player", { numberOfInputs: 0, outputChannelCount: [2] });
}
