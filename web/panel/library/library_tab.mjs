/** The library tab: search, tags, the assets that match, and one of them in detail. */

/** @import { Asset } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { Query } from "./query.mjs" */

import { debounce, h } from "../shared/dom.mjs";
import * as format from "../shared/format.mjs";
import { AssetActions } from "./asset_actions.mjs";
import { AssetDetail } from "./asset_detail.mjs";
import { AssetGrid } from "./asset_grid.mjs";
import { DEFAULT_QUERY, QueryStore } from "./query.mjs";
import { Selection } from "./selection.mjs";
import { SelectionBar } from "./selection_bar.mjs";
import { TagFacets } from "./tag_facets.mjs";
import { Toolbar } from "./toolbar.mjs";
import { Uploads } from "./uploads.mjs";

const REFRESH_DELAY_MS = 400; // a scan reports many changes in a row
const PERSISTED = /** @type {const} */ (["sort", "view"]);

export class LibraryTab {
  #context;
  #store;
  #isStale = false;

  /** @param {PanelContext} context */
  constructor(context) {
    this.#context = context;
    const { t, page, preferences } = context;
    this.#store = new QueryStore({ ...DEFAULT_QUERY, ...preferences.read("library", PERSISTED) });
    this.selection = new Selection();
    this.actions = new AssetActions(context, (asset) => this.#onAssetChange(asset));
    /** @param {Asset[]} assets */
    const remove = (assets) => this.#remove(assets);
    this.total = h("div", { class: "ca-total", role: "status" });
    this.grid = new AssetGrid(context, this.#store, this.selection, {
      open: (asset, index) => this.detail.open(asset, index),
      remove,
      onTotalChange: (total) => this.#showTotal(total),
    });
    this.facets = new TagFacets(context, this.#store);
    this.uploads = new Uploads(context, () => this.#refresh());
    this.toolbar = new Toolbar(context, this.#store, () => this.uploads.choose());
    this.detail = new AssetDetail(context, this.grid, this.actions, remove);
    const bar = new SelectionBar(context, this.selection, this.actions, remove);
    const list = [this.toolbar.element, this.facets.element, this.total, this.grid.element, bar.element];
    this.element = h(
      "section",
      { class: "ca-tab-content", "aria-label": t("tab.library") },
      h("div", { class: "ca-pane" }, h("div", { class: "ca-pane" }, list), this.detail.element),
      this.uploads.element,
    );
    this.uploads.acceptDrops(this.element);
    this.#store.subscribe((state, before) => this.#onQueryChange(state, before));
    const refreshSoon = debounce(() => this.#refresh(), REFRESH_DELAY_MS);
    page.listen("assets.changed", refreshSoon);
    for (const type of /** @type {const} */ (["assets.seed.fast_complete", "assets.seed.completed"])) {
      page.listen(type, (shown) => {
        if (shown?.source !== "changes") refreshSoon(); // assets.changed tells of these
      });
    }
    this.grid.updateLayout();
    this.grid.reset();
    this.facets.refresh();
  }

  /** Called when the tab comes into view. */
  shown() {
    if (this.#isStale) this.#refresh();
    this.grid.updateLayout();
  }

  /** Put the focus into the search box. */
  find() {
    this.detail.close();
    this.toolbar.search.focus();
    this.toolbar.search.select();
  }

  /**
   * Show an asset by its id, whether or not the list has it.
   *
   * @param {string} id
   */
  async openById(id) {
    const { client, notifications, t } = this.#context;
    try {
      this.detail.open(await client.get(`/assets/${id}`), -1);
    } catch (error) {
      notifications.error(t("asset.openFailed"), error);
    }
  }

  /**
   * @param {Query} state
   * @param {Query} before
   */
  #onQueryChange(state, before) {
    this.#context.preferences.write("library", state, PERSISTED);
    if (state.view !== before.view) {
      this.grid.updateLayout();
      return;
    }
    this.selection.clear();
    this.grid.reset();
    if (state.sort === before.sort) this.facets.refresh(); // an order changes no counts
  }

  /** Load the list again, at once or when the panel comes back into the page. */
  #refresh() {
    this.#isStale = !this.element.isConnected;
    if (this.#isStale) return;
    this.grid.refresh();
    this.facets.refresh();
  }

  /** @param {Asset | null} asset null if the list must be loaded again */
  #onAssetChange(asset) {
    if (asset === null) this.#refresh();
    else this.grid.list.replace((each) => each.id === asset.id, asset);
  }

  /** @param {Asset[]} assets */
  async #remove(assets) {
    this.detail.close();
    const removed = await this.actions.remove(assets);
    for (const asset of removed) this.selection.remove(asset.id);
    this.grid.focus();
  }

  /** @param {number | null} total */
  #showTotal(total) {
    const { t, language } = this.#context;
    const text = total === null ? "" : t("library.total", { count: total, number: format.number(total, language) });
    this.total.textContent = text;
  }
}
