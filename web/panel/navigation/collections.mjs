/** The user's collections: a list that is kept up to date, and their changes, each of which can be taken back. */

/** @import { Asset, Collection } from "../api.d.ts" */
/** @import { AssetActions } from "../library/asset_actions.mjs" */
/** @import { PanelContext } from "../types.d.ts" */

import { runBatch, undoBatch } from "../library/batch.mjs";

const PAGE_SIZE = 500;
const RECENT = 12; // in menus

/** The assets of a change: some, or all that pass a filter. @typedef {Asset[] | { filter: Record<string, unknown> }} AssetSource */

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
   * @param {AssetSource} [assets]
   */
  async create(name, assets = []) {
    const { client, t, notifications } = this.#context;
    const ids = Array.isArray(assets) ? assets.map(({ id }) => id) : [];
    let made = await client.post("/collections", { name, asset_ids: ids });
    if (!Array.isArray(assets)) {
      await runBatch(client, { action: "add_to_collection", collection_id: made.id, ...assets });
      made = await client.get(`/collections/${made.id}`);
    }
    const change = { label: t("undo.createCollection", { name: made.name }), undo: () => this.#delete(made.id) };
    this.#actions.remember(change);
    await this.refresh();
    const text = made.asset_count === 0
      ? t("collection.created", { name: made.name })
      : t("collection.added", { name: made.name, count: made.asset_count });
    notifications.show(text, this.#undo(change));
    return made;
  }

  /**
   * @param {Collection} collection
   * @param {string} name
   */
  async rename({ id, name: before }, name) {
    const { client, t } = this.#context;
    /** @param {string} name */
    const put = async (name) => {
      await client.request("PATCH", `/collections/${id}`, { body: { name } });
      await this.refresh();
    };
    await put(name);
    this.#actions.remember({ label: t("undo.renameCollection", { name: before }), undo: () => put(before) });
  }

  /** @param {Collection} collection */
  async remove({ id, name }) {
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
    this.#actions.remember(change);
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
   * @param {AssetSource} assets
   */
  add(collection, assets) {
    return this.#change("add_to_collection", collection, assets);
  }

  /**
   * Take assets out of a collection.
   *
   * @param {Collection} collection
   * @param {Asset[]} assets
   */
  take(collection, assets) {
    return this.#change("remove_from_collection", collection, assets);
  }

  /**
   * @param {"add_to_collection" | "remove_from_collection"} action
   * @param {Collection} collection
   * @param {AssetSource} assets
   */
  async #change(action, { id, name }, assets) {
    const { client, t, notifications } = this.#context;
    const selection = Array.isArray(assets) ? { ids: assets.map((asset) => asset.id) } : assets;
    const result = await runBatch(client, { action, collection_id: id, ...selection });
    const { batch_id: batch, total, changed, failed, failures } = result;
    await this.refresh();
    const isAdded = action === "add_to_collection";
    if (failed > 0) {
      notifications.error(t(isAdded ? "collection.addFailed" : "collection.takeFailed", { name }), failures[0].message);
    } else if (changed === 0) notifications.show(t("collection.nothingAdded", { name, count: total }));
    if (changed === 0) return;
    const values = { name, count: changed };
    const undo = async () => {
      await undoBatch(client, batch);
      await this.refresh();
    };
    const change = { label: t(isAdded ? "undo.addToCollection" : "undo.takeFromCollection", values), undo };
    this.#actions.remember(change);
    if (failed === 0) {
      notifications.show(t(isAdded ? "collection.added" : "collection.taken", values), this.#undo(change));
    }
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
  async order({ id, name }, assets, before, formers) {
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
    this.#actions.remember({ label: t("undo.orderCollection", { name }), undo });
  }

  /** @param {import("../library/undo_stack.mjs").Change} change */
  #undo(change) {
    return { label: this.#context.t("asset.undo"), action: () => this.#actions.undo(change) };
  }
}
