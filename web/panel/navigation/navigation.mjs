/** The navigation of the library: all assets, folders, collections and saved searches, in one tree. */

/** @import { AssetActions } from "../library/asset_actions.mjs" */
/** @import { AssetGrid } from "../library/asset_grid.mjs" */
/** @import { Query, QueryStore } from "../library/query.mjs" */
/** @import { Selection } from "../library/selection.mjs" */
/** @import { ZipSource } from "../library/zip_exports.mjs" */
/** @import { MenuItem } from "../shared/context_menu.mjs" */
/** @import { PanelContext, ScreenPoint } from "../types.d.ts" */
/** @import { Place } from "./place.mjs" */

import { NO_FILTERS, queryOfSaved } from "../library/query.mjs";
import { ZipExports } from "../library/zip_exports.mjs";
import { showMenu } from "../shared/context_menu.mjs";
import { TreeView } from "../shared/tree_view.mjs";
import { CollectionCommands } from "./collection_commands.mjs";
import { CollectionOrder } from "./collection_order.mjs";
import { Collections } from "./collections.mjs";
import { Folders } from "./folders.mjs";
import { ListCommands } from "./list_commands.mjs";
import { NavigationRows, split } from "./navigation_rows.mjs";
import { NavigationView } from "./navigation_view.mjs";
import { isOfKind, PlaceChanges, placeOf } from "./place.mjs";
import { PlaceBar } from "./place_bar.mjs";
import { SavedSearches } from "./saved_searches.mjs";
import { SearchCommands } from "./search_commands.mjs";
import { StoredState } from "./stored_state.mjs";

const REFRESH_MS = 1500; // between two reloads: many assets may change in a row

export class Navigation {
  #context;
  #store;
  #selection;
  #stored;
  #folders;
  #collections;
  #searches;
  #rows;
  #searchCommands;
  #changes = new PlaceChanges();
  /** @type {Set<string>} sections that are closed */
  #closed;
  /** @type {number | null} of all assets */
  #total = null;
  #isLoaded = false;
  #isStale = true;
  #refreshTimer = 0;
  #refreshedAt = -Infinity;

  /**
   * @param {PanelContext} context
   * @param {QueryStore} store
   * @param {Selection} selection
   * @param {AssetActions} actions
   * @param {() => void} onMembersChange called after changes of the collection that is listed
   */
  constructor(context, store, selection, actions, onMembersChange) {
    this.#context = context;
    this.#store = store;
    this.#selection = selection;
    const { t, page } = context;
    this.#stored = new StoredState(context);
    const { isDocked, expanded, closed } = this.#stored.read();
    this.#closed = new Set(closed);
    const show = () => this.#show();
    this.zip = new ZipExports(context);
    this.#folders = new Folders(context, expanded, show);
    this.#collections = new Collections(context, actions, show);
    this.#searches = new SavedSearches(context, actions, show);
    this.#rows = new NavigationRows(context, store, this.#folders, this.#collections, this.#searches);
    this.commands = new CollectionCommands(context, store, this.#collections, this.zip, () => this.leave());
    this.#searchCommands = new SearchCommands(context, store, this.#searches);
    this.list = new ListCommands(context, store, this.commands, this.#searchCommands, this.zip);
    this.place = new PlaceBar(context, store, {
      go: (place) => this.go(place),
      leave: () => this.leave(),
      folderMenu: (path) => this.#folderMenu(path),
      collectionMenu: (collection) => this.commands.menuOf(collection),
    });
    this.tree = new TreeView(t("navigation.title"), {
      open: (key) => this.#open(key),
      toggle: (key, isExpanded) => this.#toggle(key, isExpanded),
      menu: (key, at) => this.#showMenu(key, at),
      press: (key, at) => this.#press(key, at),
      key: (event, key) => this.#onKey(event, key),
      needed: (key) => this.#load(key),
      drop: (key) => this.commands.drop(this.#collections.find(split(key)[1])),
    });
    this.view = new NavigationView(t, this.tree.element, isDocked, {
      shown: () => this.#isStale && this.refresh(),
      changed: () => this.#persist(),
    });
    store.subscribe((state, before) => this.#onQueryChange(state, before));
    page.listen("saved_searches.changed", () => this.refresh());
    page.listen("collections.changed", () => {
      this.refresh();
      if (placeOf(store.state).kind === "collection") onMembersChange();
    });
    const place = placeOf(store.state);
    if (place.kind === "folder") this.#reveal(place.path);
  }

  /**
   * Let assets be moved in the grid where it lists a collection.
   *
   * @param {AssetGrid} grid
   */
  arrangeIn(grid) {
    this.list.total = () => grid.list.total ?? 0;
    this.commands.order = new CollectionOrder(this.#context, this.#store, grid, this.#selection, this.#collections);
  }

  /** Load again what is shown, after a change of assets: soon, or when the navigation is seen next. */
  refresh() {
    this.#isStale = true;
    this.place.refresh();
    if (!this.view.isVisible) return;
    clearTimeout(this.#refreshTimer);
    const wait = Math.max(this.#refreshedAt + REFRESH_MS - performance.now(), 0);
    this.#refreshTimer = setTimeout(() => this.#refresh(), wait);
  }

  async #refresh() {
    this.#isStale = false;
    this.#refreshedAt = performance.now();
    const { client, notifications, t } = this.#context;
    const count = async () => {
      const query = { limit: "1", missing: "exclude" };
      this.#total = (await client.get("/assets", { query })).total;
    };
    const loads = [count(), this.#folders.refresh(), this.#collections.refresh(), this.#searches.refresh()];
    const failed = (await Promise.allSettled(loads)).find((each) => each.status === "rejected");
    if (failed !== undefined && !this.#isLoaded) notifications.error(t("navigation.loadFailed"), failed.reason);
    this.#isLoaded ||= failed === undefined;
    this.#show();
  }

  #show() {
    this.tree.show(this.#rows.build(this.#closed, this.#total));
  }

  /**
   * Go to a place. The search and the filters stay, unless it is that of all assets, or they are those of a saved search.
   *
   * @param {Place} place
   */
  go(place) {
    const { state } = this.#store;
    const isFresh = place.kind === "all" || this.#searches.matching(state) !== undefined;
    const fresh = isFresh ? NO_FILTERS : {};
    this.#store.set({ ...fresh, ...this.#changes.to({ ...state, ...fresh }, place) });
  }

  /** Leave a folder or collection for all assets, with the same search and filters. */
  leave() {
    this.#store.set(this.#changes.to(this.#store.state, { kind: "all" }));
  }

  /**
   * @param {Query} state
   * @param {Query} before
   */
  #onQueryChange(state, before) {
    const place = placeOf(state);
    const former = placeOf(before);
    if (place.kind === "folder" && state.kind !== before.kind && !isOfKind(place.path, state.kind)) {
      this.leave(); // the folder has nothing of the chosen kind
      return;
    }
    if (place.kind === "folder" && !(former.kind === "folder" && former.path === place.path)) this.#reveal(place.path);
    this.#show();
  }

  /** @param {string} path */
  async #reveal(path) {
    try {
      await this.#folders.reveal(path);
      this.#persist();
      this.tree.activate(`folder:${path}`);
    } catch (error) {
      console.warn("comfy-assets:", error); // the list shows that the server cannot be reached
    }
  }

  /** @param {string} key */
  #open(key) {
    const [kind, rest] = split(key);
    if (kind === "all") this.go({ kind: "all" });
    else if (kind === "folder") this.go({ kind: "folder", path: rest });
    else if (kind === "collection") this.go({ kind: "collection", id: rest });
    else {
      const search = this.#searches.find(rest);
      if (search !== undefined) this.#store.set(queryOfSaved(search.query));
    }
    this.view.closeDrawer();
  }

  /**
   * @param {string} key
   * @param {boolean} isExpanded
   */
  #toggle(key, isExpanded) {
    const [kind, rest] = split(key);
    if (kind === "folder") this.#folders.toggle(rest, isExpanded);
    else if (isExpanded) this.#closed.delete(kind);
    else this.#closed.add(kind);
    this.#persist();
    this.#show();
  }

  /** @param {string} key of a row that stands for others */
  async #load(key) {
    try {
      if (key === "collections.more") await this.#collections.more();
      else await this.#folders.more(split(key)[1]);
    } catch (error) {
      this.#context.notifications.error(this.#context.t("navigation.loadFailed"), error);
    }
  }

  /**
   * @param {string} key
   * @param {ScreenPoint} at
   */
  #press(key, at) {
    if (key === "collections") this.commands.create();
    else if (key === "searches") this.#searchCommands.save();
    else this.#showMenu(key, at);
  }

  /**
   * @param {string} key
   * @param {ScreenPoint} at
   */
  #showMenu(key, at) {
    const { t } = this.#context;
    const [kind, rest] = split(key);
    const collection = this.#collections.find(rest);
    const search = this.#searches.find(rest);
    /** @type {MenuItem[][]} */
    let groups = [];
    let label = t("navigation.title");
    if (kind === "folder") [label, groups] = [rest, [this.#folderMenu(rest)]];
    else if (collection !== undefined) {
      const adding = this.#selection.size === 0 ? [] : [this.commands.addItem(collection, this.#selection.selected)];
      [label, groups] = [collection.name, [adding, this.commands.menuOf(collection)]];
    } else if (search !== undefined) [label, groups] = [search.name, [this.#searchCommands.menuOf(search)]];
    else if (kind === "collections") groups = [[this.commands.createItem()]];
    else if (kind === "searches") groups = [[this.#searchCommands.saveItem()]];
    showMenu(label, groups, at);
    return groups.length > 0;
  }

  /**
   * @param {string} path
   * @returns {MenuItem[]}
   */
  #folderMenu(path) {
    /** @type {ZipSource} */
    const source = { filter: { folder: path, missing: "exclude" } };
    return [{ icon: "download", label: this.#context.t("zip.download"), run: () => this.zip.start(source, path) }];
  }

  /**
   * @param {KeyboardEvent} event
   * @param {string} active the key of the active row
   */
  #onKey({ key }, active) {
    if (key !== "F2" && key !== "Delete") return false;
    const [, rest] = split(active);
    const collection = this.#collections.find(rest);
    const search = this.#searches.find(rest);
    if (collection !== undefined) this.commands[key === "F2" ? "rename" : "remove"](collection);
    else if (search !== undefined) this.#searchCommands[key === "F2" ? "rename" : "remove"](search);
    return collection !== undefined || search !== undefined;
  }

  #persist() {
    const { view: { isDocked } } = this;
    this.#stored.write({ isDocked, expanded: this.#folders.expanded, closed: [...this.#closed] });
  }
}
