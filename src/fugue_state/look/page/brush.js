/** Brushes on the grid, by pointer and by keys, and the spoken description of the unit under the cursor. */

import { fill } from "./controls.js";

const KINDS = ["forget", "recall", "freeze"];
const LARGEST = 9;
const STRIDE = 4; // pixels between the points of a stroke

/** @typedef {"forget" | "recall" | "freeze"} Kind */

export class Brush {
  /**
   * @param {import("./grid.js").Grid} grid
   * @param {(units: number[], kind: Kind, amount: number, freezing: boolean) => void} apply
   */
  constructor(grid, apply) {
    this.grid = grid;
    this.apply = apply;
    /** @type {Kind} */ this.kind = "forget";
    this.size = 1;
    this.amount = 1;
    this.unit = 0;
    this.field = grid.root.querySelector("[role=grid]");
    this.row = this.field.querySelector("[role=row]");
    this.active = this.field.querySelector("[role=gridcell]");
    this.cursor = grid.root.querySelector(".cursor");
    this.circle = grid.root.querySelector(".circle");
    /** The stroke of each pointer: its position, and the units it has touched. */
    this.strokes = new Map();
    this.#listen();
  }

  #listen() {
    const { field } = this;
    field.addEventListener("pointerdown", (event) => this.#begin(event));
    field.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      field.addEventListener(end, ({ pointerId }) => this.strokes.delete(pointerId));
    }
    field.addEventListener("pointerleave", () => (this.circle.hidden = true));
    field.addEventListener("contextmenu", (event) => event.preventDefault());
    field.addEventListener("keydown", (event) => this.#key(event));
    field.addEventListener("focus", () => this.point(this.unit));
    // What was pointed at may no longer be shown.
    this.grid.root.addEventListener("arranged", () => {
      const [first, last] = this.grid.ends;
      this.point(this.unit < first || this.unit > last ? first : this.unit);
    });
  }

  /** Choose what the brush does. @param {Kind} kind */
  choose(kind) {
    this.kind = kind;
    this.field.dispatchEvent(new Event("brush"));
  }

  /** Make the brush larger or smaller. @param {number} by */
  resize(by) {
    this.size = Math.min(LARGEST, Math.max(1, this.size + by));
    this.field.dispatchEvent(new Event("brush"));
  }

  /** The brush's radius in pixels; half a cell at size 1. */
  get radius() {
    return (this.size - 0.5) * Math.min(...this.grid.bands.map((band) => band.pitch));
  }

  #unitsAt(x, y) {
    const under = this.grid.unitAt(x, y);
    const near = this.size > 1 ? this.grid.unitsNear(x, y, this.radius) : [];
    return under === null || near.includes(under) ? near : [under, ...near];
  }

  /** @param {PointerEvent} event */
  #begin(event) {
    if (!this.grid.cells) return;
    this.field.setPointerCapture(event.pointerId);
    const { x, y } = this.#place(event);
    const under = this.grid.unitAt(x, y);
    if (under !== null) this.point(under);
    const turned = event.button === 2 || event.altKey;
    const kind = turned && this.kind !== "freeze" ? KINDS[1 - KINDS.indexOf(this.kind)] : this.kind;
    // A stroke that begins on a frozen unit releases units.
    const freezing = under === null || !this.grid.cells.frozen[under];
    this.strokes.set(event.pointerId, { x, y, kind, freezing, touched: new Set() });
    this.#stroke(event.pointerId, x, y);
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const { x, y } = this.#place(event);
    this.#ring(x, y);
    if (!this.strokes.has(event.pointerId)) return;
    for (const one of event.getCoalescedEvents?.() ?? [event]) {
      const place = this.#place(one);
      this.#stroke(event.pointerId, place.x, place.y);
    }
  }

  #place(event) {
    const { left, top } = this.grid.root.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  #ring(x, y) {
    this.circle.hidden = false;
    this.circle.style.transform = `translate(${x - this.radius}px, ${y - this.radius}px)`;
    this.circle.style.width = this.circle.style.height = `${2 * this.radius}px`;
  }

  /** Apply the brush between a stroke's last point and this one; to each unit only once per stroke. */
  #stroke(id, x, y) {
    const stroke = this.strokes.get(id);
    const steps = Math.ceil(Math.hypot(x - stroke.x, y - stroke.y) / STRIDE) || 1;
    const fresh = [];
    for (let i = 1; i <= steps; i++) {
      const share = i / steps;
      for (const unit of this.#unitsAt(stroke.x + share * (x - stroke.x), stroke.y + share * (y - stroke.y))) {
        if (stroke.touched.has(unit)) continue;
        stroke.touched.add(unit);
        fresh.push(unit);
      }
    }
    Object.assign(stroke, { x, y });
    if (fresh.length) this.apply(fresh, stroke.kind, this.amount, stroke.freezing);
  }

  /** Put the cursor on a unit. @param {number} unit */
  point(unit) {
    if (!this.grid.bands.length) return;
    this.unit = unit;
    const { number, row, column, x, y, pitch } = this.grid.cell(unit);
    this.cursor.style.transform = `translate(${x}px, ${y}px)`;
    this.cursor.style.width = this.cursor.style.height = `${pitch}px`;
    const above = this.grid.bands.slice(0, number);
    this.row.ariaRowIndex = String(above.reduce((sum, one) => sum + one.rows, 1 + row));
    this.active.ariaColIndex = String(column + 1);
    this.field.ariaRowCount = String(this.grid.bands.reduce((sum, one) => sum + one.rows, 0));
    this.field.ariaColCount = String(Math.max(...this.grid.bands.map((one) => one.columns)));
    this.describe();
  }

  /** Describe the unit under the cursor for screen readers. */
  describe() {
    if (!this.grid.cells) return;
    const { band } = this.grid.cell(this.unit);
    const { brushed, frozen, due } = this.grid.cells;
    const percent = Math.round(100 * this.grid.cells.now(this.unit));
    const by = !frozen[this.unit] && brushed[this.unit] > 0 ? " by a fader or the score" : "";
    const state = percent === 0 ? `forgotten${by}` : percent === 100 ? "remembered" : `${percent} % remembered`;
    const words = [`${band.layer.name}, unit ${this.unit - band.layer.start + 1}`, state];
    if (frozen[this.unit]) words.push("frozen");
    if (due[this.unit]) words.push("not heard yet");
    const text = words.join(", ");
    if (this.active.textContent !== text) this.active.textContent = text;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.grid.cells) return;
    const { band, number, row, column } = this.grid.cell(this.unit);
    const { start, units } = band.layer;
    const { bands, ends } = this.grid;
    const last = start + units - 1;
    const moves = {
      ArrowLeft: () => Math.max(ends[0], this.unit - 1),
      ArrowRight: () => Math.min(ends[1], this.unit + 1),
      ArrowUp: () => (row ? this.unit - band.columns : this.#into(number - 1, column, -1)),
      ArrowDown: () =>
        this.unit + band.columns <= last ? this.unit + band.columns : this.#into(number + 1, column, 0),
      Home: () => start,
      End: () => last,
      PageUp: () => bands[Math.max(0, number - 1)].layer.start,
      PageDown: () => bands[Math.min(bands.length - 1, number + 1)].layer.start,
    };
    if (event.key in moves) this.point(moves[event.key]());
    else if (event.key === "Enter") {
      const { x, y, pitch } = this.grid.cell(this.unit);
      const freezing = !this.grid.cells.frozen[this.unit];
      this.apply(this.#unitsAt(x + pitch / 2, y + pitch / 2), this.kind, this.amount, freezing);
      this.describe();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** The unit of another layer near this column, in its first (0) or last (-1) row. */
  #into(number, column, row) {
    const from = this.grid.cell(this.unit).band;
    const band = this.grid.bands[number];
    if (!band) return this.unit;
    const to = Math.min(band.columns - 1, Math.round((column * from.pitch) / band.pitch));
    return band.layer.start + Math.min(band.layer.units - 1, (row ? band.rows - 1 : 0) * band.columns + to);
  }
}

/** Let a page's buttons and faders choose the brush, its size and its strength. @param {Brush} brush */
export function choices(brush) {
  const buttons = [...document.querySelectorAll("[data-brush]")];
  const size = document.querySelector("#brush-size input");
  const show = () => {
    for (const button of buttons) {
      const on = button.dataset.brush === brush.kind;
      button.ariaChecked = String(on);
      button.tabIndex = on ? 0 : -1;
    }
    size.value = String(brush.size);
    fill(size);
  };
  for (const button of buttons) button.addEventListener("click", () => brush.choose(button.dataset.brush));
  size.addEventListener("input", () => brush.resize(Number(size.value) - brush.size));
  const amount = document.querySelector("#brush-amount input");
  amount.addEventListener("input", () => (brush.amount = Number(amount.value)));
  brush.field.addEventListener("brush", show);
  show();
}
