/** What can be done with the selected assets: tag, compare, favour, delete. */

import { fill, h } from "../shared/dom.mjs";
import { button, iconButton } from "../shared/buttons.mjs";
import { mediumOf } from "./asset.mjs";
import { compare } from "./compare_dialog.mjs";
import { tagInput } from "./tag_editor.mjs";

export class SelectionBar {
  #context;
  #selection;
  #deeds;
  #remove;

  constructor(context, selection, deeds, remove) {
    this.#context = context;
    this.#selection = selection;
    this.#deeds = deeds;
    this.#remove = remove;
    this.element = h("div", { class: "ca-selection", role: "toolbar", "aria-label": context.t("selection.title") });
    this.element.hidden = true;
    selection.addEventListener("change", () => this.#show());
  }

  #show() {
    const { t } = this.#context;
    const { assets, size } = this.#selection;
    this.element.hidden = size === 0;
    if (size === 0) return;
    const pictures = assets.filter((asset) => mediumOf(asset) === "picture");
    const comparable = size === 2 && pictures.length === 2;
    const input = this.element.querySelector(".ca-tag-input") ?? tagInput(this.#context, (tags) => this.#tag(tags));
    fill(
      this.element,
      h("span", { class: "ca-selection-count", role: "status" }, t("selection.count", { count: size })),
      h("span", { class: "ca-gap" }),
      comparable && button("compare", t("selection.compare"), () => compare(this.#context, pictures)),
      iconButton("heart", t("selection.favour"), () => this.#favour()),
      iconButton("trash", t("selection.delete"), () => this.#remove(assets)),
      iconButton("close", t("selection.clear"), () => this.#selection.clear()),
      input,
    );
  }

  async #tag(tags) {
    const { t, notices } = this.#context;
    const { assets } = this.#selection;
    const { done, problem } = await this.#deeds.each(assets, (asset) => this.#deeds.tag(asset, { add: tags }));
    if (problem) notices.failed(t("selection.tagFailed"), problem);
    else notices.show(t("selection.tagged", { count: done, tags: tags.join(", ") }), this.#untag(assets, tags));
  }

  /** The way back: only from those that did not have a tag before. */
  #untag(assets, tags) {
    const action = () =>
      this.#deeds.each(assets, (asset) => {
        const remove = tags.filter((tag) => !asset.tags.includes(tag));
        return remove.length > 0 ? this.#deeds.tag({ ...asset, tags: [...asset.tags, ...tags] }, { remove }) : null;
      });
    return { label: this.#context.t("asset.undo"), action };
  }

  async #favour() {
    const { t, notices } = this.#context;
    const { done, problem } = await this.#deeds.each(this.#selection.assets, (asset) => this.#deeds.favour(asset, true));
    if (problem) notices.failed(t("asset.changeFailed"), problem);
    else notices.show(t("selection.favoured", { count: done }));
  }
}
