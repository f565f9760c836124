/** What can be done with the selected assets: tag, compare, favour, delete. */

import { h, setChildren } from "../shared/dom.mjs";
import { button, iconButton } from "../shared/buttons.mjs";
import { mediaKind } from "./asset.mjs";
import { showCompareDialog } from "./compare_dialog.mjs";
import { tagInput } from "./tag_editor.mjs";

export class SelectionBar {
  #context;
  #selection;
  #actions;
  #remove;

  constructor(context, selection, actions, remove) {
    this.#context = context;
    this.#selection = selection;
    this.#actions = actions;
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
    const pictures = assets.filter((asset) => mediaKind(asset) === "image");
    const comparable = size === 2 && pictures.length === 2;
    const input = this.element.querySelector(".ca-tag-input") ?? tagInput(this.#context, (tags) => this.#tag(tags));
    setChildren(
      this.element,
      h("span", { class: "ca-selection-count", role: "status" }, t("selection.count", { count: size })),
      h("span", { class: "ca-spacer" }),
      comparable && button("compare", t("selection.compare"), () => showCompareDialog(this.#context, pictures)),
      iconButton("heart", t("selection.addFavourites"), () => this.#setFavourites()),
      iconButton("trash", t("selection.delete"), () => this.#remove(assets)),
      iconButton("close", t("selection.clear"), () => this.#selection.clear()),
      input,
    );
  }

  async #tag(tags) {
    const { t, notifications } = this.#context;
    const { assets } = this.#selection;
    const { done, problem } = await this.#actions.forEach(assets, (asset) => this.#actions.tag(asset, { add: tags }));
    if (problem) notifications.error(t("selection.tagFailed"), problem);
    else {notifications.show(
        t("selection.tagged", { count: done, tags: tags.join(", ") }),
        this.#undoTags(assets, tags),
      );}
  }

  /** The way back: only from those that did not have a tag before. */
  #undoTags(assets, tags) {
    const action = () =>
      this.#actions.forEach(assets, (asset) => {
        const remove = tags.filter((tag) => !asset.tags.includes(tag));
        return remove.length > 0 ? this.#actions.tag({ ...asset, tags: [...asset.tags, ...tags] }, { remove }) : null;
      });
    return { label: this.#context.t("asset.undo"), action };
  }

  async #setFavourites() {
    const { t, notifications } = this.#context;
    const { done, problem } = await this.#actions.forEach(
      this.#selection.assets,
      (asset) => this.#actions.setFavourite(asset, true),
    );
    if (problem) notifications.error(t("asset.changeFailed"), problem);
    else notifications.show(t("selection.addedFavourites", { count: done }));
  }
}
