/** What uses an asset, in words. */

/** @import { Asset, AssetUse, DeletionAction } from "../api.d.ts" */
/** @import { Translate } from "../types.d.ts" */

/** Uses that keep an asset from being deleted: its file is not needed for those of its record alone. */
const BLOCKING = {
  remove: ["workflow_version", "share"],
  trash: ["workflow_version", "share", "job", "reference"],
};
/** Uses by the file's name. */
const BY_NAME = ["workflow_version", "share", "job"];

/**
 * Return the uses that an action has to respect.
 *
 * @param {AssetUse[]} uses
 * @param {DeletionAction | "rename"} action
 */
export function usesFor(uses, action) {
  const kinds = action === "rename" ? BY_NAME : BLOCKING[action];
  return uses.filter(({ kind }) => kinds.includes(kind));
}

/**
 * Return a use in words, such as "version 1 of Portrait". Of another user's use only the kind and the user are known.
 *
 * @param {Translate} t
 * @param {AssetUse} use
 */
export function useText(t, { kind, owner, name, version, is_latest: isLatest, is_running: isRunning, id = "" }) {
  if (owner) return t(`use.of.${kind}`, { owner });
  const what = name || t("workflow.unnamed");
  switch (kind) {
    case "workflow_version":
      if (version === undefined) return t("use.workflow", { name: what });
      return t(isLatest ? "use.latest" : "use.version", { version, name: what });
    case "job":
      return t(isRunning ? "use.running" : "use.waiting", { id: id.slice(0, 8) });
    case "share":
      return t("use.share", { name: name || id.slice(0, 8) });
    default:
      return t(`use.${kind}`, { name: name ?? "" });
  }
}

/**
 * Return the first uses in one line.
 *
 * @param {Translate} t
 * @param {AssetUse[]} uses
 * @param {number} [most]
 */
export function usesText(t, uses, most = 3) {
  const texts = uses.slice(0, most).map((use) => useText(t, use));
  if (uses.length > most) texts.push(t("common.more", { count: uses.length - most }));
  return texts.join(", ");
}
