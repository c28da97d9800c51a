/** Sound: the audio context, its worklet and its feed, and which sample of the stream is heard now. */

/**
 * What the worklet tells: which sample of the stream, of so many a second, it plays at a time of the context.
 * @typedef {{sample: number | null, rate: number, time: number}} Moment
 * @typedef {Moment & {cushion_ms: number, underruns: number, holding: boolean}} Report
 */

const STALE_S = 0.5;

export class Sound {
  /** @param {string} address of the audio socket */
  constructor(address) {
    this.address = address;
    /** @type {AudioContext | null} */ this.context = null;
    /** @type {AudioWorkletNode | null} */ this.node = null;
    /** @type {Report | null} */ this.report = null;
    /** @type {Worker | null} */ this.feed = null;
    this.expected = false;
  }

  /** Open the way to the speakers; true once sound may play. Browsers refuse it until someone has pressed something. */
  async start() {
    this.context ??= new AudioContext({ latencyHint: "interactive" });
    // A refused resume stays pending until a press; it must not keep the page waiting.
    await Promise.race([this.context.resume(), new Promise((done) => setTimeout(done, 400))]);
    if (this.context.state !== "running") return false;
    if (!this.node) await this.#connect(this.context);
    return true;
  }

  /** @param {AudioContext} context */
  async #connect(context) {
    await context.audioWorklet.addModule(new URL("worklet.js", import.meta.url));
    const node = new AudioWorkletNode(context, "player", { numberOfInputs: 0, outputChannelCount: [2] });
    const { port1, port2 } = new MessageChannel();
    node.port.postMessage({ feed: port1 }, [port1]);
    node.port.onmessage = ({ data }) => (this.report = data);
    this.feed = new Worker(new URL("feed.js", import.meta.url), { type: "module" });
    this.feed.postMessage({ address: this.address, player: port2 }, [port2]);
    this.expect(this.expected);
    node.connect(context.destination);
    this.node = node;
  }

  /** Say whether sound is to be expected, so that its end counts as a loss. @param {boolean} expected */
  expect(expected) {
    this.expected = expected;
    this.feed?.postMessage({ expected });
  }

  /** Let go of what is held while the server is away. */
  hush() {
    this.node?.port.postMessage({ hush: true });
  }

  /** The sample that leaves the speakers at this time, or null. @param {number} now as performance.now() */
  heard(now) {
    const { context, report } = this;
    if (!context || report?.sample == null || context.currentTime - report.time > STALE_S) return null;
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
