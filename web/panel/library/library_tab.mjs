/** The library: search, tags, the assets they find, and one of them in detail. */

import { debounced, h } from "../shared/dom.mjs";
import * as format from "../shared/format.mjs";
import { Store } from "../shared/store.mjs";
import { AssetGrid } from "./asset_grid.mjs";
import { Deeds } from "./asset_actions.mjs";
import { Detail } from "./asset_detail.mjs";
import { Facets } from "./tag_facets.mjs";
import { EVERYTHING } from "./query.mjs";
import { Selection } from "./selection.mjs";
import { SelectionBar } from "./selection_bar.mjs";
import { Toolbar } from "./toolbar.mjs";
import { Uploads } from "./uploads.mjs";

const CHANGES_MS = 400;
const KEPT = ["sort", "view"];

export class LibraryTab {
  #context;
  #store;
  #isStale = false;

  constructor(context) {
    this.#context = context;
    const { t, memory } = context;
    this.#store = new Store({ ...EVERYTHING, view: "grid", ...memory.read("library", KEPT) });
    const selection = (this.selection = new Selection());
    const deeds = (this.deeds = new Deeds(context, (asset) => this.#assetChanged(asset)));
    const open = (asset, index) => this.detail.open(asset, index);
    const remove = (assets) => this.#remove(assets);
    this.grid = new AssetGrid(context, this.#store, selection, { open, remove });
    this.grid.onChange = (total) => this.#showTotal(total);
    this.facets = new Facets(context, this.#store);
    this.uploads = new Uploads(context, () => this.#refresh());
    this.toolbar = new Toolbar(context, this.#store, () => this.uploads.choose());
    this.detail = new Detail(context, this.#neighbours(), deeds, remove);
    const bar = new SelectionBar(context, selection, deeds, remove);
    this.total = h("div", { class: "ca-total", role: "status" });
    const list = [this.toolbar.element, this.facets.element, this.total, this.grid.element, bar.element];
    this.element = h(
      "section",
      { class: "ca-library", "aria-label": t("tab.library") },
      h("div", { class: "ca-stage" }, h("div", { class: "ca-pane" }, list), this.detail.element),
      this.uploads.element,
    );
    this.uploads.acceptDrops(this.element);
    this.#store.subscribe((state, before) => this.#queryChanged(state, before));
    this.changesSoon = debounced(() => this.#refresh(), CHANGES_MS);
    context.page.listen("assets.changed", this.changesSoon);
    context.page.listen("assets.seed.completed", this.changesSoon);
    context.page.listen("assets.seed.fast_complete", this.changesSoon);
    this.grid.reshape();
    this.grid.restart();
    this.facets.refresh();
  }

  /** It has come into view (again). */
  shown() {
    if (this.#isStale) this.#refresh();
    this.grid.reshape();
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
      this.#context.notices.failed(this.#context.t("asset.openFailed"), error);
    }
  }

  #queryChanged(state, before) {
    this.#context.memory.write("library", state, KEPT);
    if (state.view !== before.view) {
      this.grid.reshape();
      return;
    }
    this.selection.clear();
    this.grid.restart();
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
    const removed = await this.deeds.remove(assets);
    for (const asset of removed) this.selection.remove(asset.id);
    this.grid.focus();
  }

  #showTotal(total) {
    const { t, language } = this.#context;
    this.total.textContent = total === null ? "" : t("library.total", { count: total, number: format.number(total, language) });
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
