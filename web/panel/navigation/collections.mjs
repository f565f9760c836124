/** The user's collections: a list that is kept up to date, and their changes, each of which can be taken back. */

/** @import { Asset, BatchRequest, Collection } from "../api.d.ts" */
/** @import { AssetActions } from "../library/asset_actions.mjs" */
/** @import { SelectedAssets } from "../library/search_results.mjs" */
/** @import { Change } from "../library/undo_stack.mjs" */
/** @import { PanelContext } from "../types.d.ts" */

import { changedBy } from "../library/batches.mjs";
import { countOf } from "../library/search_results.mjs";

const PAGE_SIZE = 500;
const RECENT = 12; // in menus

/** The methods that change something throw a RequestError. */
export class Collections {
  #context;
  #actions;
  #onChange;
  /** By name. @type {Collection[] | null} */
  items = null;
  total = 0;

  /**
   * @param {PanelContext} context
   * @param {AssetActions} actions
   * @param {() => void} onChange called after changes of the list
   */
  constructor(context, actions, onChange) {
    this.#context = context;
    this.#actions = actions;
    this.#onChange = onChange;
  }

  /** @param {string} id */
  find(id) {
    return this.items?.find((each) => each.id === id);
  }

  /** Whether more collections are there than were loaded. */
  get hasMore() {
    return this.items !== null && this.items.length < this.total;
  }

  /** Load the list again, as far as it was loaded. */
  async refresh() {
    /** @type {Collection[]} */
    const found = [];
    const wanted = Math.max(this.items?.length ?? 0, 1);
    do {
      if (!(await this.#fetch(found))) break;
    } while (found.length < wanted);
    this.items = found;
    this.#onChange();
  }

  /** Load the next ones. */
  async more() {
    const found = [...(this.items ?? [])];
    await this.#fetch(found);
    this.items = found;
    this.#onChange();
  }

  /**
   * Add the next page to some collections. Returns whether another follows.
   *
   * @param {Collection[]} found
   */
  async #fetch(found) {
    const query = { limit: String(PAGE_SIZE), offset: String(found.length) };
    const page = await this.#context.client.get("/collections", { query });
    found.push(...page.collections);
    this.total = page.total;
    return page.has_more;
  }

  /** Return those that were changed last, and whether there are more. */
  async recent() {
    const query = { sort: "updated_at", order: "desc", limit: String(RECENT) };
    return await this.#context.client.get("/collections", { query });
  }

  /**
   * Return collections with a text in their names.
   *
   * @param {string} text
   */
  async named(text) {
    const query = { name_contains: text, limit: String(RECENT) };
    return (await this.#context.client.get("/collections", { query })).collections;
  }

  /**
   * Create a collection, of some assets or empty.
   *
   * @param {string} name
   * @param {SelectedAssets} [selected]
   */
  create(name, selected = []) {
    return this.#actions.perform(() => this.#create(name, selected));
  }

  /**
   * @param {string} name
   * @param {SelectedAssets} selected
   */
  async #create(name, selected) {
    const { client, t, notifications } = this.#context;
    const made = await client.post("/collections", { name });
    if (!Array.isArray(selected) || selected.length > 0) await this.#addTo(made, selected);
    await this.refresh();
    const { asset_count: count } = await client.get(`/collections/${made.id}`);
    const text = count === 0
      ? t("collection.created", { name: made.name })
      : t("collection.added", { ...this.#actions.batches.counts(count), name: made.name });
    const change = { label: t("undo.createCollection", { name: made.name }), undo: () => this.#delete(made.id) };
    this.#actions.undoStack.push(change);
    notifications.show(text, this.#undo(change));
    return made;
  }

  /**
   * @param {Collection} collection
   * @param {SelectedAssets} selected
   */
  #addTo({ id, name }, selected) {
    const { t } = this.#context;
    const label = t("undo.addToCollection", { ...this.#actions.batches.counts(countOf(selected)), name });
    return this.#actions.batches.run({ action: "add_to_collection", collection_id: id }, selected, label);
  }

  /**
   * @param {Collection} collection
   * @param {string} name
   */
  rename(collection, name) {
    return this.#actions.perform(() => this.#rename(collection, name));
  }

  /**
   * @param {Collection} collection
   * @param {string} name
   */
  async #rename({ id, name: before }, name) {
    const { client, t } = this.#context;
    /** @param {string} name */
    const put = async (name) => {
      await client.request("PATCH", `/collections/${id}`, { body: { name } });
      await this.refresh();
    };
    await put(name);
    this.#actions.undoStack.push({ label: t("undo.renameCollection", { name: before }), undo: () => put(before) });
  }

  /** @param {Collection} collection */
  remove(collection) {
    return this.#actions.perform(() => this.#remove(collection));
  }

  /** @param {Collection} collection */
  async #remove({ id, name }) {
    const { client, t, notifications } = this.#context;
    await this.#delete(id);
    const restore = async () => {
      await client.post(`/collections/${id}/restore`);
      await this.refresh();
    };
    const change = {
      label: t("undo.deleteCollection", { name }),
      done: t("collection.restored", { name }),
      undo: restore,
    };
    this.#actions.undoStack.push(change);
    notifications.show(t("collection.deleted", { name }), this.#undo(change));
  }

  /** @param {string} id */
  async #delete(id) {
    await this.#context.client.request("DELETE", `/collections/${id}`);
    await this.refresh();
  }

  /**
   * Add assets at the end of a collection.
   *
   * @param {Collection} collection
   * @param {SelectedAssets} selected
   */
  add(collection, selected) {
    const texts = { done: "collection.added", label: "undo.addToCollection", nothing: "collection.nothingAdded" };
    return this.#actions.perform(() => this.#change({ action: "add_to_collection" }, collection, selected, texts));
  }

  /**
   * Take assets out of a collection.
   *
   * @param {Collection} collection
   * @param {SelectedAssets} selected
   */
  take(collection, selected) {
    const texts = {
      done: "collection.taken",
      label: "undo.takeFromCollection",
      nothing: "collection.nothingTaken",
    };
    const request = /** @type {const} */ ({ action: "remove_from_collection" });
    return this.#actions.perform(() => this.#change(request, collection, selected, texts));
  }

  /**
   * @param {BatchRequest} request
   * @param {Collection} collection
   * @param {SelectedAssets} selected
   * @param {{ done: string, label: string, nothing: string }} texts the keys of what was done, of its name for undoing,
   *   and of what is told if nothing had to be changed
   */
  async #change(request, { id, name }, selected, texts) {
    const { t } = this.#context;
    const { batches } = this.#actions;
    const wanted = { ...batches.counts(countOf(selected)), name };
    const results = await batches.run({ ...request, collection_id: id }, selected, t(texts.label, wanted));
    await this.refresh();
    const changed = changedBy(results);
    const values = { ...batches.counts(changed), name };
    const undo = async () => {
      const note = await batches.undo(results, selected);
      await this.refresh();
      return note;
    };
    const text = changed === 0 ? t(texts.nothing, wanted) : t(texts.done, values);
    batches.offer(text, { label: t(texts.label, values), undo }, results, selected);
  }

  /**
   * Put members before another one, or at the end.
   *
   * @param {Collection} collection
   * @param {Asset[]} assets
   * @param {string | undefined} before the id of the other one
   * @param {{ ids: string[], before?: string }[] | null} formers where they were: groups of neighbours, the last first;
   *   null if that is not known
   */
  order(collection, assets, before, formers) {
    return this.#actions.perform(() => this.#order(collection, assets, before, formers));
  }

  /**
   * @param {Collection} collection
   * @param {Asset[]} assets
   * @param {string | undefined} before
   * @param {{ ids: string[], before?: string }[] | null} formers
   */
  async #order({ id, name }, assets, before, formers) {
    const { client, t } = this.#context;
    /**
     * @param {string[]} ids
     * @param {string} [before]
     */
    const put = (ids, before) => client.post(`/collections/${id}/order`, { asset_ids: ids, before });
    await put(assets.map((asset) => asset.id), before);
    if (formers === null) return;
    const undo = async () => {
      for (const former of formers) await put(former.ids, former.before);
      this.#onChange();
    };
    this.#actions.undoStack.push({ label: t("undo.orderCollection", { name }), undo });
  }

  /**
   * Return the values of a text that names how many assets there are.
   *
   * @param {SelectedAssets} selected
   */
  counts(selected) {
    return this.#actions.batches.counts(countOf(selected));
  }

  /** @param {Change} change */
  #undo(change) {
    return { label: this.#context.t("asset.undo"), action: () => this.#actions.undo(change) };
  }
}
