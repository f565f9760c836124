/** Changes of many assets by one request, with progress, cancellation and undoing. */

/** @import { Asset, BatchRequest, BatchResponse, BatchResult, Task } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { AssetChange } from "./asset_actions.mjs" */
/** @import { SearchResults } from "./search_results.mjs" */
/** @import { Change, UndoStack } from "./undo_stack.mjs" */

import { errorText } from "../shared/error_text.mjs";
import * as format from "../shared/format.mjs";
import { followTask } from "../shared/tasks.mjs";
import { failuresButton } from "./batch_failures.mjs";
import { countOf, selectionBody } from "./search_results.mjs";
import { UndoNote } from "./undo_stack.mjs";

const MOST_IDS = 10_000; // in a request
const WAIT_S = 1; // for the result in the response; then the progress is shown

/**
 * The request of a batch without its assets, and the keys of its texts: its name for undoing, and what is shown when it
 * is done, with `values`.
 * @typedef {{
 *   request: BatchRequest,
 *   label: string,
 *   done: string,
 *   values?: Record<string, string | number>,
 * }} BatchTexts
 */

/** What a request has done, with the error that has ended it too early. @typedef {BatchResult & { error?: unknown }} Outcome */

/** Assets, in the library or in the trash. @typedef {{ id: string, name: string }[] | SearchResults} Selected */

/**
 * `changed` is called when the list must be loaded again, with the changes of selected assets; `takeBack` undoes a
 * change after those that are under way.
 * @typedef {{ changed: (selected: AssetChange[]) => void, takeBack: (change: Change) => unknown }} ChangeCallbacks
 */

const NOTHING_DONE = Object.freeze({
  batch_id: "",
  action: "",
  total: 0,
  done: 0,
  changed: 0,
  failed: 0,
  failures: [],
});

export class Batches {
  #context;
  #undoStack;
  #callbacks;

  /**
   * @param {PanelContext} context
   * @param {UndoStack} undoStack
   * @param {ChangeCallbacks} callbacks
   */
  constructor(context, undoStack, callbacks) {
    this.#context = context;
    this.#undoStack = undoStack;
    this.#callbacks = callbacks;
  }

  /**
   * Change assets by one request, and show the result with a button that takes it back. Throws if the request failed.
   *
   * @param {Selected} selected
   * @param {BatchTexts} texts
   * @param {(asset: Asset) => AssetChange} [change] what becomes of a selected asset
   * @returns {Promise<null>} as nothing is left to show
   */
  async change(selected, { request, label, done, values = {} }, change) {
    const { t } = this.#context;
    const results = await this.run(request, selected, t(label, this.counts(countOf(selected))));
    const failed = new Set(results.flatMap(({ failures }) => failures.map(({ id }) => id)));
    const known = change === undefined || !Array.isArray(selected) ? [] : /** @type {Asset[]} */ (selected);
    this.#callbacks.changed(change === undefined ? [] : known.filter(({ id }) => !failed.has(id)).map(change));
    const counts = this.counts(changedBy(results));
    const made = { label: t(label, counts), undo: () => this.undo(results, selected) };
    this.offer(t(done, { ...counts, ...values }), made, results, selected);
    return null;
  }

  /**
   * Show what was done, with buttons that take it back and show the failures, and remember it.
   *
   * @param {string} text
   * @param {Change} change
   * @param {Outcome[]} [results]
   * @param {Selected} [selected] assets, for their names
   */
  offer(text, change, results = [], selected = []) {
    const { t, notifications } = this.#context;
    const errors = results.flatMap(({ error }) => error === undefined ? [] : [errorText(t, error)]);
    const isChanged = results.length === 0 || changedBy(results) > 0;
    if (isChanged) this.#undoStack.push(change);
    const undo = { label: t("asset.undo"), action: () => this.#callbacks.takeBack(change) };
    const failures = this.#failures(results, selected);
    const isFailure = failures !== null || errors.length > 0;
    const told = [text, ...errors].join(" ");
    notifications.show(told, isChanged ? undo : null, failures, isFailure);
  }

  /**
   * Carry out an action. Returns the results: of one request, unless single assets are too many for it. They are also
   * those of an action that the user has cancelled, or that an error has ended after some changes: these can be undone.
   * Throws the error if nothing was changed.
   *
   * @param {BatchRequest} request
   * @param {Selected} selected
   * @param {string} label of the progress
   * @returns {Promise<Outcome[]>}
   */
  async run(request, selected, label) {
    const parts = Array.isArray(selected) ? partsOf(selected) : [selected];
    /** @type {Outcome[]} */
    const results = [];
    for (const part of parts) {
      const result = await this.#carryOut({ ...request, ...selectionBody(part), wait: WAIT_S }, label);
      results.push(result);
      if (result.error !== undefined && changedBy(results) === 0) throw result.error;
      if (result.error !== undefined || result.done < result.total) break; // the latter if it was cancelled
    }
    return results;
  }

  /**
   * @param {BatchRequest} body
   * @param {string} label of the progress
   * @returns {Promise<Outcome>}
   */
  async #carryOut(body, label) {
    try {
      return await this.#end(await this.#context.client.post("/assets/batch", body), label);
    } catch (error) {
      return { ...NOTHING_DONE, error };
    }
  }

  /**
   * Restore what the assets of batches had before. Returns what to tell if that was not possible for all.
   *
   * @param {BatchResult[]} results
   * @param {Selected} selected
   */
  async undo(results, selected) {
    const { t, client } = this.#context;
    const undone = [];
    for (const { batch_id: id, changed } of [...results].reverse()) {
      if (changed === 0) continue;
      const response = await client.post(`/assets/batch/${id}/undo`, { wait: WAIT_S });
      const result = await this.#end(response, t("asset.undo"));
      if (result.error !== undefined) throw result.error;
      undone.push(result);
    }
    this.#callbacks.changed([]);
    const failures = this.#failures(undone, selected);
    return failures === null ? null : new UndoNote(t("undo.inPart", { count: changedBy(undone) }), failures);
  }

  /**
   * Return the values of texts that name a number of assets.
   *
   * @param {number} count
   */
  counts(count) {
    return { count, number: format.number(count, this.#context.language), name: "" };
  }

  /**
   * @param {BatchResult[]} results
   * @param {Selected} selected
   */
  #failures(results, selected) {
    const failures = results.flatMap((each) => each.failures);
    const total = results.reduce((sum, { failed }) => sum + failed, 0);
    return failuresButton(this.#context, failures, Array.isArray(selected) ? selected : [], total);
  }

  /**
   * @param {BatchResponse} response
   * @param {string} label
   * @returns {Promise<Outcome>}
   */
  async #end(response, label) {
    const { batch_id: id, task_id: task } = response;
    const isRunning = response.status === "running" || response.status === "created";
    /** @type {Pick<Task, "status" | "result" | "error_message">} */
    const ended = isRunning && task !== undefined ? await followTask(this.#context, task, label) : response;
    const result = { ...NOTHING_DONE, batch_id: id, ...ended.result };
    if (ended.status !== "failed") return result;
    // The result of a task that was interrupted may be older than its last changes.
    const changed = await this.#changedBy(id) ?? result.changed;
    return { ...result, changed, error: new Error(ended.error_message ?? ended.status) };
  }

  /**
   * Return how many assets a batch has changed, undefined if it is not kept.
   *
   * @param {string} id
   */
  async #changedBy(id) {
    const { batches } = await this.#context.client.get("/assets/batches");
    return batches.find((each) => each.id === id)?.changed;
  }
}

/**
 * Return how many assets batches have changed.
 *
 * @param {BatchResult[]} results
 */
export function changedBy(results) {
  return results.reduce((sum, { changed }) => sum + changed, 0);
}

/**
 * @template Item
 * @param {Item[]} items
 */
function partsOf(items) {
  const parts = [];
  for (let first = 0; first < items.length; first += MOST_IDS) parts.push(items.slice(first, first + MOST_IDS));
  return parts;
}
