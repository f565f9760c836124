/** The panel's stylesheets, one for each tab, without a build that would join them. */

import { h } from "./dom.mjs";

// In cascade order: the tabs' rules override the shared ones.
const SHEETS = [
  "shared/shared.css",
  "shared/right_to_left.css",
  "shared/menu.css",
  "shared/question.css",
  "library/library.css",
  "library/filters.css",
  "library/timeline.css",
  "library/details.css",
  "navigation/navigation.css",
  "trash/trash.css",
  "viewer/viewer.css",
  "viewer/compare.css",
  "jobs/jobs.css",
  "workflows/workflows.css",
  "status/status.css",
];
const TIMEOUT_MS = 4000; // an unstyled panel is better than none

/** Add the stylesheets to the page. Resolves when they are loaded, could not be loaded, or take too long. */
export async function loadStyles() {
  const loads = SHEETS.map((path) => loadStyle(new URL(`../${path}`, import.meta.url).href));
  const timeout = new Promise((resolve) => setTimeout(resolve, TIMEOUT_MS));
  await Promise.race([Promise.all(loads), timeout]);
}

/** @param {string} href */
function loadStyle(href) {
  const link = h("link", { rel: "stylesheet", href });
  const loaded = new Promise((resolve) => {
    link.addEventListener("load", resolve);
    link.addEventListener("error", resolve);
  });
  document.head.append(link);
  return loaded;
}
