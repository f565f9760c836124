/** The last changes of the library, to be taken back one after the other. */

/** @import { PanelContext, Undo } from "../types.d.ts" */

import { mayPass, RequestError } from "../shared/client.mjs";

const MAX_CHANGES = 50;

/** What to tell of a change that was taken back otherwise than usual: in part, or to another place. */
export class UndoNote {
  /**
   * @param {string} text
   * @param {Undo | null} [failures] a button that shows what could not be taken back
   */
  constructor(text, failures = null) {
    this.text = text;
    this.failures = failures;
  }
}

/**
 * A change that can be taken back. `label` says what it was, `done` what it means that it is taken back, unless `undo`
 * returns an UndoNote; it throws if a request fails.
 * @typedef {{ label: string, done?: string, undo: () => Promise<unknown> }} Change
 */

export class UndoStack {
  #context;
  /** @type {Change[]} the latest last */
  #changes = [];

  /** @param {PanelContext} context */
  constructor(context) {
    this.#context = context;
  }

  /**
   * Remember a change. The oldest are forgotten.
   *
   * @param {Change} change
   */
  push(change) {
    this.#changes.push(change);
    if (this.#changes.length > MAX_CHANGES) this.#changes.shift();
  }

  /**
   * Take back a change that was not taken back yet: the latest, or the one whose notification offers it. A notification
   * tells what was taken back.
   *
   * @param {Change | undefined} [change]
   */
  async undo(change = this.#changes.at(-1)) {
    const { notifications, t } = this.#context;
    if (change === undefined) return notifications.show(t("undo.nothing"));
    const place = this.#changes.indexOf(change);
    if (place < 0) return;
    this.#changes.splice(place, 1); // before the request: a second press means the change before
    try {
      const outcome = await change.undo();
      if (outcome instanceof UndoNote) notifications.show(outcome.text, null, outcome.failures);
      else notifications.show(change.done ?? t("undo.done", { change: change.label }));
    } catch (error) {
      if (canBeRepeated(error)) this.#changes.splice(place, 0, change);
      notifications.error(t("undo.failed", { change: change.label }), error);
    }
  }
}

/**
 * Return whether undoing may succeed later. The error of a task that was interrupted is none of a request.
 *
 * @param {unknown} error
 */
function canBeRepeated(error) {
  return mayPass(error) || !(error instanceof RequestError);
}
