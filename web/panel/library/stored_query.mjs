/** The query as this browser keeps it, so that a reload shows the same list. */

/** @import { PanelContext } from "../types.d.ts" */

import { QueryStore, restoredQuery } from "./query.mjs";

const MEMBERS = /** @type {const} */ (["text", "kind", "tags", "filters", "sort", "view", "isStacked"]);

/**
 * Create the store of the query, which begins with the last one and keeps every change.
 *
 * @param {PanelContext} context
 */
export function createQueryStore({ page, preferences }) {
  const user = page.headers()["Comfy-User"];
  const name = user ? `library.${user}` : "library"; // others at this browser do not see what a user looked for
  const store = new QueryStore(restoredQuery(preferences.read(name, MEMBERS)));
  store.subscribe((state) => preferences.write(name, state, MEMBERS));
  return store;
}
