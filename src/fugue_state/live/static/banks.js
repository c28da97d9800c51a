/** Sixteen banks: hold to store, tap to arm, tap again to fire; the morph time says how long firing takes. */

const COUNT = 16;
const HOLD_MS = 600;

export class Banks {
  /**
   * @param {HTMLElement} root @param {import("./controls.js").Controls} controls @param {() => number} morph in seconds
   */
  constructor(root, controls, morph) {
    this.controls = controls;
    this.morph = morph;
    this.armed = 0;
    this.firing = 0; // until the server confirms
    this.buttons = Array.from({ length: COUNT }, (_, i) => {
      const button = document.createElement("button");
      button.textContent = String(i + 1);
      button.dataset.bank = String(i + 1);
      button.dataset.learn = `/bank/${i + 1}/fire`;
      this.#listen(button, i + 1);
      return button;
    });
    root.replaceChildren(...this.buttons);
    for (const button of this.buttons) this.#name(button);
  }

  /** @param {HTMLButtonElement} button @param {number} bank */
  #listen(button, bank) {
    let timer = 0;
    let stored = false;
    const release = () => {
      clearTimeout(timer);
      button.classList.remove("storing");
    };
    button.addEventListener("pointerdown", () => {
      if (this.controls.view) return;
      release();
      stored = false;
      button.classList.add("storing");
      timer = setTimeout(() => {
        stored = true;
        this.store(bank);
        release();
      }, HOLD_MS);
    });
    for (const end of ["pointerup", "pointerleave", "pointercancel"]) button.addEventListener(end, release);
    button.addEventListener("contextmenu", (event) => event.preventDefault());
    button.addEventListener("click", () => {
      if (!stored && !document.body.classList.contains("learning")) this.tap(bank);
      stored = false;
    });
  }

  /** Arm a bank, or fire it if it is armed. @param {number} bank */
  tap(bank) {
    if (this.armed === bank) this.fire();
    else this.arm(bank);
  }

  store(bank) {
    this.controls.set(`/bank/${bank}/store`);
  }

  arm(bank) {
    if (this.buttons[bank - 1].classList.contains("stored")) this.controls.set(`/bank/${bank}/arm`);
  }

  /**
   * Fire a bank. The armed one is fired only once, however often it is pressed before the server answers.
   * @param {number} [bank] default: the armed one @param {string} [by]
   */
  fire(bank, by) {
    const path = `/bank/${bank ?? this.armed}/fire`;
    if (!bank && (!this.armed || (this.firing === this.armed && this.controls.control.waits(path)))) return;
    this.firing = bank ?? this.armed;
    this.controls.set(path, [this.morph()], by);
  }

  /** Show which banks are stored and which is armed. @param {number[]} banks @param {number} armed */
  show(banks, armed) {
    this.armed = armed;
    for (const [i, button] of this.buttons.entries()) {
      button.classList.toggle("stored", banks.includes(i + 1));
      button.classList.toggle("armed", i + 1 === armed);
      button.classList.remove("fired");
      this.#name(button);
    }
  }

  /** Update after something happened to a bank. @param {"stored" | "armed" | "fired"} did @param {number} bank */
  follow(did, bank) {
    if (did === "fired") this.firing = 0;
    this.armed = did === "armed" ? bank : did === "fired" && bank === this.armed ? 0 : this.armed;
    for (const [i, button] of this.buttons.entries()) {
      if (did === "stored" && i + 1 === bank) button.classList.add("stored");
      if (did === "fired") button.classList.toggle("fired", i + 1 === bank);
      button.classList.toggle("armed", i + 1 === this.armed);
      this.#name(button);
    }
  }

  #name(button) {
    const states = ["stored", "armed", "fired"].filter((state) => button.classList.contains(state));
    button.ariaLabel = [`Bank ${button.dataset.bank}`, ...(states.length ? states : ["empty"])].join(", ");
  }
}
