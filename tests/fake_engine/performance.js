/** A performance that needs no memory: a sine as loud as units are remembered. */

const RATE = 44_100;
const BLOCK = 1024;
const HZ = 441;

export class Performance {
  constructor(piece, arrays, memory) {
    Object.assign(this, { piece, memory, rate: RATE, block: BLOCK, latency: 64, position: 0, log: [] });
    this.values = { "/play": 1, "/freeze": 0, "/forget": 0, "/chord": "", "/quality": "live", "/volume": 0.25 };
    for (const i of memory.layers.keys()) this.values[`/layer/${i + 1}/forget`] = 0;
    this.brushed = new Float32Array(memory.units).fill(1);
    this.frozen = new Uint8Array(memory.units);
    this.moves = [...(piece.moves ?? [])];
    this.rested = 0;
  }

  get strengths() {
    return this.brushed.map((left) => left * (1 - this.values["/forget"]) * (this.piece.left ?? 1));
  }

  change(path, value) {
    if (path === "/rest") this.rested += 1;
    if (path === "/chord" && value && !this.memory.labels.includes(value)) throw new Error(`no chord ${value}`);
    const unit = /^\/unit\/1\/(\d+)\/strength$/.exec(path);
    if (unit) this.brushed[Number(unit[1]) - 1] = value;
    else if (path.startsWith("/grid/")) this.brushed.set(Array.from(value, (byte) => byte / 255), path === "/grid/1" ? 0 : 64);
    else if (path === "/hush") this.values = { ...this.values, "/play": 0 };
    else if (path in this.values) this.values = { ...this.values, [path]: value };
    this.log.push({ at: this.position, path, value });
  }

  back(path) {
    const unit = /^\/unit\/1\/(\d+)\/strength$/.exec(path);
    if (unit) return [[path, this.brushed[Number(unit[1]) - 1]]];
    if (path === "/grid/1") return [[path, Uint8Array.from(this.brushed.subarray(0, 64), (left) => 255 * left)]];
    return path in this.values ? [[path, this.values[path]]] : [];
  }

  next() {
    const { position, piece } = this;
    while (this.moves.length && this.moves[0].at <= position) {
      const { path, value } = this.moves.shift();
      this.change(path, value);
    }
    if (piece.breaks_at !== undefined && position >= piece.breaks_at) throw new Error("a weight is missing");
    if (piece.busy_s) for (const end = performance.now() + 1000 * piece.busy_s; performance.now() < end; );
    this.position += BLOCK;
    const { strengths } = this;
    const gain = this.values["/play"] ? 0.5 * (strengths.reduce((sum, one) => sum + one, 0) / strengths.length) : 0;
    const samples = new Float32Array(2 * BLOCK);
    for (let i = 0; i < 2 * BLOCK; i++) samples[i] = gain * Math.sin((2 * Math.PI * HZ * (position + (i >> 1))) / RATE);
    const activations = strengths.map((left) => 0.3 * left);
    const mel = new Float32Array(128).map((_, band) => (band === 20 ? 1 : -1));
    return { position, samples, chord: "Am", strengths, activations, mel, peak: -6, lufs: -9, overloaded: false };
  }
}
