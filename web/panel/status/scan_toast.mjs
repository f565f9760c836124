/** A toast of the page when a long scan ends, whether or not the panel is open. */

import { Client } from "../shared/client.mjs";
import * as format from "../shared/format.mjs";
import { Translations } from "../shared/translations.mjs";
import { TOASTS } from "../settings.mjs";

const MIN_SCAN_MS = 20_000;

/** Begin to watch scans; pages that are opened while one is under way count from there. */
export function showScanToasts(page) {
  let startedAt = null;
  const begin = () => (startedAt ??= Date.now());
  page.listen("assets.seed.started", () => (startedAt = Date.now()));
  page.listen("assets.seed.progress", begin);
  page.listen("assets.seed.cancelled", () => (startedAt = null));
  page.listen("assets.seed.completed", (result) => {
    const duration = startedAt === null ? 0 : Date.now() - startedAt;
    startedAt = null;
    if (duration >= MIN_SCAN_MS && page.setting(TOASTS) !== false) showToast(page, result, duration);
  });
}

async function showToast(page, result, duration) {
  const translations = new Translations();
  await translations.load(page, new Client(page)).catch(() => {}); // the keys are readable, too
  const files = format.number(result?.total ?? result?.scanned ?? 0, translations.language);
  page.toast(
    "success",
    translations.t("status.ended"),
    translations.t("status.endedDetail", { files, time: format.duration(duration) }),
  );
}
