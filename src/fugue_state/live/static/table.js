/** The units of a layer as a table, which does all that the grid does, without a picture. */

export class Table {
  /** @param {HTMLDialogElement} dialog @param {(unit: number, kind: "turn" | "freeze") => void} act */
  constructor(dialog, act) {
    this.dialog = dialog;
    this.select = dialog.querySelector("select");
    this.body = dialog.querySelector("tbody");
    this.select.addEventListener("change", () => this.#fill());
    this.body.addEventListener("click", ({ target }) => {
      const button = target.closest("button");
      if (button) act(Number(button.dataset.unit), button.dataset.kind);
    });
    dialog.addEventListener("close", () => this.body.replaceChildren());
  }

  /** @param {import("./cells.js").Cells} cells */
  open(cells) {
    this.cells = cells;
    this.select.replaceChildren(...cells.layers.map((layer) => new Option(layer.name, String(layer.number))));
    this.#fill();
    this.dialog.showModal();
  }

  #fill() {
    const { start, units } = this.cells.layers[Number(this.select.value)];
    const rows = Array.from({ length: units }, (_, i) => {
      const row = document.createElement("tr");
      row.innerHTML = `<th scope="row">${i + 1}</th><td><button data-kind="turn"></button></td><td></td>
        <td><button data-kind="freeze" aria-label="Freeze unit ${i + 1}"></button></td>`;
      for (const button of row.querySelectorAll("button")) button.dataset.unit = String(start + i);
      return row;
    });
    this.body.replaceChildren(...rows);
    this.refresh();
  }

  /** Update what has changed. */
  refresh() {
    if (!this.dialog.open) return;
    const { start } = this.cells.layers[Number(this.select.value)];
    for (const [i, row] of [...this.body.rows].entries()) {
      const unit = start + i;
      const [turn, ice] = row.querySelectorAll("button");
      const percent = `${Math.round(100 * this.cells.now(unit))} %`;
      write(turn, percent);
      turn.ariaLabel = `Unit ${i + 1}: ${percent}; ${this.cells.now(unit) ? "forget" : "recall"}`;
      write(row.cells[2], `${Math.round(100 * this.cells.fires(unit))} %`);
      write(ice, this.cells.frozen[unit] ? "frozen" : "free");
      ice.ariaPressed = String(Boolean(this.cells.frozen[unit]));
    }
  }
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
