/** Opening the trash, whose modules are loaded when it is first opened. */

/** @import { Batches } from "../library/batches.mjs" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { TrashView } from "./trash_view.mjs" */

export class TrashOpener {
  #context;
  #batches;
  /** @type {TrashView | null} */
  #view = null;

  /**
   * @param {PanelContext} context
   * @param {Batches} batches
   */
  constructor(context, batches) {
    this.#context = context;
    this.#batches = batches;
  }

  /**
   * Show the trash over the whole of an element.
   *
   * @param {HTMLElement} element
   * @param {() => void} onClose
   */
  async open(element, onClose) {
    const { notifications, t } = this.#context;
    try {
      const { TrashView } = await import("./trash_view.mjs");
      this.#view ??= new TrashView(this.#context, this.#batches, onClose);
      element.append(this.#view.element);
      this.#view.open();
    } catch (error) {
      notifications.error(t("trash.openFailed"), error);
    }
  }
}
