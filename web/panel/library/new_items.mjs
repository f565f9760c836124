/** The button over the grid that tells how many assets have come above the view. */

/** @import { PanelContext } from "../types.d.ts" */

import { button } from "../shared/buttons.mjs";
import * as format from "../shared/format.mjs";

export class NewItems {
  #context;
  #count = 0;

  /**
   * @param {PanelContext} context
   * @param {() => void} show scrolls to them
   */
  constructor(context, show) {
    this.#context = context;
    this.element = button("back", "", show, { kind: "ca-new-items" });
    this.element.hidden = true;
  }

  get count() {
    return this.#count;
  }

  set count(count) {
    const { t, language } = this.#context;
    this.#count = count;
    this.element.hidden = count === 0;
    this.element.lastChild?.replaceWith(t("library.newItems", { count, number: format.number(count, language) }));
  }
}
