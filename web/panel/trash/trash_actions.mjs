/** What a user can do with deleted assets: restore them, or remove them for good. */

/** @import { EmptyTrashResult, TrashEntry } from "../api.d.ts" */
/** @import { Batches } from "../library/batches.mjs" */
/** @import { PanelContext } from "../types.d.ts" */

import { failuresButton } from "../library/batch_failures.mjs";
import { h } from "../shared/dom.mjs";
import * as format from "../shared/format.mjs";
import { ask } from "../shared/question.mjs";
import { followTask, resultOf } from "../shared/tasks.mjs";

const MOST_IDS = 10_000; // in a request

/** @typedef {TrashEntry["kind"]} TrashKind */

/** Numbers of deleted assets by where their files are. @typedef {{ trashed: number, removed: number, size: number }} Totals */

export class TrashActions {
  #context;
  #batches;
  #onChange;

  /**
   * @param {PanelContext} context
   * @param {Batches} batches
   * @param {() => void} onChange
   */
  constructor(context, batches, onChange) {
    this.#context = context;
    this.#batches = batches;
    this.#onChange = onChange;
  }

  /**
   * Restore deleted assets with their files.
   *
   * @param {TrashEntry[]} entries
   */
  async restore(entries) {
    const { t, notifications } = this.#context;
    try {
      if (entries.length === 1) await this.#restoreOne(entries[0]);
      else {
        const texts = {
          request: { action: /** @type {const} */ ("restore") },
          label: "undo.restore",
          done: "asset.restored",
        };
        await this.#batches.change(entries, texts);
      }
    } catch (error) {
      notifications.error(t("trash.restoreFailed"), error);
    }
    this.#onChange();
  }

  /** @param {TrashEntry} entry */
  async #restoreOne({ id, name }) {
    const { t, client, notifications, openAsset } = this.#context;
    const { asset, is_renamed: isRenamed } = await client.post(`/trash/${id}/restore`);
    const text = isRenamed
      ? t("trash.restoredElsewhere", { name, path: asset.file_path ?? asset.name })
      : t("asset.restored", { count: 1, name });
    notifications.show(text, { icon: "forward", label: t("trash.show"), action: () => openAsset(id) });
  }

  /**
   * Remove deleted assets for good, after asking.
   *
   * @param {TrashEntry[]} entries
   */
  async deleteForGood(entries) {
    const { t } = this.#context;
    const chosen = entries.filter(({ can_delete: canDelete }) => canDelete);
    if (chosen.length < entries.length && chosen.length === 0) {
      this.#context.notifications.show(t("trash.ofAll"));
      return;
    }
    const stored = chosen.filter(({ kind }) => kind === "trashed");
    const totals = {
      trashed: stored.length,
      removed: chosen.length - stored.length,
      size: stored.reduce((sum, { size }) => sum + size, 0),
    };
    const title = chosen.length === 1
      ? t("trash.reallyDeleteOne", { name: chosen[0].name })
      : t("trash.reallyDelete", this.#batches.counts(chosen.length));
    if (!await this.#ask(title, totals, chosen.length < entries.length)) return;
    for (let first = 0; first < chosen.length; first += MOST_IDS) {
      const part = chosen.slice(first, first + MOST_IDS);
      await this.#empty({ ids: part.map(({ id }) => id) }, part);
    }
  }

  /**
   * Remove everything that this user can remove for good, after asking with the number and the space.
   *
   * @param {"trashed" | "removed" | ""} kind only assets of this kind
   */
  async empty(kind) {
    const { t, notifications } = this.#context;
    try {
      const [trashed, removed] = await Promise.all([this.#totals("trashed"), this.#totals("removed")]);
      const totals = {
        trashed: kind === "removed" ? 0 : trashed.total,
        removed: kind === "trashed" ? 0 : removed.total,
        size: kind === "removed" ? 0 : trashed.size,
      };
      if (totals.trashed + totals.removed === 0) return notifications.show(t("trash.nothingToDelete"));
      if (!await this.#ask(t("trash.reallyEmpty"), totals)) return;
      await this.#empty(kind === "" ? {} : { kinds: [kind] }, []);
    } catch (error) {
      notifications.error(t("trash.deleteFailed"), error);
    }
  }

  /** @param {"trashed" | "removed"} kind */
  #totals(kind) {
    return this.#context.client.get("/trash", { query: { kind, can_delete: "true", limit: "1" } });
  }

  /**
   * @param {string} title
   * @param {Totals} totals
   * @param {boolean} [isPart] some of them belong to all users, and stay
   */
  #ask(title, { trashed, removed, size }, isPart = false) {
    const { t, language } = this.#context;
    const space = format.bytes(size, language);
    return ask(t, {
      title,
      body: [
        trashed > 0 && h("p", {}, t("trash.filesGo", { ...this.#batches.counts(trashed), size: space })),
        removed > 0 && h("p", {}, t("trash.recordsGo", this.#batches.counts(removed))),
        isPart && h("p", {}, t("trash.ofAll")),
        h("p", { class: "ca-muted" }, t("trash.noUndo")),
      ],
      confirm: { icon: "trash", label: t("trash.delete") },
    });
  }

  /**
   * @param {{ ids?: string[], kinds?: string[] }} body
   * @param {TrashEntry[]} known
   */
  async #empty(body, known) {
    const { t, client, notifications, language } = this.#context;
    try {
      const { task_id: task } = await client.post("/trash/empty", body);
      /** @type {EmptyTrashResult} */
      const { done, freed, failed } = resultOf(await followTask(this.#context, task, t("trash.delete")));
      const text = t("trash.deleted", { ...this.#batches.counts(done), size: format.bytes(freed, language) });
      notifications.show(text, null, failuresButton(this.#context, failed, known));
    } catch (error) {
      notifications.error(t("trash.deleteFailed"), error);
    }
    this.#onChange();
  }
}
