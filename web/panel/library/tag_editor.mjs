/** The tags of an asset, added and removed in place. */

import { debounce, h, setChildren, uniqueId } from "../shared/dom.mjs";
import { icon } from "../shared/icons.mjs";
import { isLocationTag, visibleTags } from "./asset.mjs";

const MAX_SUGGESTIONS = 12;
const SEARCH_DELAY_MS = 150;

export class TagEditor {
  #context;
  #asset;
  #change;

  /** `change({ add, remove })` answers whether it was done. */
  constructor(context, asset, change) {
    this.#context = context;
    this.#asset = asset;
    this.#change = change;
    const { t } = context;
    this.tags = h("ul", { class: "ca-tags" });
    this.input = tagInput(context, (tags) => this.#add(tags));
    this.element = h("section", { class: "ca-section" }, h("h4", {}, t("detail.tags")), this.tags, this.input);
    this.#show();
  }

  #show() {
    setChildren(this.tags, visibleTags(this.#asset).map((tag) => this.#item(tag)));
  }

  #item(tag) {
    const { t } = this.#context;
    if (isLocationTag(this.#asset, tag)) return h("li", { class: "ca-tag", title: t("tags.location") }, tag);
    const label = t("tags.remove", { tag });
    const remove = () => this.#edit({ remove: [tag] });
    return h(
      "li",
      { class: "ca-tag" },
      tag,
      h(
        "button",
        { class: "ca-tag-remove", type: "button", "aria-label": label, title: label, onclick: remove },
        icon("close"),
      ),
    );
  }

  #add(tags) {
    const add = tags.filter((tag) => !this.#asset.tags.includes(tag));
    if (add.length > 0) this.#edit({ add });
  }

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

/** A field that takes tags, several by commas, and suggests those in use; `add(tags)` is called on Enter. */
export function tagInput({ t, client }, add) {
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
      const page = await client.get("/tags", { query: { prefix: input.value.trim(), limit: MAX_SUGGESTIONS } });
      setChildren(suggestions, page.tags.map(({ name }) => h("option", { value: name })));
    } catch {
      // No suggestions, then: tags can be typed all the same.
    }
  }, SEARCH_DELAY_MS);
  input.addEventListener("input", suggest);
  input.addEventListener("focus", suggest);
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    const tags = input.value.split(",").map((tag) => tag.trim().normalize("NFC")).filter(Boolean);
    input.value = "";
    if (tags.length > 0) add(tags);
  });
  return h("div", { class: "ca-tag-input" }, input, suggestions);
}
