/** The strip of small pictures below the viewer: a button for each asset near the one on display. */

/** @import { Asset } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { AssetGrid } from "../library/asset_grid.mjs" */

import { h } from "../shared/dom.mjs";
import { icon } from "../shared/icons.mjs";
import { isFavourite, mediaKind, rating, thumbnailUrl } from "../library/asset.mjs";

const CELL_PX = 64;
const VIEW = "filmstrip"; // its name among the views of the list

export class Filmstrip {
  #context;
  #grid;
  #onChoose;
  /** @type {Map<number, HTMLButtonElement>} by index */
  #cells = new Map();
  #current = -1;
  #offset = 0; // in px, from the middle of the current asset to the middle of the strip

  /**
   * @param {PanelContext} context
   * @param {AssetGrid} grid
   * @param {(index: number) => unknown} onChoose
   */
  constructor(context, grid, onChoose) {
    this.#context = context;
    this.#grid = grid;
    this.#onChoose = onChoose;
    this.element = h("div", { class: "ca-filmstrip", role: "group", "aria-label": context.t("viewer.filmstrip") });
    this.element.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    new ResizeObserver(() => this.refresh()).observe(this.element);
  }

  /**
   * Move to an asset of the list.
   *
   * @param {number} index -1 for an asset from elsewhere, which has no strip
   */
  show(index) {
    this.#current = index;
    this.#offset = 0;
    this.element.hidden = index < 0;
    this.refresh();
  }

  /** Show the list as it is now. */
  refresh() {
    const width = this.element.clientWidth;
    if (this.#current < 0 || width === 0) return;
    const { count } = this.#grid.grid;
    const middle = this.#current + this.#offset / CELL_PX;
    const half = Math.ceil(width / CELL_PX / 2) + 1;
    const first = Math.max(Math.floor(middle) - half, 0);
    const last = Math.min(Math.ceil(middle) + half, count - 1);
    this.#grid.list.show(first, last, VIEW);
    for (const [index, cell] of this.#cells) {
      if (index >= first && index <= last) continue;
      this.#cells.delete(index);
      cell.remove();
    }
    for (let index = first; index <= last; index += 1) {
      const left = width / 2 + (index - middle) * CELL_PX - CELL_PX / 2;
      this.#showCell(index).style.transform = `translateX(${left}px)`;
    }
  }

  /** Forget everything, when the viewer closes. */
  clear() {
    this.#grid.list.hide(VIEW);
    this.#cells.clear();
    this.element.replaceChildren();
    this.#current = -1;
  }

  /** @param {number} index */
  #showCell(index) {
    let cell = this.#cells.get(index);
    if (cell === undefined) {
      cell = h("button", { class: "ca-filmstrip-cell", type: "button", onclick: () => this.#onChoose(index) });
      this.#cells.set(index, cell);
      this.element.append(cell);
    }
    const isCurrent = index === this.#current;
    cell.tabIndex = isCurrent ? 0 : -1; // the arrows move between them
    if (isCurrent) cell.setAttribute("aria-current", "true");
    else cell.removeAttribute("aria-current");
    this.#fill(cell, this.#grid.list.at(index));
    return cell;
  }

  /**
   * @param {HTMLButtonElement} cell
   * @param {Asset | undefined} asset
   */
  #fill(cell, asset) {
    const version = asset === undefined ? "" : `${asset.id} ${asset.updated_at}`;
    if (cell.dataset.version === version && version !== "") return;
    cell.dataset.version = version;
    cell.setAttribute("aria-label", asset?.name ?? this.#context.t("placeholder.loading"));
    cell.title = asset?.name ?? "";
    if (asset === undefined) return cell.replaceChildren();
    const url = thumbnailUrl(this.#context.page, asset);
    const image = url === null ? icon(mediaKind(asset)) : h("img", { src: url, alt: "", draggable: "false" });
    image.addEventListener("error", () => image.replaceWith(icon(mediaKind(asset))));
    const marks = (isFavourite(asset) ? "♥" : "") + "★".repeat(rating(asset));
    cell.replaceChildren(image, h("span", { class: "ca-filmstrip-marks", "aria-hidden": "true" }, marks));
  }

  /** @param {WheelEvent} event */
  #onWheel(event) {
    event.preventDefault();
    const furthest = (this.#grid.grid.count - 1 - this.#current) * CELL_PX;
    const delta = Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : event.deltaY;
    this.#offset = Math.min(Math.max(this.#offset + delta, -this.#current * CELL_PX), furthest);
    this.refresh();
  }
}
