/**
 * All units on one canvas, one band of cells per layer. Shapes as in films: a square as large as the unit's strength
 * and as bright as it fires, and a rising stroke for a forgotten unit. The page adds a ring for a frozen unit and a
 * falling hatch for a change that is not heard yet.
 */

import { FILLED, MARK, ROUND, STEPS } from "./cell.js"; // from look/cell.py
import { colour } from "./theme.js";

const LARGEST_PITCH = 44;
const CAPTION = 22;
const HEADING = 26; // above a part
const APART = 28; // pixels between two parts beside each other
const GROWTH = 0.25; // cells of smaller layers are larger: by the ratio of units to this power

/** @typedef {import("./cells.js").Layer} Layer */
/** @typedef {import("./parts.js").Part} Part */
/** @typedef {{layer: Layer, rows: number, columns: number, pitch: number, x: number, y: number}} Band */
/** @typedef {{x: number, y: number, width: number, height: number}} Panel */

/**
 * Divide a field among parts, so that the cells of the smallest are largest: side by side, below each other, or both.
 * @param {Part[]} parts @param {number} width @param {number} height @returns {{panels: Panel[], bands: Band[]}}
 */
export function divide(parts, width, height) {
  const ways = parts.map((_, i) => {
    const columns = i + 1;
    const rows = Math.ceil(parts.length / columns);
    const wide = (width - (columns - 1) * APART) / columns;
    const high = height / rows;
    const panels = parts.map((_, number) => {
      const row = Math.floor(number / columns);
      return { x: (number - row * columns) * (wide + APART), y: row * high, width: wide, height: high };
    });
    const bands = parts.map(({ layers }) => layOut(layers, wide, high - HEADING));
    return { panels, bands, least: Math.min(...bands.flat().map(({ pitch }) => pitch)) };
  });
  const { panels, bands } = ways.reduce((best, way) => (way.least > best.least ? way : best));
  for (const [i, { x, y }] of panels.entries()) {
    for (const one of bands[i]) Object.assign(one, { x: one.x + x, y: one.y + y + HEADING });
  }
  return { panels, bands: bands.flat() };
}

/**
 * Arrange a memory's layers below each other, with the largest cells that fit.
 * @param {Layer[]} layers @param {number} width @param {number} height @returns {Band[]}
 */
export function layOut(layers, width, height) {
  const most = Math.max(...layers.map((layer) => layer.units));
  const room = height - layers.length * CAPTION;
  let least = 2;
  let large = LARGEST_PITCH;
  const bandsOf = (pitch) => layers.map((layer) => band(layer, pitch * (most / layer.units) ** GROWTH, width));
  for (let i = 0; i < 24; i++) {
    const pitch = (least + large) / 2;
    const needed = bandsOf(pitch).reduce((sum, one) => sum + one.rows * one.pitch, 0);
    if (needed <= room) least = pitch;
    else large = pitch;
  }
  const bands = bandsOf(least);
  const used = bands.reduce((sum, one) => sum + one.rows * one.pitch, 0);
  const space = Math.min(CAPTION, (room - used) / layers.length);
  let y = 0;
  for (const one of bands) {
    one.y = y + CAPTION;
    y = one.y + one.rows * one.pitch + space;
  }
  return bands;
}

/** Arrange a layer's cells in the fewest rows in which they have at least this size, across the full width. */
function band(layer, least, width) {
  const wanted = Math.min(least, LARGEST_PITCH);
  const rows = Math.ceil(layer.units / Math.max(1, Math.floor(width / wanted)));
  const columns = Math.ceil(layer.units / rows);
  return { layer, rows, columns, pitch: Math.min(width / columns, LARGEST_PITCH), x: 0, y: 0 };
}

export class Grid {
  /** @param {HTMLElement} root with a canvas, a field over it and a place for captions */
  constructor(root) {
    this.root = root;
    this.canvas = root.querySelector("canvas");
    this.captions = root.querySelector(".captions");
    this.context = this.canvas.getContext("2d", { alpha: false });
    /** @type {Band[]} */ this.bands = [];
    new ResizeObserver(() => this.#arrange()).observe(root);
  }

  /** Show the units of some parts. @param {import("./cells.js").Cells} cells @param {Part[]} parts */
  show(cells, parts) {
    this.cells = cells;
    this.parts = parts;
    this.heads = parts.length > 1 ? parts.map(({ name, memory }) => titled(name, memory === name ? "" : memory)) : [];
    for (const head of this.heads) head.className = "head";
    this.names = parts.flatMap(({ layers }) => layers.map(({ short }) => titled(short)));
    this.captions.replaceChildren(...this.heads, ...this.names);
    this.#arrange();
  }

  #arrange() {
    if (!this.cells) return;
    const { clientWidth: width, clientHeight: height } = this.root;
    if (!width || !height) return;
    this.scale = devicePixelRatio;
    this.canvas.width = Math.round(width * this.scale);
    this.canvas.height = Math.round(height * this.scale);
    this.context.fillStyle = colour("ground");
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    if (this.heads.length) {
      const { panels, bands } = divide(this.parts, width, height);
      this.bands = bands;
      for (const [i, panel] of panels.entries()) place(this.heads[i], panel.x, panel.y, panel.width);
      for (const [i, one] of bands.entries()) place(this.names[i], one.x, one.y - CAPTION, panels[0].width);
    } else {
      this.bands = layOut(this.parts[0].layers, width, height);
      for (const [i, one] of this.bands.entries()) place(this.names[i], 0, one.y - CAPTION, width);
    }
    this.sprites = this.bands.map(({ layer, pitch }) =>
      drawSprites(Math.floor(pitch * this.scale), colour(layer.tone)),
    );
    /** The look of each cell on the canvas, so that only changed cells are drawn. */
    this.drawn = new Int32Array(this.cells.size.length).fill(-1);
    this.root.dispatchEvent(new Event("arranged"));
  }

  /** Paint the cells that have changed. */
  paint() {
    for (const [i, one] of this.bands.entries()) this.#paintBand(one, this.sprites[i]);
  }

  /** @param {Band} band @param {Sprites} sprites */
  #paintBand({ layer, columns, pitch, x, y }, sprites) {
    const { cells, context, drawn, scale } = this;
    const { size, glow, flare, heard, frozen, due } = cells;
    for (let i = 0; i < layer.units; i++) {
      const u = layer.start + i;
      const level = Math.round(size[u] * STEPS);
      const shine = Math.round(glow[u] * 63);
      const flash = Math.round(flare[u] * 31);
      const gone = heard[u] === 0 ? 1 : 0;
      const waits = due[u] ? 1 : 0;
      const look = level | (shine << 5) | (flash << 11) | (gone << 16) | (frozen[u] << 17) | (waits << 18);
      if (look === drawn[u]) continue;
      drawn[u] = look;
      const left = Math.round((x + (i % columns) * pitch) * scale);
      const top = Math.round((y + Math.floor(i / columns) * pitch) * scale);
      const p = sprites.pitch;
      context.globalAlpha = 1;
      context.fillRect(left, top, p, p);
      const stamp = (picture, alpha) => {
        context.globalAlpha = alpha;
        context.drawImage(sprites.strip, picture * p, 0, p, p, left, top, p, p);
      };
      if (level) stamp(level, shine / 63);
      if (gone) stamp(SCAR, 1 - Math.max(level / STEPS, flash / 31));
      if (flash) stamp(FLARE, flash / 31);
      if (waits) stamp(HATCH, 1);
      if (frozen[u]) stamp(RING, 1);
    }
  }

  /**
   * Write how much is remembered. @param {string[]} counts of all layers, shown or not
   * @param {string[]} shares of all parts
   */
  count(counts, shares) {
    for (const [i, { layer }] of this.bands.entries()) write(this.names[i].lastChild, counts[layer.number]);
    for (const [i, head] of this.heads.entries()) write(head.lastChild, shares[i]);
  }

  /** The first unit that is shown, and the last. @returns {[number, number]} */
  get ends() {
    const last = this.bands.at(-1).layer;
    return [this.bands[0].layer.start, last.start + last.units - 1];
  }

  /** The position of a shown unit's cell within the grid, in CSS pixels. @param {number} unit */
  cell(unit) {
    const number = this.bands.findIndex(({ layer }) => unit < layer.start + layer.units);
    const band = this.bands[number];
    const i = unit - band.layer.start;
    const row = Math.floor(i / band.columns);
    const column = i % band.columns;
    const x = band.x + column * band.pitch;
    return { band, number, row, column, x, y: band.y + row * band.pitch, pitch: band.pitch };
  }

  /** The unit at a position, or null. @param {number} x @param {number} y */
  unitAt(x, y) {
    for (const { layer, columns, rows, pitch, x: left, y: top } of this.bands) {
      const row = Math.floor((y - top) / pitch);
      const column = Math.floor((x - left) / pitch);
      const i = row * columns + column;
      if (row >= 0 && row < rows && column >= 0 && column < columns && i < layer.units) return layer.start + i;
    }
    return null;
  }

  /** The units whose cells have their centre within a radius of a position. @returns {number[]} */
  unitsNear(x, y, radius) {
    const found = [];
    for (const { layer, columns, rows, pitch, x: left, y: top } of this.bands) {
      const first = Math.max(0, Math.floor((y - radius - top) / pitch));
      const last = Math.min(rows - 1, Math.floor((y + radius - top) / pitch));
      for (let row = first; row <= last; row++) {
        for (let column = Math.max(0, Math.floor((x - left - radius) / pitch)); column < columns; column++) {
          const away = Math.hypot(left + (column + 0.5) * pitch - x, top + (row + 0.5) * pitch - y);
          const i = row * columns + column;
          if (away <= radius && i < layer.units) found.push(layer.start + i);
          if (left + column * pitch > x + radius) break;
        }
      }
    }
    return found;
  }
}

/** A line of the grid: a name and something about it on the left, a number on the right. */
function titled(name, about = "") {
  const line = document.createElement("div");
  line.innerHTML = about ? "<b></b> <i></i> <span></span>" : "<b></b> <span></span>";
  line.firstChild.textContent = name;
  if (about) line.querySelector("i").textContent = about;
  return line;
}

/** @param {Node} place @param {string} text */
function write(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

/** @param {HTMLElement} line @param {number} x @param {number} y @param {number} width */
function place(line, x, y, width) {
  Object.assign(line.style, { left: `${x}px`, top: `${y}px`, width: `${width}px` });
}

const FLARE = STEPS + 1;
const SCAR = STEPS + 2;
const RING = STEPS + 3;
const HATCH = STEPS + 4;

/** @typedef {{pitch: number, strip: HTMLCanvasElement}} Sprites */

/**
 * Draw all shapes of a cell side by side: squares from empty to full, then the marks.
 * @param {number} pitch in pixels of the canvas @param {string} light @returns {Sprites}
 */
function drawSprites(pitch, light) {
  const strip = document.createElement("canvas");
  strip.width = pitch * (HATCH + 1);
  strip.height = pitch;
  const context = strip.getContext("2d");
  const inner = Math.min(FILLED * pitch, pitch - 1);
  const square = (picture, share, fill) => {
    const side = inner * Math.sqrt(share);
    context.fillStyle = fill;
    context.beginPath();
    context.roundRect(picture * pitch + (pitch - side) / 2, (pitch - side) / 2, side, side, ROUND * side);
    context.fill();
  };
  for (let level = 1; level <= STEPS; level++) square(level, level / STEPS, light);
  square(FLARE, 1, colour("flare"));
  context.lineCap = "round";
  const reach = (MARK * pitch) / 2 / Math.SQRT2;
  const stroke = (picture, x, y, rising, ink, width) => {
    context.strokeStyle = ink;
    context.lineWidth = width;
    context.beginPath();
    context.moveTo((picture + 0.5) * pitch + x - reach, pitch / 2 + y + rising * reach);
    context.lineTo((picture + 0.5) * pitch + x + reach, pitch / 2 + y - rising * reach);
    context.stroke();
  };
  stroke(SCAR, 0, 0, 1, colour("scar"), Math.max(1, pitch / 11));
  for (const away of [-0.16, 0.16]) {
    stroke(HATCH, away * pitch, -away * pitch, -1, colour("ink"), Math.max(1, pitch / 16));
  }
  context.strokeStyle = colour("ink");
  context.lineWidth = Math.max(1, pitch / 12);
  const edge = context.lineWidth / 2;
  context.beginPath();
  context.roundRect(RING * pitch + edge, edge, pitch - 2 * edge, pitch - 2 * edge, 0.3 * pitch);
  context.stroke();
  return { pitch, strip };
}
