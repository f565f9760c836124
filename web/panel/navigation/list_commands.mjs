/** The commands for everything that the list has: into a collection, as a ZIP file, or its search under a name. */

/** @import { QueryStore } from "../library/query.mjs" */
/** @import { ZipExports } from "../library/zip_exports.mjs" */
/** @import { ScreenPoint, PanelContext } from "../types.d.ts" */
/** @import { CollectionCommands } from "./collection_commands.mjs" */
/** @import { SearchCommands } from "./search_commands.mjs" */

import { filterParams } from "../library/query.mjs";
import { SearchResults } from "../library/search_results.mjs";
import { filterBody } from "../library/selection_filter.mjs";
import { iconButton } from "../shared/buttons.mjs";
import { showMenu } from "../shared/context_menu.mjs";
import { folderName, placeOf } from "./place.mjs";

export class ListCommands {
  #context;
  #store;
  #collections;
  #searches;
  #zip;
  /** Returns how many assets are listed. */
  total = () => 0;

  /**
   * @param {PanelContext} context
   * @param {QueryStore} store
   * @param {CollectionCommands} collections
   * @param {SearchCommands} searches
   * @param {ZipExports} zip
   */
  constructor(context, store, collections, searches, zip) {
    this.#context = context;
    this.#store = store;
    this.#collections = collections;
    this.#searches = searches;
    this.#zip = zip;
    this.button = iconButton("more", context.t("navigation.listActions"), () => {
      const { left, bottom } = this.button.getBoundingClientRect();
      this.#show({ x: left, y: bottom });
    }, { "aria-haspopup": "menu" });
  }

  /** @param {ScreenPoint} at */
  #show(at) {
    const { t } = this.#context;
    const { state } = this.#store;
    const filter = filterBody(filterParams(state));
    const add = () => this.#collections.choose(new SearchResults(state, this.total()), at);
    showMenu(t("navigation.listActions"), [
      [
        { icon: "collection", label: t("collection.addAll"), run: add },
        { icon: "download", label: t("zip.downloadAll"), run: () => this.#zip.start({ filter }, this.#name()) },
      ],
      [this.#searches.saveItem()],
    ], at);
  }

  /** Return a name for the archive. */
  #name() {
    const { state } = this.#store;
    const place = placeOf(state);
    const placeName = place.kind === "folder" ? folderName(place.path) : "";
    return [placeName, state.text.trim()].filter((part) => part !== "").join(" ") ||
      this.#context.t("navigation.allAssets");
  }
}
