/** The place of the navigation: beside the list in a wide panel, over it in a narrow one, or hidden. */

/** @import { Translate } from "../types.d.ts" */

import { iconButton } from "../shared/buttons.mjs";
import { h } from "../shared/dom.mjs";

const DOCKED_PX = 900; // of the panel, from which on the navigation is beside the list; the style sheet has it too

export class NavigationView {
  #tree;
  #callbacks;

  /**
   * @param {Translate} t
   * @param {HTMLElement} tree
   * @param {boolean} isDocked whether it is shown beside the list where there is room
   * @param {{ shown: () => void, changed: () => void }} callbacks `shown` is called when the navigation is seen, maybe
   *   again; `changed` when the user shows or hides it
   */
  constructor(t, tree, isDocked, callbacks) {
    this.#tree = tree;
    this.#callbacks = callbacks;
    this.isDocked = isDocked;
    const title = t("navigation.title");
    this.button = iconButton("sidebar", title, () => this.#toggle());
    const close = iconButton("close", t("common.close"), () => this.closeDrawer());
    const header = h("div", { class: "ca-navigation-header" }, h("strong", {}, title), close);
    this.element = h("nav", { class: "ca-navigation", "aria-label": title }, header, tree);
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.#isDrawerOpen) return;
      event.preventDefault();
      event.stopPropagation();
      this.closeDrawer();
    });
    this.frame = h("div", { class: "ca-library-body" }, this.element);
    this.frame.addEventListener("click", (event) => {
      if (this.#isDrawerOpen && event.target === this.frame) this.closeDrawer();
    });
    new ResizeObserver(() => this.#show()).observe(this.frame);
    this.#show();
  }

  get isVisible() {
    return this.element.getClientRects().length > 0;
  }

  /** Hide the navigation where it lies over the list. The focus in it returns to the button. */
  closeDrawer() {
    const hadFocus = this.element.contains(document.activeElement);
    this.element.classList.remove("ca-navigation-open");
    this.#show();
    if (hadFocus && !this.isVisible) this.button.focus();
  }

  get #isWide() {
    return this.frame.clientWidth >= DOCKED_PX;
  }

  get #isDrawerOpen() {
    return this.element.classList.contains("ca-navigation-open") && !this.#isWide;
  }

  #toggle() {
    if (this.#isWide) {
      this.isDocked = !this.isDocked;
      this.#callbacks.changed();
    } else this.element.classList.toggle("ca-navigation-open");
    this.#show();
    if (this.#isDrawerOpen) this.#tree.focus({ preventScroll: true });
  }

  #show() {
    this.element.classList.toggle("ca-navigation-docked", this.isDocked);
    const isShown = this.#isWide ? this.isDocked : this.#isDrawerOpen;
    this.button.setAttribute("aria-expanded", String(isShown));
    // What lies under the drawer cannot be used; a click there reaches the frame.
    for (const each of this.frame.children) {
      if (each instanceof HTMLElement && each !== this.element) each.inert = this.#isDrawerOpen;
    }
    if (isShown) this.#callbacks.shown();
  }
}
