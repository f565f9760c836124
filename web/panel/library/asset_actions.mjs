/** What a user can do with assets. */

/** @import { Asset, DeletionAction, UserMetadata } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { BatchTexts } from "./batches.mjs" */
/** @import { SelectedAssets } from "./search_results.mjs" */
/** @import { Change } from "./undo_stack.mjs" */

import { Batches } from "./batches.mjs";
import { Deletion } from "./deletion.mjs";
import { download } from "./download.mjs";
import { exportWorkflow, openWorkflow } from "./embedded_workflow.mjs";
import { UndoStack } from "./undo_stack.mjs";

/** @typedef {{ add?: string[], remove?: string[] }} TagChange */

/** What has changed of an asset. @typedef {Partial<Asset> & { id: string }} AssetChange */

/**
 * The methods that change assets throw an error if the request fails. One asset is changed by a request of its own; for
 * several, one request changes all, a notification shows its progress and its result, and one step takes it back. All
 * other methods show a notification.
 */
export class AssetActions {
  #context;
  #onChange;
  #deletion;
  /** @type {Promise<unknown>} of the last change; the next waits for it, or it could overtake it */
  #last = Promise.resolve();

  /**
   * @param {PanelContext} context
   * @param {(change: AssetChange | null, selected?: AssetChange[]) => void} onChange receives the change of one asset;
   *   null if the list must be loaded again, with the changes of selected assets
   */
  constructor(context, onChange) {
    this.#context = context;
    this.#onChange = onChange;
    this.undoStack = new UndoStack(context);
    const callbacks = {
      changed: (/** @type {AssetChange[]} */ selected) => this.#onChange(null, selected),
      takeBack: (/** @type {Change} */ change) => this.undo(change),
    };
    this.batches = new Batches(context, this.undoStack, callbacks);
    this.#deletion = new Deletion(context, this.batches, callbacks);
  }

  /**
   * Rename an asset, and its file if that is asked for: the file keeps its suffix.
   *
   * @param {Asset} asset
   * @param {string} name
   * @param {{ withFile?: boolean }} [options]
   */
  rename(asset, name, { withFile = false } = {}) {
    return this.#inTurn(async () => {
      await this.#update(asset.id, withFile ? { name, rename_file: true } : { name });
      const label = this.#context.t("undo.rename", { name: asset.name });
      this.undoStack.push({ label, undo: () => this.#renameBack(asset, withFile) });
    });
  }

  /**
   * @param {Asset} asset as it was
   * @param {boolean} withFile
   */
  async #renameBack({ id, name, file_path: path = "" }, withFile) {
    const fileName = path.slice(path.lastIndexOf("/") + 1);
    if (withFile) await this.#update(id, { name: fileName, rename_file: true });
    if (!withFile || name !== fileName) await this.#update(id, { name });
  }

  /**
   * @param {SelectedAssets} selected
   * @param {number} stars 0 removes the rating
   */
  rate(selected, stars) {
    return this.#changeMetadata(selected, { rating: stars === 0 ? undefined : stars }, {
      request: { action: "rate", rating: stars },
      label: "undo.rating",
      done: stars === 0 ? "selection.unrated" : "selection.rated",
      values: { stars },
    });
  }

  /**
   * @param {SelectedAssets} selected
   * @param {boolean} isFavourite
   */
  favour(selected, isFavourite) {
    return this.#changeMetadata(selected, { favorite: isFavourite ? true : undefined }, {
      request: { action: "favourite", favourite: isFavourite },
      label: "undo.favourite",
      done: isFavourite ? "selection.addedFavourites" : "selection.removedFavourites",
    });
  }

  /**
   * Add or remove tags.
   *
   * @param {SelectedAssets} selected
   * @param {TagChange} tags of several assets, tags are either added or removed
   */
  tag(selected, tags) {
    if (isOne(selected)) {
      const [asset] = selected;
      return this.#changeOne(asset, "undo.tags", async () => {
        const reverse = await this.#applyTags(asset, tags);
        return () => this.#applyTags(asset, reverse);
      });
    }
    const { add = [], remove = [] } = tags;
    const isAdding = add.length > 0;
    const names = isAdding ? add : remove;
    return this.#changeMany(
      selected,
      {
        request: { action: isAdding ? "tag" : "untag", tags: names },
        label: "undo.tags",
        done: isAdding ? "selection.tagged" : "selection.untagged",
        values: { tags: names.join(", ") },
      },
      ({ id, tags: before }) => ({
        id,
        tags: [...new Set([...before, ...add])].filter((tag) => !remove.includes(tag)),
      }),
    );
  }

  /**
   * Ask before a deletion, where that is needed. Returns whether to go on.
   *
   * @param {SelectedAssets} selected
   * @param {DeletionAction} action
   */
  mayDelete(selected, action) {
    return this.#deletion.mayDelete(selected, action);
  }

  /**
   * Delete assets, and offer to restore them; asks if they are in use. Returns the deleted ones.
   *
   * @param {SelectedAssets} selected
   * @param {DeletionAction} action
   */
  delete(selected, action) {
    return this.#inTurn(() => this.#deletion.delete(selected, action));
  }

  /**
   * Take back a change, the latest unless another is named.
   *
   * @param {Change} [change]
   */
  undo(change) {
    return this.#inTurn(() => this.undoStack.undo(change));
  }

  /**
   * Make a change elsewhere, after those before it: taking back waits for it.
   *
   * @template Result
   * @param {() => Promise<Result>} change
   */
  perform(change) {
    return this.#inTurn(change);
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
   * Change some of the user metadata. Of one asset the server replaces it as a whole, so the current one is read first.
   *
   * @param {SelectedAssets} selected
   * @param {UserMetadata} values undefined removes a member
   * @param {BatchTexts} batch
   */
  #changeMetadata(selected, values, batch) {
    if (!isOne(selected)) {
      return this.#changeMany(selected, batch, ({ id, user_metadata }) => ({
        id,
        user_metadata: { ...user_metadata, ...values },
      }));
    }
    const [{ id }] = selected;
    /** @param {UserMetadata} values */
    const put = async (values) => {
      const { user_metadata: before = {} } = await this.#context.client.get(`/assets/${id}`);
      await this.#update(id, { user_metadata: { ...before, ...values } });
      return Object.fromEntries(Object.keys(values).map((name) => [name, before[name]]));
    };
    return this.#changeOne(selected[0], batch.label, async () => {
      const before = await put(values);
      return () => put(before);
    });
  }

  /**
   * Change an asset as one change that can be taken back. Returns that.
   *
   * @param {Asset} asset
   * @param {string} label the key of its name
   * @param {() => Promise<() => Promise<unknown>>} change returns what takes it back
   * @returns {Promise<Change>}
   */
  #changeOne({ name }, label, change) {
    return this.#inTurn(async () => {
      const reverse = await change();
      const made = { label: this.#context.t(label, { count: 1, name }), undo: reverse };
      this.undoStack.push(made);
      return made;
    });
  }

  /**
   * @param {SelectedAssets} selected
   * @param {BatchTexts} texts
   * @param {(asset: Asset) => AssetChange} change what becomes of a selected asset
   */
  #changeMany(selected, texts, change) {
    return this.#inTurn(() => this.batches.change(selected, texts, change));
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
   * @param {string} id
   * @param {{ name?: string, user_metadata?: UserMetadata, rename_file?: boolean }} body
   */
  async #update(id, body) {
    const { metadata: _, ...changed } = await this.#context.client.request("PUT", `/assets/${id}`, { body });
    this.#onChange(changed); // the metadata is without the embedded documents, which some have already
  }
}

/**
 * @param {SelectedAssets} selected
 * @returns {selected is [Asset]}
 */
function isOne(selected) {
  return Array.isArray(selected) && selected.length === 1;
}
