/** The tags of an asset, added and removed in place. */

/** @import { Asset } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { TagChange } from "./asset_actions.mjs" */

import { debounce, h, setChildren, uniqueId } from "../shared/dom.mjs";
import { icon } from "../shared/icons.mjs";
import { isLocationTag, visibleTags } from "./asset.mjs";

const MAX_SUGGESTIONS = 12;
const SEARCH_DELAY_MS = 150;

export class TagEditor {
  #context;
  #asset;
  #change;

  /**
   * @param {PanelContext} context
   * @param {Asset} asset
   * @param {(change: TagChange) => Promise<boolean>} change returns whether it succeeded
   */
  constructor(context, asset, change) {
    this.#context = context;
    this.#asset = asset;
    this.#change = change;
    this.tags = h("ul", { class: "ca-tags" });
    this.input = tagInput(context, (tags) => this.#add(tags));
    const title = h("h4", {}, context.t("detail.tags"));
    this.element = h("section", { class: "ca-section" }, title, this.tags, this.input);
    this.#show();
  }

  #show() {
    setChildren(this.tags, visibleTags(this.#asset).map((tag) => this.#item(tag)));
  }

  /** @param {string} tag */
  #item(tag) {
    const { t } = this.#context;
    if (isLocationTag(this.#asset, tag)) return h("li", { class: "ca-tag", title: t("tags.location") }, tag);
    const label = t("tags.remove", { tag });
    const remove = () => this.#edit({ remove: [tag] });
    const attributes = { class: "ca-tag-remove", type: "button", "aria-label": label, title: label, onclick: remove };
    return h("li", { class: "ca-tag" }, tag, h("button", attributes, icon("close")));
  }

  /** @param {string[]} tags */
  #add(tags) {
    const add = tags.filter((tag) => !this.#asset.tags.includes(tag));
    if (add.length > 0) this.#edit({ add });
  }

  /**
   * Show a change at once, and take it back if it fails.
   *
   * @param {TagChange} change
   */
  async #edit({ add = [], remove = [] }) {
    const before = this.#asset;
    const tags = [...before.tags.filter((tag) => !remove.includes(tag)), ...add];
    this.#asset = { ...before, tags };
    this.#show();
    if (await this.#change({ add, remove })) return;
    this.#asset = before;
    this.#show();
  }
}

/**
 * Create a field for tags, separated by commas, with suggestions.
 *
 * @param {PanelContext} context
 * @param {(tags: string[]) => unknown} onEnter
 */
export function tagInput({ t, client }, onEnter) {
  const id = uniqueId("tags");
  const suggestions = h("datalist", { id });
  const input = h("input", {
    class: "ca-input",
    type: "text",
    list: id,
    placeholder: t("tags.add"),
    "aria-label": t("tags.add"),
    autocomplete: "off",
  });
  const suggest = debounce(async () => {
    try {
      const query = { prefix: input.value.trim(), limit: String(MAX_SUGGESTIONS) };
      const { tags } = await client.get("/tags", { query });
      setChildren(suggestions, tags.map(({ name }) => h("option", { value: name })));
    } catch {
      // Tags can be typed without suggestions.
    }
  }, SEARCH_DELAY_MS);
  input.addEventListener("input", suggest);
  input.addEventListener("focus", suggest);
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    // Text copied from file names on macOS has decomposed accents, which would make another tag of the same letters.
    const tags = input.value.split(",").map((tag) => tag.trim().normalize("NFC")).filter(Boolean);
    input.value = "";
    if (tags.length > 0) onEnter(tags);
  });
  return h("div", { class: "ca-tag-input" }, input, suggestions);
}
