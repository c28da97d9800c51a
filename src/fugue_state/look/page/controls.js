/**
 * The table of values: every button, fader and menu with a `data-path` shows the value of that path and sets it. While
 * a hand moves a control, others do not.
 */

const HELD_MS = 400; // after the last movement of a hand

/** @param {number} gain @returns {string} */
export function decibels(gain) {
  return gain > 0 ? `${(20 * Math.log10(gain)).toFixed(0)} dB` : "silent";
}

export class Controls extends EventTarget {
  /** @param {import("./control.js").Control} control */
  constructor(control) {
    super();
    this.control = control;
    /** @type {Map<string, any>} */ this.values = new Map();
    /** @type {Map<string, any>} as the server says */ this.told = new Map();
    /** @type {Map<string, number>} */ this.held = new Map();
    this.view = false;
    /** Whether a path may be set now. A function that returns false must set it later, or say why not. */
    this.allows = (_path, _args, _by) => true;
    document.addEventListener("input", ({ target }) => this.#moved(target));
    document.addEventListener("change", ({ target }) => {
      if (target.type === "number" || target.matches?.("select[data-path]")) this.#chosen(target);
    });
    document.addEventListener("click", ({ target }) => this.#pressed(target.closest("button[data-path]")));
    // A button pressed by finger or mouse does not take the focus, so Space still means Play.
    document.addEventListener("mousedown", (event) => {
      if (event.target.closest("button")) event.preventDefault();
    });
  }

  /**
   * Set a path from this page; false if that is refused.
   * @param {string} path @param {unknown[]} [args] @param {string} [by]
   * @param {boolean} [stands] whether it is a position, to be sent also after a lost connection
   */
  set(path, args = [], by, stands) {
    if (this.view || !this.allows(path, args, by)) return false;
    const taken = this.control.set(path, args, by, stands);
    if (!args.length) this.dispatchEvent(new CustomEvent("pressed", { detail: path }));
    else if (taken) this.#keep(path, args[0], by ?? "hand");
    else this.refuse(path);
    return taken;
  }

  /** Follow the server. @param {string} path @param {any} value */
  follow(path, value) {
    this.told.set(path, value);
    this.#keep(path, value, "server");
  }

  /** Return to the server's value, after a change was refused. @param {string} path */
  refuse(path) {
    if (!this.told.has(path) || this.control.waits(path)) return;
    for (const element of document.querySelectorAll(`input[type=number][data-path="${path}"]`)) {
      element.value = this.told.get(path);
    }
    this.#keep(path, this.told.get(path), "server");
  }

  #keep(path, value, by) {
    this.values.set(path, value);
    this.show(path);
    this.dispatchEvent(new CustomEvent("value", { detail: { path, value, by } }));
  }

  /** Toggle a switch. @param {string} path */
  toggle(path, by) {
    this.set(path, [this.values.get(path) ? 0 : 1], by);
  }

  #moved(target) {
    if (target.type !== "range") return;
    fill(target);
    const { path } = target.dataset;
    if (!path) return;
    this.held.set(path, performance.now());
    this.set(path, [Number(target.value)]);
    setTimeout(() => this.show(path), HELD_MS + 10);
  }

  #chosen(target) {
    if (!target.dataset.path || !target.checkValidity()) return;
    this.set(target.dataset.path, [target.type === "number" ? Number(target.value) : target.value]);
  }

  #pressed(button) {
    if (!button || document.body.classList.contains("learning")) return;
    const { path, value } = button.dataset;
    if (value !== undefined) this.set(path, [value]);
    else if (button.ariaPressed === null) this.set(path);
    else this.toggle(path);
  }

  /** Show the value of a path in all its elements. @param {string} path */
  show(path) {
    const value = this.values.get(path);
    if (value === undefined) return;
    const held = performance.now() - (this.held.get(path) ?? -HELD_MS) < HELD_MS;
    for (const element of document.querySelectorAll(`[data-path="${path}"]`)) {
      if (element.type === "range") {
        if (!held) element.value = value;
        fill(element);
        if (path === "/volume") element.ariaValueText = decibels(value);
      } else if (element.matches("input, select")) {
        if (document.activeElement !== element || element.matches("select")) choose(element, value);
      } else if (element.dataset.value !== undefined) {
        element.ariaPressed = String(element.dataset.value === value);
      } else if (element.ariaPressed !== null) {
        element.ariaPressed = String(Boolean(value));
      }
    }
  }

  /** Show all values again, after elements were added. */
  showAll() {
    for (const path of this.values.keys()) this.show(path);
  }

  /** Set whether this page may only watch. @param {boolean} view */
  watchOnly(view) {
    this.view = view;
    for (const element of document.querySelectorAll("[data-path], #banks button, #record, #mark, #dice, #piano button")) {
      element.disabled = view;
    }
  }
}

/** Tell the style sheet the position of a range's handle. @param {HTMLInputElement} range */
export function fill(range) {
  const { min, max, value } = range;
  range.style.setProperty("--at", String((Number(value) - Number(min)) / (Number(max) - Number(min))));
}

/** Show a value in a field or menu; one that the menu lacks is added. */
function choose(element, value) {
  if (element.matches("select") && ![...element.options].some((option) => option.value === value)) {
    element.add(new Option(value || "order", value));
  }
  element.value = value;
}

/** Make many elements one tab stop; arrows move within. @param {HTMLElement} root @param {string} each a selector */
export function rove(root, each) {
  const all = () => [...root.querySelectorAll(each)];
  const settle = (current) => {
    for (const element of all()) element.tabIndex = element === current ? 0 : -1;
  };
  root.addEventListener("focusin", ({ target }) => target.matches(each) && settle(target));
  root.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    const elements = all();
    const place = elements.indexOf(event.target);
    // In a text field, left and right move the caret.
    if (!by || place < 0 || (event.target.matches("input") && /Left|Right/.test(event.key))) return;
    elements[(place + by + elements.length) % elements.length].focus();
    event.preventDefault();
  });
  settle(all().find((element) => element.tabIndex === 0) ?? all()[0]);
}

/** A button that sets a path to a value, or presses it. @param {string} words @param {string} path @param {string} [value] */
export function button(words, path, value) {
  const made = document.createElement("button");
  made.textContent = words;
  Object.assign(made.dataset, value === undefined ? { path } : { path, value });
  return made;
}
