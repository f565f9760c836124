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
  "login/login.css",
];
const TIMEOUT_MS = 4000; // an unstyled panel is better than none

/** @type {Map<string, Promise<unknown>>} */
const loads = new Map();

/**
 * Add stylesheets to the page, each once. Resolves when they are loaded, could not be loaded, or take too long.
 *
 * @param {readonly string[]} [paths] in cascade order
 */
export async function loadStyles(paths = SHEETS) {
  const wanted = paths.map((path) => {
    const load = loads.get(path) ?? loadStyle(new URL(`../${path}`, import.meta.url).href);
    loads.set(path, load);
    return load;
  });
  const timeout = new Promise((resolve) => setTimeout(resolve, TIMEOUT_MS));
  await Promise.race([Promise.all(wanted), timeout]);
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
