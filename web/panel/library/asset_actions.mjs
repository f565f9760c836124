/** What a user can do with assets. */

/** @import { Asset, UserMetadata } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { Change } from "./undo_stack.mjs" */

import { download } from "./download.mjs";
import { exportWorkflow, openWorkflow } from "./embedded_workflow.mjs";
import { UndoStack } from "./undo_stack.mjs";

const CONCURRENCY = 6; // requests at a time; browsers open no more connections to a server

/** @typedef {{ add?: string[], remove?: string[] }} TagChange */

/** What has changed of an asset. @typedef {Partial<Asset> & { id: string }} AssetChange */

/**
 * The methods that change assets throw the first error if requests fail; what succeeded by then stays, and can be taken
 * back with the others. All other methods show a notification.
 */
export class AssetActions {
  #context;
  #onChange;
  #undo;
  /** @type {Promise<unknown>} of the last change; the next waits for it, or it could overtake it */
  #last = Promise.resolve();

  /**
   * @param {PanelContext} context
   * @param {(change: AssetChange | null) => void} onChange receives each change, or null if the list must be loaded again
   */
  constructor(context, onChange) {
    this.#context = context;
    this.#onChange = onChange;
    this.#undo = new UndoStack(context);
  }

  /**
   * @param {Asset} asset
   * @param {string} name
   */
  rename(asset, name) {
    return this.#inTurn(async () => {
      await this.#update(asset.id, { name });
      const undo = () => this.#update(asset.id, { name: asset.name });
      this.#undo.push({ label: this.#context.t("undo.rename", { name: asset.name }), undo });
    });
  }

  /**
   * @param {Asset[]} assets
   * @param {number} stars 0 removes the rating
   */
  rate(assets, stars) {
    return this.#changeMetadata(assets, { rating: stars === 0 ? undefined : stars }, "undo.rating");
  }

  /**
   * @param {Asset[]} assets
   * @param {boolean} isFavourite
   */
  favour(assets, isFavourite) {
    return this.#changeMetadata(assets, { favorite: isFavourite ? true : undefined }, "undo.favourite");
  }

  /**
   * Add and remove tags. Returns the change, which can be taken back.
   *
   * @param {Asset[]} assets
   * @param {TagChange} tags
   */
  tag(assets, tags) {
    return this.#change(assets, "undo.tags", async (asset) => {
      const reverse = await this.#applyTags(asset, tags);
      return () => this.#applyTags(asset, reverse);
    });
  }

  /**
   * Delete assets, and offer to restore them. Returns the deleted assets.
   *
   * @param {Asset[]} assets
   */
  remove(assets) {
    return this.#inTurn(() => this.#remove(assets));
  }

  /**
   * Take back a change, the latest unless another is named.
   *
   * @param {Change} [change]
   */
  undo(change) {
    return this.#inTurn(() => this.#undo.undo(change));
  }

  /**
   * Remember a change that was made elsewhere, so that it can be taken back like those made here.
   *
   * @param {Change} change
   */
  remember(change) {
    this.#undo.push(change);
  }

  /** @param {Asset[]} assets */
  async #remove(assets) {
    const { t, notifications, client } = this.#context;
    /** @type {Asset[]} */
    const removed = [];
    const { error } = await this.#forEach(assets, async (asset) => {
      await client.request("DELETE", `/assets/${asset.id}`);
      removed.push(asset);
    });
    if (error !== null) notifications.error(t("asset.deleteFailed", { count: assets.length }), error);
    if (removed.length > 0) {
      const { name } = removed[0];
      const count = removed.length;
      const done = t("asset.restored", { count, name });
      const change = { label: t("undo.delete", { count, name }), done, undo: () => this.#restore(removed) };
      this.#undo.push(change);
      const undo = { label: t("asset.undo"), action: () => this.undo(change) };
      notifications.show(t("asset.deleted", { count, name }), error === null ? undo : null);
    }
    this.#onChange(null);
    return removed;
  }

  /**
   * Open the workflow embedded in an asset's file, or its prompt if there is no workflow.
   *
   * @param {Asset} asset
   */
  openWorkflow(asset) {
    return openWorkflow(this.#context, asset);
  }

  /**
   * Save the workflow embedded in an asset's file, or its prompt, as a file of its own.
   *
   * @param {Asset} asset
   */
  exportWorkflow(asset) {
    return exportWorkflow(this.#context, asset);
  }

  /** @param {Asset} asset */
  download(asset) {
    return download(this.#context, asset);
  }

  /** @param {Asset[]} assets */
  async #restore(assets) {
    const { error } = await this.#forEach(assets, ({ id }) => this.#context.client.post(`/assets/${id}/restore`));
    this.#onChange(null);
    if (error !== null) throw error;
  }

  /**
   * Add and remove tags of one asset. Returns the change that reverses it: some tags may have been there before.
   *
   * @param {Asset} asset
   * @param {TagChange} tags
   * @returns {Promise<TagChange>}
   */
  async #applyTags({ id }, { add = [], remove = [] }) {
    const { client } = this.#context;
    /** @type {TagChange} */
    const reverse = {};
    if (add.length > 0) {
      const { added, total_tags } = await client.post(`/assets/${id}/tags`, { tags: add });
      reverse.remove = added;
      this.#onChange({ id, tags: total_tags });
    }
    if (remove.length > 0) {
      const { removed, total_tags } = await client.request("DELETE", `/assets/${id}/tags`, { body: { tags: remove } });
      reverse.add = removed;
      this.#onChange({ id, tags: total_tags });
    }
    return reverse;
  }

  /**
   * Change some of the user metadata. The server replaces it as a whole, so the current one is read first.
   *
   * @param {Asset[]} assets
   * @param {UserMetadata} values undefined removes a member
   * @param {string} label
   */
  #changeMetadata(assets, values, label) {
    /**
     * @param {string} id
     * @param {UserMetadata} values
     */
    const put = async (id, values) => {
      const { user_metadata: before = {} } = await this.#context.client.get(`/assets/${id}`);
      await this.#update(id, { user_metadata: { ...before, ...values } });
      return Object.fromEntries(Object.keys(values).map((name) => [name, before[name]]));
    };
    return this.#change(assets, label, async ({ id }) => {
      const before = await put(id, values);
      return () => put(id, before);
    });
  }

  /**
   * Change assets as one change that can be taken back. Returns that.
   *
   * @param {Asset[]} assets
   * @param {string} label the key of its name
   * @param {(asset: Asset) => Promise<() => Promise<unknown>>} change returns what takes it back
   * @returns {Promise<Change>}
   */
  #change(assets, label, change) {
    return this.#inTurn(() => this.#changeNow(assets, label, change));
  }

  /**
   * @param {Asset[]} assets
   * @param {string} label
   * @param {(asset: Asset) => Promise<() => Promise<unknown>>} change
   * @returns {Promise<Change>}
   */
  async #changeNow(assets, label, change) {
    /** @type {(() => Promise<unknown>)[]} */
    const reverses = [];
    const { error } = await this.#forEach(assets, async (asset) => {
      reverses.push(await change(asset));
    });
    const [{ name }] = assets;
    const made = {
      label: this.#context.t(label, { count: reverses.length, name }),
      undo: async () => {
        const { error } = await this.#forEach(reverses, (reverse) => reverse());
        if (error !== null) throw error;
      },
    };
    if (reverses.length > 0) this.#undo.push(made);
    if (error !== null) throw error;
    return made;
  }

  /**
   * Run an action after those before it.
   *
   * @template Result
   * @param {() => Promise<Result>} action
   * @returns {Promise<Result>}
   */
  #inTurn(action) {
    const run = this.#last.then(action);
    this.#last = run.catch(() => {}); // the caller shows the error
    return run;
  }

  /**
   * Run an action for many items, a few at a time. Returns the first error, or null.
   *
   * @template Item
   * @param {Item[]} items
   * @param {(item: Item) => Promise<unknown>} action
   */
  async #forEach(items, action) {
    const waiting = [...items];
    /** @type {unknown} */
    let firstError = null;
    const work = async () => {
      for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) {
        try {
          await action(item);
        } catch (error) {
          firstError ??= error;
        }
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, work));
    return { error: firstError };
  }

  /**
   * @param {string} id
   * @param {{ name?: string, user_metadata?: UserMetadata }} body
   */
  async #update(id, body) {
    const { metadata: _, ...changed } = await this.#context.client.request("PUT", `/assets/${id}`, { body });
    this.#onChange(changed); // the metadata is without the embedded documents, which some have already
  }
}
