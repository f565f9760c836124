/** A toast of the page when a long scan ends, whether or not the panel is open. */

import { Client } from "../shared/client.mjs";
import * as format from "../shared/format.mjs";
import { Strings } from "../shared/translations.mjs";
import { TOASTS } from "../settings.mjs";

const LONG_MS = 20_000;

/** Begin to watch scans; pages that are opened while one is under way count from there. */
export function watchScans(page) {
  let since = null;
  const begin = () => (since ??= Date.now());
  page.listen("assets.seed.started", () => (since = Date.now()));
  page.listen("assets.seed.progress", begin);
  page.listen("assets.seed.cancelled", () => (since = null));
  page.listen("assets.seed.completed", (result) => {
    const took = since === null ? 0 : Date.now() - since;
    since = null;
    if (took >= LONG_MS && page.setting(TOASTS) !== false) tell(page, result, took);
  });
}

async function tell(page, result, took) {
  const strings = new Strings();
  await strings.load(page, new Client(page)).catch(() => {}); // the keys are readable, too
  const files = format.number(result?.total ?? result?.scanned ?? 0, strings.language);
  page.toast("success", strings.t("status.ended"), strings.t("status.endedDetail", { files, time: format.duration(took) }));
}
