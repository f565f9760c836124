/** Choosing a bundle to import, by a file picker or by dropping it. */

/** @import { PanelContext } from "../types.d.ts" */

import { h } from "../shared/dom.mjs";
import { acceptFiles } from "../shared/file_drops.mjs";
import { importBundle } from "./bundle_dialog.mjs";

export class BundleInput {
  #context;
  #input = h("input", { type: "file", accept: ".zip,application/zip", hidden: true, onchange: () => this.#onChosen() });

  /** @param {PanelContext} context */
  constructor(context) {
    this.#context = context;
  }

  /** Let the user choose a file. */
  choose() {
    this.#input.click();
  }

  /**
   * Accept a file that is dropped on an element.
   *
   * @param {HTMLElement} element
   */
  acceptDrops(element) {
    acceptFiles(element, ([file]) => this.#import(file));
  }

  #onChosen() {
    const [file] = this.#input.files ?? [];
    this.#import(file);
    this.#input.value = ""; // or choosing the same file again would fire no event
  }

  /** @param {File | undefined} file */
  #import(file) {
    if (file === undefined) return;
    const { t, notifications } = this.#context;
    if (/\.zip$/i.test(file.name)) importBundle(this.#context, file);
    else notifications.show(t("bundle.onlyZip", { name: file.name }));
  }
}
