/** The bar with the actions for the selected assets. */

/** @import { Asset, DeletionAction } from "../api.d.ts" */
/** @import { CollectionCommands } from "../navigation/collection_commands.mjs" */
/** @import { MenuItem } from "../shared/context_menu.mjs" */
/** @import { PanelContext, ScreenPoint } from "../types.d.ts" */
/** @import { AssetActions } from "./asset_actions.mjs" */
/** @import { SelectedAssets } from "./search_results.mjs" */
/** @import { Selection } from "./selection.mjs" */
/** @import { Change } from "./undo_stack.mjs" */

import { h, setChildren } from "../shared/dom.mjs";
import * as format from "../shared/format.mjs";
import { button, iconButton } from "../shared/buttons.mjs";
import { showMenu } from "../shared/context_menu.mjs";
import { isLocationTag, mediaKind, visibleTags } from "./asset.mjs";
import { DELETION_ICONS, DELETIONS } from "./deletion.mjs";
import { areFavourites } from "./search_results.mjs";
import { isFacet } from "./tag_facets.mjs";
import { tagInput } from "./tag_editor.mjs";

const COMPARED = ["image", "video"];
const MOST_COMPARED = 24; // each is loaded at full size
const RATINGS = [5, 4, 3, 2, 1, 0];
const MOST_TAGS = 40; // in a menu

/**
 * @typedef {{
 *   remove: (selected: SelectedAssets, action: DeletionAction) => unknown,
 *   compare: (assets: Asset[]) => unknown,
 *   commands: CollectionCommands,
 *   selectAll: () => unknown,
 * }} SelectionCallbacks
 */

export class SelectionBar {
  #context;
  #selection;
  #actions;
  #callbacks;
  #tagInput;
  #count = h("span", { class: "ca-selection-count", role: "status" });
  #total = 0; // of the list

  /**
   * @param {PanelContext} context
   * @param {Selection} selection
   * @param {AssetActions} actions
   * @param {SelectionCallbacks} callbacks
   */
  constructor(context, selection, actions, callbacks) {
    this.#context = context;
    this.#selection = selection;
    this.#actions = actions;
    this.#callbacks = callbacks;
    this.#tagInput = tagInput(context, (tags) => this.#tag(tags));
    this.element = h("div", { class: "ca-selection", role: "toolbar", "aria-label": context.t("selection.title") });
    this.element.hidden = true;
    selection.addEventListener("change", () => this.#show());
  }

  /**
   * Tell how many assets the list has: all of them can be selected.
   *
   * @param {number | null} total
   */
  setTotal(total) {
    if (this.#total === (total ?? 0)) return;
    this.#total = total ?? 0;
    this.#show();
  }

  #show() {
    const { t, language } = this.#context;
    const { assets, size, selected } = this.#selection;
    this.element.hidden = size === 0;
    if (size === 0) return;
    const isSearch = !Array.isArray(selected);
    const pictures = assets.filter((asset) => COMPARED.includes(mediaKind(asset)));
    const number = format.number(size, language);
    const isAll = isSearch && selected.excluded.size === 0;
    this.#count.textContent = t(isAll ? "selection.allCount" : "selection.count", { count: size, number });
    const total = { count: this.#total, number: format.number(this.#total, language) };
    const selectAll = !isSearch && this.#total > size &&
      button("check", t("selection.selectAll", total), () => this.#callbacks.selectAll(), { kind: "ca-plain" });
    setChildren(
      this.element,
      this.#count,
      selectAll,
      h("div", { class: "ca-selection-actions" }, this.#buttons(pictures)),
      this.#tagInput, // kept, so that text in it survives a click
    );
  }

  /** @param {Asset[]} pictures those that can be compared */
  #buttons(pictures) {
    const { t } = this.#context;
    const isOn = !areFavourites(this.#selection.selected);
    const heart = t(isOn ? "selection.addFavourites" : "selection.removeFavourites");
    return [
      pictures.length > 1 && button("compare", t("selection.compare"), () => this.#compare(pictures)),
      this.#organizing(),
      iconButton("heart", heart, () => this.#favour(isOn)),
      this.#menuButton("star", t("selection.rate"), () => this.#ratings()),
      this.#menuButton("tag", t("selection.removeTags"), () => this.#tagsToRemove()),
      ...DELETIONS.map((action) =>
        iconButton(
          DELETION_ICONS[action],
          t(`deletion.${action}`),
          () => this.#callbacks.remove(this.#selection.selected, action),
        )
      ),
      iconButton("close", t("selection.clear"), () => this.#selection.clear()),
    ];
  }

  /** @param {Asset[]} pictures */
  #compare(pictures) {
    const { t, language, notifications } = this.#context;
    if (pictures.length <= MOST_COMPARED) this.#callbacks.compare(pictures);
    else notifications.show(t("selection.tooManyToCompare", { most: format.number(MOST_COMPARED, language) }));
  }

  /** Return the button whose menu has the collections, and what else arranges the assets. */
  #organizing() {
    const element = iconButton("collection", this.#context.t("collection.addTo"), () => {
      const { left, top } = element.getBoundingClientRect();
      this.#callbacks.commands.organize(this.#selection.selected, { x: left, y: top });
    }, { "aria-haspopup": "menu" });
    return element;
  }

  /**
   * @param {import("../shared/icons.mjs").IconName} icon
   * @param {string} label
   * @param {() => MenuItem[] | Promise<MenuItem[]>} items
   */
  #menuButton(icon, label, items) {
    const { notifications, t } = this.#context;
    const opener = iconButton(icon, label, async () => {
      try {
        const group = await items();
        const { left, bottom } = opener.getBoundingClientRect();
        if (group.length > 0) showMenu(label, [group], { x: left, y: bottom });
        else notifications.show(t("selection.noTags"));
      } catch (error) {
        notifications.error(t("selection.tagsUnknown"), error);
      }
    }, { "aria-haspopup": "menu" });
    return opener;
  }

  /** @returns {MenuItem[]} */
  #ratings() {
    const { t } = this.#context;
    return RATINGS.map((count) => ({
      icon: count === 0 ? "close" : "star",
      label: count === 0 ? t("selection.noRating") : t("asset.stars", { count }),
      run: () => this.#rate(count),
    }));
  }

  /** @returns {Promise<MenuItem[]>} */
  async #tagsToRemove() {
    const names = await this.#tags();
    return names.slice(0, MOST_TAGS).map((tag) => ({
      icon: "close",
      label: tag,
      run: () => this.#untag(tag),
    }));
  }

  /** Return the tags of the selected assets that can be removed, the most frequent first. */
  async #tags() {
    const { selected } = this.#selection;
    if (!Array.isArray(selected)) {
      const query = new URLSearchParams(selected.params);
      query.set("limit", "100");
      const { tag_counts: counts } = await this.#context.client.get("/assets/tags/refine", { query });
      // Categories of models follow from the location of their files.
      return Object.keys(counts).filter((tag) => isFacet(tag) && !(`model_type:${tag}` in counts));
    }
    /** @type {Map<string, number>} */
    const counts = new Map();
    for (const asset of selected) {
      const tags = visibleTags(asset).filter((tag) => !isLocationTag(asset, tag));
      for (const tag of tags) counts.set(tag, (counts.get(tag) ?? 0) + 1);
    }
    return [...counts].sort(([, a], [, b]) => b - a).map(([tag]) => tag);
  }

  /** @param {string[]} tags */
  #tag(tags) {
    this.#change((selected) => this.#actions.tag(selected, { add: tags }), "selection.tagged", {
      tags: tags.join(", "),
    });
  }

  /** @param {string} tag */
  #untag(tag) {
    this.#change((selected) => this.#actions.tag(selected, { remove: [tag] }), "selection.untagged", { tags: tag });
  }

  /** @param {number} stars */
  #rate(stars) {
    const done = stars === 0 ? "selection.unrated" : "selection.rated";
    this.#change((selected) => this.#actions.rate(selected, stars), done, { stars });
  }

  /** @param {boolean} isOn */
  #favour(isOn) {
    const done = isOn ? "selection.addedFavourites" : "selection.removedFavourites";
    this.#change((selected) => this.#actions.favour(selected, isOn), done);
  }

  /**
   * Change what is selected now, and tell of it. Of several assets, a notification is shown already.
   *
   * @param {(selected: SelectedAssets) => Promise<Change | null>} change
   * @param {string} done the key of the text
   * @param {Record<string, string | number>} [values]
   */
  async #change(change, done, values = {}) {
    const { t, notifications } = this.#context;
    try {
      const made = await change(this.#selection.selected);
      this.#show();
      if (made === null) return;
      const undo = { label: t("asset.undo"), action: () => this.#actions.undo(made) };
      notifications.show(t(done, { count: 1, number: "1", ...values }), undo);
    } catch (error) {
      notifications.error(t("asset.changeFailed"), error);
    }
  }
}
