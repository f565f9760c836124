/** The current place of the library above the list, with a way out of it. Hidden while all assets are listed. */

/** @import { Collection } from "../api.d.ts" */
/** @import { QueryStore } from "../library/query.mjs" */
/** @import { MenuItem } from "../shared/context_menu.mjs" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { Place } from "./place.mjs" */

import { iconButton } from "../shared/buttons.mjs";
import { RequestError } from "../shared/client.mjs";
import { showMenu } from "../shared/context_menu.mjs";
import { h, setChildren } from "../shared/dom.mjs";
import { icon } from "../shared/icons.mjs";
import { folderName, isSamePlace, placeOf } from "./place.mjs";

export class PlaceBar {
  #context;
  #store;
  #callbacks;
  /** @type {Collection | null} the current one, once it is loaded */
  #collection = null;

  /**
   * @param {PanelContext} context
   * @param {QueryStore} store
   * @param {{
   *   go: (place: Place) => void,
   *   leave: () => void,
   *   folderMenu: (path: string) => MenuItem[],
   *   collectionMenu: (collection: Collection) => MenuItem[],
   * }} callbacks
   */
  constructor(context, store, callbacks) {
    this.#context = context;
    this.#store = store;
    this.#callbacks = callbacks;
    const label = context.t("navigation.place");
    this.element = h("div", { class: "ca-place", role: "group", "aria-label": label, hidden: true });
    store.subscribe((state, before) => {
      if (!isSamePlace(state, before)) this.#changed();
    });
    this.#changed();
  }

  /** Load the collection again: its name may have changed. */
  async refresh() {
    const place = placeOf(this.#store.state);
    if (place.kind !== "collection") return;
    const isCurrent = () => {
      const now = placeOf(this.#store.state);
      return now.kind === "collection" && now.id === place.id;
    };
    try {
      const found = await this.#context.client.get(`/collections/${place.id}`);
      if (!isCurrent()) return;
      this.#collection = found;
      this.#show();
    } catch (error) {
      const isGone = error instanceof RequestError && error.code === "COLLECTION_NOT_FOUND";
      if (!isGone || !isCurrent()) return; // else the list shows that the server cannot be reached
      this.#callbacks.leave();
      this.#context.notifications.show(this.#context.t("collection.gone"));
    }
  }

  #changed() {
    this.#collection = null;
    this.#show();
    this.refresh();
  }

  #show() {
    const place = placeOf(this.#store.state);
    this.element.hidden = place.kind === "all";
    const hadFocus = this.element.contains(document.activeElement);
    if (place.kind === "folder") this.#showFolder(place.path);
    else if (place.kind === "collection") this.#showCollection();
    else this.element.replaceChildren();
    if (hadFocus) this.element.querySelector("button")?.focus();
  }

  /** @param {string} path */
  #showFolder(path) {
    const parts = path.split("/");
    const above = parts.slice(0, -1).flatMap((name, index) => {
      const to = parts.slice(0, index + 1).join("/");
      const onclick = () => this.#callbacks.go({ kind: "folder", path: to });
      return [h("button", { class: "ca-link", type: "button", onclick }, name), h("span", {}, "/")];
    });
    const items = () => this.#callbacks.folderMenu(path);
    const name = h("strong", { "aria-current": "location" }, folderName(path));
    this.#put("folder", [...above, name], path, items);
  }

  #showCollection() {
    const collection = this.#collection;
    const name = collection?.name ?? "…";
    const items = () => (collection === null ? [] : this.#callbacks.collectionMenu(collection));
    this.#put("collection", [h("strong", { "aria-current": "location" }, name)], name, items);
  }

  /**
   * @param {"folder" | "collection"} kind
   * @param {HTMLElement[]} path
   * @param {string} name
   * @param {() => MenuItem[]} items
   */
  #put(kind, path, name, items) {
    const { t } = this.#context;
    const more = iconButton("more", t("asset.more"), () => {
      const { left, bottom } = more.getBoundingClientRect();
      showMenu(name, [items()], { x: left, y: bottom });
    }, { "aria-haspopup": "menu" });
    const leave = iconButton("close", t("navigation.leave", { name }), () => this.#callbacks.leave());
    setChildren(this.element, icon(kind), h("span", { class: "ca-place-path", title: name }, ...path), more, leave);
  }
}
