/** The commands for collections, and those for assets in them. They show what fails. */

/** @import { Collection } from "../api.d.ts" */
/** @import { QueryStore } from "../library/query.mjs" */
/** @import { SelectedAssets } from "../library/search_results.mjs" */
/** @import { ZipExports, ZipSource } from "../library/zip_exports.mjs" */
/** @import { MenuItem } from "../shared/context_menu.mjs" */
/** @import { PanelContext, ScreenPoint } from "../types.d.ts" */
/** @import { CollectionOrder } from "./collection_order.mjs" */
/** @import { Collections } from "./collections.mjs" */

import { draggedAssets } from "../library/dragged.mjs";
import { countOf } from "../library/search_results.mjs";
import { filterBody } from "../library/selection_filter.mjs";
import { showMenu } from "../shared/context_menu.mjs";
import { askForName } from "../shared/name_dialog.mjs";
import { placeOf } from "./place.mjs";

export class CollectionCommands {
  #context;
  #store;
  #collections;
  #zip;
  #leave;
  /** @type {CollectionOrder | null} of the grid */
  order = null;

  /**
   * @param {PanelContext} context
   * @param {QueryStore} store
   * @param {Collections} collections
   * @param {ZipExports} zip
   * @param {() => void} leave leaves the collection that is shown
   */
  constructor(context, store, collections, zip, leave) {
    this.#context = context;
    this.#store = store;
    this.#collections = collections;
    this.#zip = zip;
    this.#leave = leave;
  }

  /**
   * Return the commands for a collection.
   *
   * @param {Collection} collection
   * @returns {MenuItem[]}
   */
  menuOf(collection) {
    const { t } = this.#context;
    const download = () => this.#zip.start({ collection_id: collection.id }, collection.name);
    return [
      { icon: "edit", label: t("asset.rename"), run: () => this.rename(collection) },
      { icon: "download", label: t("zip.download"), run: download },
      { icon: "trash", label: t("collection.delete"), run: () => this.remove(collection), isDanger: true },
    ];
  }

  /** @returns {MenuItem} */
  createItem() {
    return { icon: "plus", label: this.#context.t("collection.new"), run: () => this.create() };
  }

  /**
   * @param {Collection} collection
   * @param {SelectedAssets} assets
   * @returns {MenuItem}
   */
  addItem(collection, assets) {
    const label = this.#context.t("collection.addSelected", this.#collections.counts(assets));
    return { icon: "plus", label, run: () => this.add(collection, assets) };
  }

  /**
   * Return the commands for assets: add them to a collection and, in a collection, remove them from it.
   *
   * @param {SelectedAssets} selected
   * @param {ScreenPoint} at the place of the menu
   * @returns {MenuItem[]}
   */
  itemsFor(selected, at) {
    const { t } = this.#context;
    /** @type {MenuItem[]} */
    const items = [{ icon: "collection", label: t("collection.addTo"), run: () => this.choose(selected, at) }];
    if (placeOf(this.#store.state).kind === "collection") {
      items.push({ icon: "close", label: t("collection.take"), run: () => this.take(selected) });
    }
    const source = zipSource(selected);
    if (countOf(selected) > 1 && source !== null) {
      const name = t("zip.ofMany", this.#collections.counts(selected));
      items.push({ icon: "download", label: t("zip.download"), run: () => this.#zip.start(source, name) });
    }
    return [...items, ...(Array.isArray(selected) ? this.order?.itemsFor(selected) ?? [] : [])];
  }

  /**
   * Show the menu for assets: of the collections that they can be added to, and of the other commands.
   *
   * @param {SelectedAssets} selected
   * @param {ScreenPoint} at
   */
  organize(selected, at) {
    this.choose(selected, at, this.itemsFor(selected, at).slice(1));
  }

  /**
   * Let the user choose the collection that assets are added to.
   *
   * @param {SelectedAssets} assets
   * @param {ScreenPoint} at
   * @param {MenuItem[]} [others] further commands
   */
  async choose(assets, at, others = []) {
    const { t } = this.#context;
    const page = await this.#try(this.#collections.recent(), "collection.loadFailed");
    if (page === undefined) return;
    /** @type {MenuItem[]} */
    const recent = page.collections.map((collection) => ({
      icon: "collection",
      label: collection.name,
      run: () => this.add(collection, assets),
    }));
    if (page.has_more) {
      recent.push({
        icon: "search",
        label: t("collection.another"),
        run: () => this.#addToOther(assets),
      });
    }
    const create = /** @type {const} */ ({ icon: "plus", label: t("collection.new"), run: () => this.create(assets) });
    showMenu(t("collection.addTo"), [recent, [create], others], at);
  }

  /**
   * Create a collection, of some assets or empty; an empty one is shown.
   *
   * @param {SelectedAssets} [assets]
   */
  create(assets = []) {
    const { t } = this.#context;
    return askForName(t, {
      title: t("collection.newTitle"),
      accept: t("collection.create"),
      icon: "collection",
      save: (name) => this.#collections.create(name, assets),
    });
  }

  /** @param {SelectedAssets} assets */
  #addToOther(assets) {
    const { t } = this.#context;
    return askForName(t, {
      title: t("collection.addTo"),
      accept: t("collection.add"),
      icon: "collection",
      suggest: async (text) => (await this.#collections.named(text)).map(({ name }) => name),
      save: async (name) => {
        const found = (await this.#collections.named(name)).find((each) => isSameName(each.name, name));
        if (found === undefined) throw new Error(t("collection.unknown", { name }));
        await this.#collections.add(found, assets);
      },
    });
  }

  /** @param {Collection} collection */
  rename(collection) {
    const { t } = this.#context;
    return askForName(t, {
      title: t("collection.rename"),
      accept: t("common.save"),
      icon: "edit",
      value: collection.name,
      save: async (name) => {
        if (name !== collection.name) await this.#collections.rename(collection, name);
      },
    });
  }

  /** @param {Collection} collection */
  async remove(collection) {
    await this.#try(this.#collections.remove(collection), "collection.deleteFailed");
    const place = placeOf(this.#store.state);
    const isGone = this.#collections.find(collection.id) === undefined;
    if (isGone && place.kind === "collection" && place.id === collection.id) this.#leave();
  }

  /**
   * @param {Collection} collection
   * @param {SelectedAssets} assets
   */
  add(collection, assets) {
    return this.#try(this.#collections.add(collection, assets), "collection.changeFailed");
  }

  /**
   * Add the assets that are being dragged.
   *
   * @param {Collection | undefined} collection undefined for a new one
   */
  drop(collection) {
    const assets = draggedAssets();
    if (countOf(assets) === 0) return;
    if (collection === undefined) this.create(assets);
    else this.add(collection, assets);
  }

  /**
   * Take assets out of the collection that is shown.
   *
   * @param {SelectedAssets} assets
   */
  async take(assets) {
    const place = placeOf(this.#store.state);
    if (place.kind !== "collection") return;
    const taking = async () => {
      const collection = await this.#context.client.get(`/collections/${place.id}`);
      await this.#collections.take(collection, assets);
    };
    await this.#try(taking(), "collection.changeFailed");
  }

  /**
   * @template Result
   * @param {Promise<Result>} action
   * @param {string} failure the key of what is shown if it fails
   */
  async #try(action, failure) {
    try {
      return await action;
    } catch (error) {
      this.#context.notifications.error(this.#context.t(failure), error);
      return undefined;
    }
  }
}

/**
 * @param {string} one
 * @param {string} other
 */
function isSameName(one, other) {
  return one.normalize("NFC").toLowerCase() === other.normalize("NFC").toLowerCase();
}

/**
 * Return the assets of an archive, or null for a search with exceptions, which archives do not take.
 *
 * @param {SelectedAssets} selected
 * @returns {ZipSource | null}
 */
function zipSource(selected) {
  if (Array.isArray(selected)) return { asset_ids: selected.map(({ id }) => id) };
  return selected.excluded.size === 0 ? { filter: filterBody(selected.params) } : null;
}
