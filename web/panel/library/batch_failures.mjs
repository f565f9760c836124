/** The assets that a batch could not change, each with the reason. */

/** @import { Asset, BatchResult } from "../api.d.ts" */
/** @import { PanelContext, Undo } from "../types.d.ts" */

import { codeText } from "../shared/error_text.mjs";
import { ask, lineList } from "../shared/question.mjs";

/** Errors with short texts. */
const KNOWN = new Set([
  "ASSET_NOT_FOUND",
  "ASSET_IN_USE",
  "CHANGED_SINCE",
  "INVALID_TAGS",
  "RESERVED_TAG",
  "TRASH_FORBIDDEN",
]);

/**
 * Create the button of a notification that shows the failures; null without any.
 *
 * @param {PanelContext} context
 * @param {BatchResult["failures"]} failures
 * @param {{ id: string, name: string }[]} known assets, for their names
 * @param {number} [total] of the failures, if those that are named are fewer
 * @returns {Undo | null}
 */
export function failuresButton({ t }, failures, known, total = failures.length) {
  if (failures.length === 0) return null;
  const names = new Map(known.map(({ id, name }) => [id, name]));
  const lines = failures.map(({ id, code, message }) => {
    const reason = KNOWN.has(code) ? t(`failed.${code}`) : codeText(t, code, message);
    return t("failed.line", { name: names.get(id) ?? id.slice(0, 8), reason });
  });
  const title = t("failed.title", { count: total });
  const action = () => ask(t, { title, body: [lineList(t, lines, { most: 1000, total })], confirm: null });
  return { icon: "warning", label: title, action };
}
