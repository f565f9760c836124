/** What can be done with assets: each action is a request, a notice of how it went, and a way back where there is one. */

import { allowsAnonymous, contentPath, contentUrl, isFavourite } from "./asset.mjs";

const CONCURRENCY = 6; // requests at a time, when many assets are changed
const BLOB_URL_MS = 60_000; // how long a fetched file is there for the browser to save

export class AssetActions {
  #context;

  /** `changed(asset)` is told of every asset that has changed here. */
  constructor(context, changed) {
    this.#context = context;
    this.changed = changed;
  }

  rename(asset, name) {
    return this.#update(asset, { name });
  }

  setRating(asset, stars) {
    return this.#updateMetadata(asset, { rating: stars === 0 ? undefined : stars });
  }

  setFavourite(asset, isWanted = !isFavourite(asset)) {
    return this.#updateMetadata(asset, { favorite: isWanted ? true : undefined });
  }

  /** Give and take tags; answers the asset as it is then. */
  async tag(asset, { add = [], remove = [] }) {
    const path = `/assets/${asset.id}/tags`;
    const { client } = this.#context;
    let answer = { total_tags: asset.tags };
    if (add.length > 0) answer = await client.post(path, { tags: add });
    if (remove.length > 0) answer = await client.request("DELETE", path, { body: { tags: remove } });
    const changed = { ...asset, tags: answer.total_tags };
    this.changed(changed);
    return changed;
  }

  /** Do something with each of many, a few at a time; answers how many were done, and the first error. */
  async forEach(assets, action) {
    const waiting = [...assets];
    let done = 0;
    let problem = null;
    const work = async () => {
      for (let asset = waiting.shift(); asset !== undefined; asset = waiting.shift()) {
        try {
          await action(asset);
          done += 1;
        } catch (error) {
          problem ??= error;
        }
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, work));
    return { done, problem };
  }

  /** Delete assets; the notice of it offers to bring them back. */
  async remove(assets) {
    const { t, notifications, client } = this.#context;
    const removed = [];
    const { done, problem } = await this.forEach(assets, async (asset) => {
      await client.request("DELETE", `/assets/${asset.id}`);
      removed.push(asset);
    });
    if (problem !== null) notifications.error(t("asset.deleteFailed"), problem);
    if (done > 0) {
      const undo = { label: t("asset.undo"), action: () => this.restore(removed) };
      notifications.show(t("asset.deleted", { count: done, name: removed[0].name }), undo);
    }
    this.changed(null);
    return removed;
  }

  /** Bring deleted assets back. */
  async restore(assets) {
    const { t, notifications, client } = this.#context;
    const { done, problem } = await this.forEach(assets, (asset) => client.post(`/assets/${asset.id}/restore`));
    if (problem !== null) notifications.error(t("asset.restoreFailed"), problem);
    else notifications.show(t("asset.restored", { count: done, name: assets[0].name }));
    this.changed(null);
  }

  /** Open the workflow in an asset's file, or the prompt if there is only that. */
  async openWorkflow(asset) {
    const { t, page, client, notifications } = this.#context;
    try {
      const { metadata = {} } = asset.metadata?.workflow ? asset : await client.get(`/assets/${asset.id}`);
      const name = asset.name.replace(/\.[^.]+$/, "");
      if (metadata.workflow) await page.openWorkflow(metadata.workflow, name);
      else if (metadata.prompt) await page.openPrompt(metadata.prompt, name);
      else notifications.show(t("asset.noWorkflow", { name: asset.name }));
    } catch (error) {
      notifications.error(t("asset.openFailed"), error);
    }
  }

  /** Hand the file to the browser, which asks for it itself; where that is refused, it is fetched first. */
  async download(asset) {
    const { page, notifications, t } = this.#context;
    if (allowsAnonymous(page, asset)) {
      saveAs(contentUrl(page, asset, "attachment"), asset.name);
      return;
    }
    notifications.show(t("asset.fetching", { name: asset.name }));
    try {
      const response = await page.fetch(contentPath(asset, "attachment"));
      if (!response.ok) throw new Error(t("asset.serverError", { status: response.status }));
      const url = URL.createObjectURL(await response.blob());
      saveAs(url, asset.name);
      setTimeout(() => URL.revokeObjectURL(url), BLOB_URL_MS);
      notifications.show(t("asset.fetched", { name: asset.name }));
    } catch (error) {
      notifications.error(t("asset.downloadFailed"), error);
    }
  }

  async #updateMetadata(asset, change) {
    const current = await this.#context.client.get(`/assets/${asset.id}`);
    const metadata = { ...current.user_metadata, ...change };
    return this.#update(asset, { user_metadata: metadata });
  }

  async #update(asset, change) {
    const answer = await this.#context.client.request("PUT", `/assets/${asset.id}`, { body: change });
    const changed = { ...asset, ...answer, metadata: { ...answer.metadata, ...asset.metadata } };
    this.changed(changed);
    return changed;
  }
}

function saveAs(url, name) {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
}
