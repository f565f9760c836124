/** What the server says of its upkeep, in words: pure, so that it can be looked at apart from the page. */

import * as format from "../shared/format.mjs";

/** Whether something is under way. */
export function isRunning(status) {
  return status?.phase === "listing" || status?.phase === "hashing";
}

/** The share that is done, 0 to 1, or null where nobody knows the whole. */
export function fractionDone(status) {
  if (status.phase !== "hashing") return null;
  if (status.bytes_total > 0) return Math.min(status.bytes_hashed / status.bytes_total, 1);
  return status.total > 0 ? Math.min(status.hashed / status.total, 1) : null;
}

/** Milliseconds until hashing ends at the present rate, or null. */
export function timeLeft(status) {
  if (status.phase !== "hashing" || !(status.bytes_per_second > 0)) return null;
  return ((status.bytes_total - status.bytes_hashed) / status.bytes_per_second) * 1000;
}

/** One line that says how it is. */
export function statusText(status, { t, language }) {
  if (status === null) return t("status.noAnswer");
  if (!isRunning(status)) return idleLine(status, t);
  const what = status.phase === "listing" ? listing(status, t, language) : hashing(status, t, language);
  if (status.on_hold) return `${t("status.onHold")} · ${what}`;
  if (status.paused) return `${t("status.waiting")} · ${what}`;
  const left = timeLeft(status);
  const parts = [what];
  if (status.phase === "hashing") {
    parts.push(t("status.rate", { rate: format.bytes(status.bytes_per_second ?? 0, language) }));
  }
  if (left !== null) parts.push(t("status.left", { time: format.duration(left) }));
  return parts.join(" · ");
}

function idleLine(status, t) {
  if (status.on_hold) return t("status.onHold");
  if (status.status === "failed") return t("status.failed");
  return status.status === "cancelled" ? t("status.cancelled") : t("status.upToDate");
}

function listing(status, t, language) {
  return t("status.listing", { count: format.number(status.scanned ?? 0, language) });
}

function hashing(status, t, language) {
  const [done, total] = [status.hashed ?? 0, status.total ?? 0].map((count) => format.number(count, language));
  return t("status.hashing", { done, total });
}

/** What went wrong lately, a line each. */
export function problems(status) {
  return [...(status?.error_message ? [status.error_message] : []), ...(status?.errors ?? [])];
}
