/** What a user can do with assets. */

/** @import { Asset, UserMetadata } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { allowsAnonymous, contentPath, contentUrl } from "./asset.mjs";

const CONCURRENCY = 6; // requests at a time; browsers open no more connections to a server
const BLOB_URL_MS = 60_000; // until a slow browser has certainly begun to save it

/** @typedef {{ add?: string[], remove?: string[] }} TagChange */

/** The methods that change one asset throw if the request fails. All others show a notification. */
export class AssetActions {
  #context;
  #onChange;

  /**
   * @param {PanelContext} context
   * @param {(asset: Asset | null) => void} onChange receives each changed asset, or null if the list must be loaded again
   */
  constructor(context, onChange) {
    this.#context = context;
    this.#onChange = onChange;
  }

  /**
   * @param {Asset} asset
   * @param {string} name
   */
  rename(asset, name) {
    return this.#update(asset, { name });
  }

  /**
   * @param {Asset} asset
   * @param {number} stars 0 removes the rating
   */
  setRating(asset, stars) {
    return this.#updateMetadata(asset, { rating: stars === 0 ? undefined : stars });
  }

  /**
   * @param {Asset} asset
   * @param {boolean} isFavourite
   */
  setFavourite(asset, isFavourite) {
    return this.#updateMetadata(asset, { favorite: isFavourite ? true : undefined });
  }

  /**
   * Add and remove tags. Returns the changed asset.
   *
   * @param {Asset} asset
   * @param {TagChange} change
   */
  async tag(asset, { add = [], remove = [] }) {
    const { client } = this.#context;
    let { tags } = asset;
    if (add.length > 0) ({ total_tags: tags } = await client.post(`/assets/${asset.id}/tags`, { tags: add }));
    if (remove.length > 0) {
      const options = { body: { tags: remove } };
      ({ total_tags: tags } = await client.request("DELETE", `/assets/${asset.id}/tags`, options));
    }
    const changed = { ...asset, tags };
    this.#onChange(changed);
    return changed;
  }

  /**
   * Run an action for many assets, a few at a time. Returns how many succeeded, and the first error or null.
   *
   * @param {Asset[]} assets
   * @param {(asset: Asset) => Promise<unknown>} action
   */
  async forEach(assets, action) {
    const waiting = [...assets];
    let done = 0;
    /** @type {unknown} */
    let firstError = null;
    const work = async () => {
      for (let asset = waiting.shift(); asset !== undefined; asset = waiting.shift()) {
        try {
          await action(asset);
          done += 1;
        } catch (error) {
          firstError ??= error;
        }
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, work));
    return { done, error: firstError };
  }

  /**
   * Delete assets, and offer to restore them. Returns the deleted assets.
   *
   * @param {Asset[]} assets
   */
  async remove(assets) {
    const { t, notifications, client } = this.#context;
    /** @type {Asset[]} */
    const removed = [];
    const { error } = await this.forEach(assets, async (asset) => {
      await client.request("DELETE", `/assets/${asset.id}`);
      removed.push(asset);
    });
    if (error !== null) notifications.error(t("asset.deleteFailed", { count: assets.length }), error);
    if (removed.length > 0) {
      const undo = { label: t("asset.undo"), action: () => this.restore(removed) };
      notifications.show(t("asset.deleted", { count: removed.length, name: removed[0].name }), undo);
    }
    this.#onChange(null);
    return removed;
  }

  /**
   * Restore deleted assets.
   *
   * @param {Asset[]} assets
   */
  async restore(assets) {
    const { t, notifications, client } = this.#context;
    const { done, error } = await this.forEach(assets, (asset) => client.post(`/assets/${asset.id}/restore`));
    if (error !== null) notifications.error(t("asset.restoreFailed", { count: assets.length }), error);
    else notifications.show(t("asset.restored", { count: done, name: assets[0].name }));
    this.#onChange(null);
  }

  /**
   * Open the workflow embedded in an asset's file, or its prompt if there is no workflow.
   *
   * @param {Asset} asset
   */
  async openWorkflow(asset) {
    const { t, page, client, notifications } = this.#context;
    try {
      // Lists leave out the embedded documents.
      const { metadata = {} } = asset.metadata?.workflow ? asset : await client.get(`/assets/${asset.id}`);
      const name = asset.name.replace(/\.[^.]+$/, "");
      if (metadata.workflow) await page.openWorkflow(metadata.workflow, name);
      else if (metadata.prompt) await page.openPrompt(metadata.prompt, name);
      else notifications.show(t("asset.noWorkflow", { name: asset.name }));
    } catch (error) {
      notifications.error(t("workflow.openFailed"), error);
    }
  }

  /**
   * Download the file: by a link, so that the browser streams it to the disk; or by a request that names the user, where
   * the server demands that.
   *
   * @param {Asset} asset
   */
  async download(asset) {
    const { page, notifications, t } = this.#context;
    if (allowsAnonymous(page, asset)) {
      saveAs(contentUrl(page, asset, "attachment"), asset.name);
      return;
    }
    notifications.show(t("asset.downloading", { name: asset.name }));
    try {
      const response = await page.fetch(contentPath(asset, "attachment"));
      if (!response.ok) throw new Error(t("asset.serverError", { status: response.status }));
      const url = URL.createObjectURL(await response.blob());
      saveAs(url, asset.name);
      setTimeout(() => URL.revokeObjectURL(url), BLOB_URL_MS);
      notifications.show(t("asset.downloaded", { name: asset.name }));
    } catch (error) {
      notifications.error(t("asset.downloadFailed"), error);
    }
  }

  /**
   * Change some of the user metadata. The server replaces it as a whole, so the current one is read first.
   *
   * @param {Asset} asset
   * @param {UserMetadata} change undefined removes a member
   */
  async #updateMetadata(asset, change) {
    const current = await this.#context.client.get(`/assets/${asset.id}`);
    return this.#update(asset, { user_metadata: { ...current.user_metadata, ...change } });
  }

  /**
   * @param {Asset} asset
   * @param {{ name?: string, user_metadata?: UserMetadata }} body
   * @returns {Promise<Asset>}
   */
  async #update(asset, body) {
    const updated = await this.#context.client.request("PUT", `/assets/${asset.id}`, { body });
    // The response has no embedded documents, which the asset may hold already.
    const changed = { ...asset, ...updated, metadata: { ...updated.metadata, ...asset.metadata } };
    this.#onChange(changed);
    return changed;
  }
}

/**
 * @param {string} url
 * @param {string} name
 */
function saveAs(url, name) {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
}
