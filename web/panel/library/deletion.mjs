/** The two ways to delete assets, with the questions before them, the notifications after them, and the way back. */

/** @import { Asset, AssetInUse, BatchResult, DeletionAction } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { Batches, ChangeCallbacks } from "./batches.mjs" */
/** @import { SelectedAssets } from "./search_results.mjs" */

import { h } from "../shared/dom.mjs";
import { RequestError } from "../shared/client.mjs";
import * as format from "../shared/format.mjs";
import { ask, lineList } from "../shared/question.mjs";
import { changedBy } from "./batches.mjs";
import { countOf } from "./search_results.mjs";
import { UndoNote } from "./undo_stack.mjs";
import { usesFor, usesText, useText } from "./uses.mjs";

const IN_USE = "ASSET_IN_USE";
const MOST_NAMED = 20; // assets whose uses are asked for
/** The actions in the order of menus. */
export const DELETIONS = /** @type {const} */ (["remove", "trash"]);
/** The icons of the actions. */
export const DELETION_ICONS = /** @type {const} */ ({ remove: "minus", trash: "trash" });

/** The assets that were deleted; all that a search found if `isAll`. @typedef {{ ids: Set<string>, isAll: boolean }} Deleted */

export class Deletion {
  #context;
  #batches;
  #callbacks;

  /**
   * @param {PanelContext} context
   * @param {Batches} batches
   * @param {ChangeCallbacks} callbacks
   */
  constructor(context, batches, callbacks) {
    this.#context = context;
    this.#batches = batches;
    this.#callbacks = callbacks;
  }

  /**
   * Ask before models, of which workflows and people know the names, and before a whole search. Returns whether to go on.
   *
   * @param {SelectedAssets} selected
   * @param {DeletionAction} action
   */
  async mayDelete(selected, action) {
    const { t, language } = this.#context;
    const confirm = this.#confirm(action);
    if (!Array.isArray(selected)) {
      const number = format.number(selected.count, language);
      const title = t(`deletion.${action}Many`, { count: selected.count, number });
      return ask(t, { title, body: [h("p", {}, t(`deletion.${action}Hint`))], confirm });
    }
    const models = selected.filter(({ tags }) => tags.includes("models"));
    if (models.length === 0) return true;
    const lines = await Promise.all(models.slice(0, MOST_NAMED).map((model) => this.#modelLine(model, action)));
    const count = selected.length;
    const number = format.number(count, language);
    return ask(t, {
      title: count === 1
        ? t(`deletion.${action}One`, { name: models[0].name })
        : t(`deletion.${action}Many`, { count, number }),
      body: [
        count > models.length && h("p", {}, t("deletion.withModels", { count: models.length })),
        lineList(t, lines, { total: models.length }),
        h("p", { class: "ca-muted" }, t(`deletion.${action}Hint`)),
      ],
      confirm,
    });
  }

  /**
   * Delete assets, and offer to restore them. What is in use needs another agreement.
   *
   * @param {SelectedAssets} selected
   * @param {DeletionAction} action
   * @returns {Promise<Deleted>}
   */
  async delete(selected, action) {
    const [first] = Array.isArray(selected) && selected.length === 1 ? selected : [];
    try {
      return first === undefined ? await this.#deleteMany(selected, action) : await this.#deleteOne(first, action);
    } catch (error) {
      const { notifications, t } = this.#context;
      notifications.error(t("asset.deleteFailed", { count: countOf(selected) }), error);
      return { ids: new Set(), isAll: false };
    } finally {
      this.#callbacks.changed([]);
    }
  }

  /**
   * @param {Asset} asset
   * @param {DeletionAction} action
   * @returns {Promise<Deleted>}
   */
  async #deleteOne(asset, action) {
    const { t, client } = this.#context;
    const { id, name } = asset;
    const path = /** @type {const} */ (`/assets/${id}`);
    try {
      await client.request("DELETE", path, { query: { action } });
    } catch (error) {
      if (!(error instanceof RequestError) || error.code !== IN_USE) throw error;
      if (!await this.#askAboutUses(/** @type {AssetInUse} */ (/** @type {unknown} */ (error.details)), action)) {
        return { ids: new Set(), isAll: false };
      }
      await client.request("DELETE", path, { query: { action, force: "true" } });
    }
    const restore = async () => {
      const { asset: restored, is_renamed: isRenamed } = await client.post(`/trash/${id}/restore`);
      this.#callbacks.changed([]);
      const path = restored.file_path ?? restored.name;
      return isRenamed ? new UndoNote(t("trash.restoredElsewhere", { name, path })) : null;
    };
    const label = t("undo.delete", { count: 1, name });
    this.#batches.offer(t(`deletion.${action}Done`, { count: 1, name }), {
      label,
      done: t("asset.restored", { count: 1, name }),
      undo: restore,
    });
    return { ids: new Set([id]), isAll: false };
  }

  /**
   * @param {SelectedAssets} selected
   * @param {DeletionAction} action
   * @returns {Promise<Deleted>}
   */
  async #deleteMany(selected, action) {
    const { t } = this.#context;
    const label = t(`deletion.${action}`);
    const results = await this.#batches.run({ action }, selected, label);
    const inUse = results.flatMap(({ failures }) => failures.filter(({ code }) => code === IN_USE));
    if (inUse.length > 0 && await this.#askAboutMany(selected, inUse.map(({ id }) => id), action)) {
      for (const result of results) forgetInUse(result);
      const used = inUse.map(({ id }) => ({ id, name: "" }));
      results.push(...await this.#batches.run({ action, force: true }, used, label));
    }
    const count = changedBy(results);
    const counts = this.#batches.counts(count);
    const change = {
      label: t("undo.delete", counts),
      done: t("asset.restored", counts),
      undo: () => this.#batches.undo(results, selected),
    };
    const text = count > 0
      ? t(`deletion.${action}Done`, counts)
      : t("asset.deleteFailed", { count: countOf(selected) });
    this.#batches.offer(text, change, results, selected);
    if (!Array.isArray(selected)) return { ids: new Set(), isAll: true };
    const failed = new Set(results.flatMap(({ failures }) => failures.map(({ id }) => id)));
    return { ids: new Set(selected.map(({ id }) => id).filter((id) => !failed.has(id))), isAll: false };
  }

  /** @param {DeletionAction} action */
  #confirm(action) {
    return { icon: DELETION_ICONS[action], label: this.#context.t(`deletion.${action}`) };
  }

  /**
   * @param {AssetInUse} inUse
   * @param {DeletionAction} action
   */
  #askAboutUses({ name, used_by: uses, can_force: canForce, only_old_versions: isOld }, action) {
    const { t } = this.#context;
    const hint = canForce ? (isOld ? "deletion.onlyOld" : `deletion.usedHint`) : "deletion.ofOthers";
    return ask(t, {
      title: t("deletion.inUse", { name }),
      body: [
        h("p", {}, t("deletion.usedBy")),
        lineList(t, uses.map((use) => useText(t, use))),
        h("p", { class: "ca-muted" }, t(hint)),
      ],
      confirm: canForce ? this.#anyway(action) : null,
    });
  }

  /** @param {DeletionAction} action */
  #anyway(action) {
    return { icon: DELETION_ICONS[action], label: this.#context.t(`deletion.${action}Anyway`) };
  }

  /**
   * @param {SelectedAssets} selected
   * @param {string[]} ids
   * @param {DeletionAction} action
   */
  async #askAboutMany(selected, ids, action) {
    const { t } = this.#context;
    const names = new Map(Array.isArray(selected) ? selected.map(({ id, name }) => [id, name]) : []);
    const lines = await Promise.all(
      ids.slice(0, MOST_NAMED).map(async (id) => {
        const uses = await this.#uses(id, action);
        const name = names.get(id) ?? await this.#name(id);
        return uses === null ? name : t("deletion.line", { name, uses: usesText(t, uses) });
      }),
    );
    return ask(t, {
      title: t("deletion.manyInUse", { count: ids.length }),
      body: [lineList(t, lines, { total: ids.length }), h("p", { class: "ca-muted" }, t("deletion.usedHint"))],
      confirm: this.#anyway(action),
    });
  }

  /** @param {string} id */
  async #name(id) {
    try {
      return (await this.#context.client.get(`/assets/${id}`)).name;
    } catch {
      return id.slice(0, 8); // it has gone meanwhile
    }
  }

  /**
   * @param {Asset} model
   * @param {DeletionAction} action
   */
  async #modelLine(model, action) {
    const { t, language } = this.#context;
    const uses = await this.#uses(model.id, action);
    const size = format.bytes(model.size, language);
    if (uses === null) return t("deletion.usesUnknown", { name: model.name });
    if (uses.length === 0) return t("deletion.unused", { name: model.name, size });
    return t("deletion.line", { name: model.name, uses: usesText(t, uses) });
  }

  /**
   * Return what has to be respected, or null if that is not known: the server checks again before it deletes.
   *
   * @param {string} id
   * @param {DeletionAction} action
   */
  async #uses(id, action) {
    try {
      const { uses } = await this.#context.client.get(`/assets/${id}/uses`);
      return usesFor(uses, action);
    } catch (error) {
      console.warn("comfy-assets:", error);
      return null;
    }
  }
}

/**
 * Drop the assets in use from the failures of a batch: another one deletes them.
 *
 * @param {BatchResult} result
 */
function forgetInUse(result) {
  const others = result.failures.filter(({ code }) => code !== IN_USE);
  result.failed -= result.failures.length - others.length;
  result.failures = others;
}
