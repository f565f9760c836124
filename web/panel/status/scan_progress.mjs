/** Texts about the state of the library: scans and the reading of files. Pure. */

/** @import { SeedStatus } from "../api.d.ts" */
/** @import { PanelContext, Translate } from "../types.d.ts" */

import * as format from "../shared/format.mjs";

const CODES = new Set([
  "access_denied",
  "broken_link",
  "link_elsewhere",
  "link_upwards",
  "listed_already",
  "name_not_unicode",
  "unreadable",
]);

/** @param {SeedStatus | null} status */
export function isRunning(status) {
  return status?.phase === "listing" || status?.phase === "hashing";
}

/**
 * Return how much is done, from 0 to 1, or null while the total is unknown.
 *
 * @param {SeedStatus} status
 */
export function fractionDone({ phase, hashed = 0, total = 0, bytes_hashed: bytesDone = 0, bytes_total: bytes = 0 }) {
  if (phase !== "hashing") return null; // the number of files is known at the end of the listing
  if (bytes > 0) return Math.min(bytesDone / bytes, 1);
  return total > 0 ? Math.min(hashed / total, 1) : null;
}

/**
 * Return the milliseconds until all files are read, or null if that is unknown.
 *
 * @param {SeedStatus} status
 */
function timeLeft({ phase, bytes_hashed: done = 0, bytes_total: total = 0, bytes_per_second: rate = 0 }) {
  return phase === "hashing" && rate > 0 ? ((total - done) / rate) * 1000 : null;
}

/**
 * Return one line about the state of the library. Null stands for a server that does not respond.
 *
 * @param {SeedStatus | null} status
 * @param {PanelContext} context
 */
export function statusText(status, { t, language }) {
  if (status === null) return t("status.noAnswer");
  if (!isRunning(status)) return idleText(status, t);
  const isListing = status.phase === "listing";
  const text = isListing ? listingText(status, t, language) : hashingText(status, t, language);
  if (status.on_hold) return `${t("status.onHold")} · ${text}`;
  if (status.paused) return `${t("status.waiting")} · ${text}`;
  const parts = [text];
  const left = timeLeft(status);
  if (!isListing) parts.push(t("status.rate", { rate: format.bytes(status.bytes_per_second ?? 0, language) }));
  if (left !== null) parts.push(t("status.left", { time: format.duration(left, language) }));
  return format.line(parts, language);
}

/**
 * @param {SeedStatus} status
 * @param {Translate} t
 */
function idleText(status, t) {
  if (status.on_hold) return t("status.onHold");
  if (status.status === "failed") return t("status.failed");
  return status.status === "cancelled" ? t("status.cancelled") : t("status.upToDate");
}

/**
 * @param {SeedStatus} status
 * @param {Translate} t
 * @param {string} language
 */
function listingText({ scanned = 0 }, t, language) {
  return t("status.listing", { count: format.number(scanned, language) });
}

/**
 * @param {SeedStatus} status
 * @param {Translate} t
 * @param {string} language
 */
function hashingText({ hashed = 0, total = 0 }, t, language) {
  return t("status.hashing", { done: format.number(hashed, language), total: format.number(total, language) });
}

/**
 * Return the number of problems of the latest scan, and texts about them. Those with a code that the panel does not know
 * are in English.
 *
 * @param {SeedStatus | null} status
 * @param {PanelContext} context
 */
export function problems(status, { t, language }) {
  const { error_message: failure, problem_details: details = [], unreadable = 0 } = status ?? {};
  const unlisted = status?.problems ?? details.length;
  const first = details.map(({ code, message, path, detail }) =>
    CODES.has(code) ? t(`scanProblem.${code}`, { path, detail }) : message
  ).sort((one, other) => one.localeCompare(other, language, { numeric: true }));
  const texts = failure ? [failure, ...first] : first;
  const rest = unlisted - first.length;
  if (rest > 0) texts.push(t("common.more", { count: format.number(rest, language) }));
  if (unreadable > 0) texts.push(t("status.unreadableFiles", { count: format.number(unreadable, language) }));
  return { count: unlisted + unreadable + (failure ? 1 : 0), texts };
}
