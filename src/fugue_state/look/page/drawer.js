/** On a phone the faders are in a drawer: a button opens and closes it, Escape closes it, and the focus goes along. */

/** Screens on which there is a drawer; style.css has the same query. */
export const PHONE = matchMedia("(max-width: 620px), (max-height: 480px)");

export class Drawer {
  /** @param {HTMLElement} root @param {HTMLButtonElement} button */
  constructor(root, button) {
    this.root = root;
    this.button = button;
    button.addEventListener("click", () => this.turn(!this.open));
    // Before the keys of the page, to which Escape means Hush.
    document.addEventListener("keydown", (event) => this.#key(event), true);
    PHONE.addEventListener("change", () => this.turn(false));
  }

  get open() {
    return this.button.ariaExpanded === "true";
  }

  /** Open or close it. @param {boolean} open */
  turn(open) {
    const inside = this.root.contains(document.activeElement);
    this.button.ariaExpanded = String(open);
    this.root.classList.toggle("open", open);
    const first = [...this.root.querySelectorAll("input, select, button")].find((one) => one.checkVisibility());
    if (open) first?.focus();
    else if (inside && PHONE.matches) this.button.focus();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.key !== "Escape" || !this.open || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    event.stopPropagation();
    this.turn(false);
  }
}
