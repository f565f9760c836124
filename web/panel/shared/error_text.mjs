/** What errors say to the user, in their language. The server's own messages are in English, and often more exact. */

/** @import { Translate } from "../types.d.ts" */

import { RequestError } from "./client.mjs";

/** The key of the text for each error code of the API that the panel can meet. `{details}` is the server's message. */
const KEYS = Object.freeze({
  ASSET_CONTENT_MISSING: "error.fileGone",
  ASSET_IN_USE: "error.inUse",
  ASSET_NOT_FOUND: "error.assetGone",
  ASSET_NOT_SHAREABLE: "error.fileGone",
  BATCH_NOT_FOUND: "error.gone",
  BATCH_RUNNING: "error.running",
  BODY_TOO_LARGE: "error.tooLarge",
  CHANGED_SINCE: "error.changed",
  COLLECTION_EXISTS: "error.collectionExists",
  COLLECTION_FULL: "error.tooMuch",
  COLLECTION_NOT_FOUND: "collection.gone",
  EXPORT_NOT_FOUND: "error.gone",
  FILE_IN_USE: "error.fileInUse",
  FILE_NAME_TAKEN: "error.fileNameTaken",
  FILE_NOT_FOUND: "error.fileGone",
  FILE_TOO_LARGE: "error.tooLarge",
  FOLDER_NOT_OPENABLE: "error.notAllowed",
  FORBIDDEN: "error.notAllowed",
  HOST_NOT_ALLOWED: "error.notAllowed",
  INTERNAL_ERROR: "error.internal",
  INVALID_BODY: "error.refused",
  INVALID_CURSOR: "error.refused",
  INVALID_HASH: "error.refused",
  INVALID_ID: "error.refused",
  INVALID_NAME: "error.name",
  INVALID_QUERY: "error.refused",
  INVALID_REQUEST: "error.refused",
  INVALID_TAG_FILTER: "error.refused",
  INVALID_TAGS: "error.tags",
  JOB_ELSEWHERE: "error.jobElsewhere",
  JOB_FORBIDDEN: "error.otherUser",
  JOB_NOT_FOUND: "error.jobGone",
  JOB_QUOTA_EXCEEDED: "error.tooMuch",
  LOGIN_CONFLICT: "error.refused",
  LOGIN_RECORD_NOT_FOUND: "error.gone",
  LOGIN_UNAVAILABLE: "error.store",
  NOT_ENOUGH_SPACE: "error.space",
  NOT_FOUND: "error.gone",
  NOT_PERMITTED: "error.notAllowed",
  ORIGIN_NOT_ALLOWED: "error.notAllowed",
  OTHER_USERS_FILE: "error.otherUser",
  PASSWORD_CHECK_UNAVAILABLE: "account.uncheckedPassword",
  PROMPT_TOO_LARGE: "error.tooLarge",
  QUERY_TIMEOUT: "error.store",
  RESERVED_TAG: "error.tags",
  SAVED_SEARCH_EXISTS: "error.searchExists",
  SAVED_SEARCH_NOT_FOUND: "error.searchGone",
  SEARCH_NOT_READY: "error.indexing",
  SEARCH_UNAVAILABLE: "error.noSearch",
  SELECTION_TOO_LARGE: "error.tooMuch",
  SHARE_NOT_FOUND: "error.gone",
  SIGN_IN_FAILED: "account.wrongPassword",
  SIGN_IN_REQUIRED: "error.signIn",
  STORAGE_FAILED: "error.stored",
  STORAGE_QUOTA_EXCEEDED: "error.tooMuch",
  STORE_UNAVAILABLE: "error.store",
  TASK_NOT_CANCELLABLE: "error.notCancellable",
  TASK_NOT_FOUND: "error.gone",
  TOO_MANY_BATCHES: "error.tooMuch",
  TOO_MANY_ATTEMPTS: "error.wait",
  TOO_MANY_EXPORTS: "error.tooMuch",
  TOO_MANY_SAVED_SEARCHES: "error.tooMuch",
  TRASH_FORBIDDEN: "trash.ofAll",
  UNAUTHORIZED: "error.user",
  UNDO_BLOCKED: "error.undoBlocked",
  UNDO_IMPOSSIBLE: "error.undoImpossible",
  UNKNOWN_ASSETS: "error.assetGone",
  UNSUPPORTED_MEDIA_TYPE: "error.refused",
  VERSION_CONFLICT: "error.changed",
  WORKFLOW_FORBIDDEN: "error.otherUser",
  WORKFLOW_NOT_FOUND: "error.workflowGone",
  WORKFLOW_TOO_LARGE: "error.tooLarge",
  WORKFLOW_VERSION_NOT_FOUND: "error.workflowGone",
});

/**
 * Return what an error code of the API says.
 *
 * @param {Translate} t
 * @param {string} code
 * @param {string} message of the server, for codes without a text of their own
 * @param {Record<string, unknown>} [details] of the error
 */
export function codeText(t, code, message, { retry_after } = {}) {
  const key = Object.entries(KEYS).find(([each]) => each === code)?.[1];
  return key === undefined ? message : t(key, { details: message, seconds: Number(retry_after) });
}

/**
 * Return what an error says.
 *
 * @param {Translate} t
 * @param {unknown} error
 */
export function errorText(t, error) {
  if (!(error instanceof RequestError)) return error instanceof Error ? error.message : String(error);
  if (error.kind === "unreachable" || error.kind === "slow") return t(`failure.${error.kind}`);
  if (error.status !== 0) return t("asset.serverError", { status: error.status });
  if (error.isUnreadable) return t("error.unreadable");
  return codeText(t, error.code, error.message, error.details);
}
