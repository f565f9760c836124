/** A toast of the page when a long scan ends, whether or not the panel is open. */

/** @import { ChangesShown } from "../api.d.ts" */
/** @import { HostPage } from "../types.d.ts" */

import * as format from "../shared/format.mjs";
import { loadTranslations } from "../shared/translations.mjs";
import { TOASTS } from "../settings.mjs";

const MIN_SCAN_MS = 20_000; // the user sees the end of a shorter scan

/**
 * Watch scans. In a page that is loaded during a scan, the scan begins with its next progress message.
 *
 * @param {HostPage} page
 */
export function showScanToasts(page) {
  /** @type {number | null} */
  let startedAt = null;
  page.listen("assets.seed.started", () => (startedAt = Date.now()));
  page.listen("assets.seed.progress", () => (startedAt ??= Date.now()));
  page.listen("assets.seed.cancelled", () => (startedAt = null));
  page.listen("assets.seed.completed", (status) => {
    if (status?.source === "changes") return;
    const duration = startedAt === null ? 0 : Date.now() - startedAt;
    startedAt = null;
    if (duration >= MIN_SCAN_MS && page.setting(TOASTS) !== false) showToast(page, status, duration);
  });
}

/**
 * @param {HostPage} page
 * @param {ChangesShown | null} status
 * @param {number} duration in milliseconds
 */
async function showToast(page, status, duration) {
  const { t, language } = await loadTranslations(page); // the panel may never have been opened
  const files = format.number(status?.total ?? status?.scanned ?? 0, language);
  page.toast(
    "success",
    t("status.ended"),
    t("status.endedDetail", { files, time: format.duration(duration, language) }),
  );
}
