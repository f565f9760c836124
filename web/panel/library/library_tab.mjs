/** The library: search, tags, the assets they find, and one of them in detail. */

import { debounce, h } from "../shared/dom.mjs";
import * as format from "../shared/format.mjs";
import { AssetGrid } from "./asset_grid.mjs";
import { AssetActions } from "./asset_actions.mjs";
import { AssetDetail } from "./asset_detail.mjs";
import { TagFacets } from "./tag_facets.mjs";
import { DEFAULT_QUERY, QueryStore } from "./query.mjs";
import { Selection } from "./selection.mjs";
import { SelectionBar } from "./selection_bar.mjs";
import { Toolbar } from "./toolbar.mjs";
import { Uploads } from "./uploads.mjs";

const REFRESH_DELAY_MS = 400;
const PERSISTED = ["sort", "view"];

export class LibraryTab {
  #context;
  #store;
  #isStale = false;

  constructor(context) {
    this.#context = context;
    const { t, preferences } = context;
    this.#store = new QueryStore({ ...DEFAULT_QUERY, view: "grid", ...preferences.read("library", PERSISTED) });
    const selection = (this.selection = new Selection());
    const actions = (this.actions = new AssetActions(context, (asset) => this.#assetChanged(asset)));
    const open = (asset, index) => this.detail.open(asset, index);
    const remove = (assets) => this.#remove(assets);
    this.grid = new AssetGrid(context, this.#store, selection, { open, remove });
    this.grid.onChange = (total) => this.#showTotal(total);
    this.facets = new TagFacets(context, this.#store);
    this.uploads = new Uploads(context, () => this.#refresh());
    this.toolbar = new Toolbar(context, this.#store, () => this.uploads.choose());
    this.detail = new AssetDetail(context, this.#neighbours(), actions, remove);
    const bar = new SelectionBar(context, selection, actions, remove);
    this.total = h("div", { class: "ca-total", role: "status" });
    const list = [this.toolbar.element, this.facets.element, this.total, this.grid.element, bar.element];
    this.element = h(
      "section",
      { class: "ca-tab-content", "aria-label": t("tab.library") },
      h("div", { class: "ca-library-main" }, h("div", { class: "ca-pane" }, list), this.detail.element),
      this.uploads.element,
    );
    this.uploads.acceptDrops(this.element);
    this.#store.subscribe((state, before) => this.#queryChanged(state, before));
    this.refreshSoon = debounce(() => this.#refresh(), REFRESH_DELAY_MS);
    context.page.listen("assets.changed", this.refreshSoon);
    context.page.listen("assets.seed.completed", this.refreshSoon);
    context.page.listen("assets.seed.fast_complete", this.refreshSoon);
    this.grid.updateLayout();
    this.grid.reset();
    this.facets.refresh();
  }

  /** It has come into view (again). */
  shown() {
    if (this.#isStale) this.#refresh();
    this.grid.updateLayout();
  }

  /** Look for something. */
  find() {
    this.detail.close();
    this.toolbar.search.focus();
    this.toolbar.search.select();
  }

  /** Show an asset that other tabs know by its id. */
  async openById(id) {
    try {
      this.detail.open(await this.#context.client.get(`/assets/${id}`), -1);
    } catch (error) {
      this.#context.notifications.error(this.#context.t("asset.openFailed"), error);
    }
  }

  #queryChanged(state, before) {
    this.#context.preferences.write("library", state, PERSISTED);
    if (state.view !== before.view) {
      this.grid.updateLayout();
      return;
    }
    this.selection.clear();
    this.grid.reset();
    if (state.sort === before.sort) this.facets.refresh();
  }

  #refresh() {
    this.#isStale = !this.element.isConnected; // nobody sees it: later
    if (this.#isStale) return;
    this.grid.refresh();
    this.facets.refresh();
  }

  #assetChanged(asset) {
    if (asset === null) this.#refresh();
    else this.grid.list.replace((each) => each.id === asset.id, asset);
  }

  async #remove(assets) {
    this.detail.close();
    const removed = await this.actions.remove(assets);
    for (const asset of removed) this.selection.remove(asset.id);
    this.grid.focus();
  }

  #showTotal(total) {
    const { t, language } = this.#context;
    this.total.textContent = total === null
      ? ""
      : t("library.total", { count: total, number: format.number(total, language) });
  }

  /** The assets beside one that is shown in detail. */
  #neighbours() {
    return {
      at: (index) => this.grid.list.at(index),
      count: () => this.grid.grid.count,
      activate: (index) => this.grid.grid.activate(index),
      focus: () => this.grid.focus(),
    };
  }
}
