/** The panel beside the picture: what made it, its properties and tags. */

/** @import { Asset } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { isAborted } from "../shared/client.mjs";
import { h, setChildren } from "../shared/dom.mjs";
import { errorPlaceholder } from "../shared/placeholders.mjs";
import { visibleTags } from "../library/asset.mjs";
import { generationCard } from "../library/generation_card.mjs";
import { properties } from "../library/properties.mjs";

const DELAY_MS = 120; // while the user steps through many, only the last is asked for

export class InfoPanel {
  #context;
  #timer = 0;
  /** @type {AbortController | null} */
  #request = null;
  #id = "";

  /** @param {PanelContext} context */
  constructor(context) {
    this.#context = context;
    const label = context.t("viewer.info");
    this.element = h("aside", { class: "ca-viewer-info", "aria-label": label, tabindex: "0" });
  }

  /**
   * Show what the list knows of an asset, and the rest when it arrives.
   *
   * @param {Asset} asset
   */
  show(asset) {
    this.#request?.abort();
    clearTimeout(this.#timer);
    this.#fill(asset);
    if (asset.id !== this.#id) this.element.scrollTop = 0;
    this.#id = asset.id;
    this.#timer = setTimeout(() => this.#load(asset), DELAY_MS);
  }

  /** Stop loading. */
  stop() {
    clearTimeout(this.#timer);
    this.#request?.abort();
  }

  /** @param {Asset} asset */
  async #load(asset) {
    const { client, t } = this.#context;
    const { signal } = (this.#request = new AbortController());
    try {
      this.#fill(await client.get(`/assets/${asset.id}`, { signal }));
    } catch (error) {
      if (!isAborted(error)) this.element.append(errorPlaceholder(t, error, () => this.show(asset)));
    }
  }

  /** @param {Asset} asset */
  #fill(asset) {
    const tags = visibleTags(asset);
    setChildren(
      this.element,
      ...generationCard(this.#context, asset),
      properties(this.#context, asset),
      tags.length > 0 && h("ul", { class: "ca-tags" }, tags.map((tag) => h("li", { class: "ca-tag" }, tag))),
    );
  }
}
