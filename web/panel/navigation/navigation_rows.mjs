/** The rows of the navigation's tree. Their keys name what they stand for: "all", "folder:output", "search:<id>". */

/** @import { QueryStore } from "../library/query.mjs" */
/** @import { TreeRow } from "../shared/tree_row.mjs" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { Collections } from "./collections.mjs" */
/** @import { Folder, Folders } from "./folders.mjs" */
/** @import { SavedSearches } from "./saved_searches.mjs" */

import * as format from "../shared/format.mjs";
import { placeOf } from "./place.mjs";

const SECTIONS = /** @type {const} */ (["folders", "collections", "searches"]);

/**
 * Return the kind of a key and the rest of it.
 *
 * @param {string} key
 */
export function split(key) {
  const place = key.indexOf(":");
  return place < 0 ? [key, ""] : [key.slice(0, place), key.slice(place + 1)];
}

export class NavigationRows {
  #context;
  #store;
  #folders;
  #collections;
  #searches;

  /**
   * @param {PanelContext} context
   * @param {QueryStore} store
   * @param {Folders} folders
   * @param {Collections} collections
   * @param {SavedSearches} searches
   */
  constructor(context, store, folders, collections, searches) {
    this.#context = context;
    this.#store = store;
    this.#folders = folders;
    this.#collections = collections;
    this.#searches = searches;
  }

  /**
   * @param {ReadonlySet<string>} closed the sections that are closed
   * @param {number | null} total the number of all assets
   */
  build(closed, total) {
    /** @type {TreeRow[]} */
    const rows = [];
    const { t } = this.#context;
    const current = this.#current();
    const common = { isExpanded: null, size: 1 + SECTIONS.length, level: 1 };
    rows.push({
      ...common,
      key: "all",
      position: 1,
      label: t("navigation.allAssets"),
      icon: "image",
      count: this.#number(total),
      isCurrent: current === "all",
    });
    for (const [index, section] of SECTIONS.entries()) {
      const isExpanded = !closed.has(section);
      rows.push({
        ...common,
        key: section,
        position: index + 2,
        label: t(`navigation.${section}`),
        icon: null,
        count: "",
        isExpanded,
        isCurrent: false,
        isHeading: true,
        button: this.#headingButton(section),
        acceptsDrop: section === "collections",
      });
      if (!isExpanded) continue;
      if (section === "folders") this.#addFolders(rows, this.#folders.roots, "", 2, current);
      else if (section === "collections") this.#addCollections(rows, current);
      else this.#addSearches(rows, current);
    }
    return rows;
  }

  /** Return the key of the row of the current place. */
  #current() {
    const { state } = this.#store;
    const search = this.#searches.matching(state);
    if (search !== undefined) return `search:${search.id}`;
    const place = placeOf(state);
    if (place.kind === "all") return "all";
    return place.kind === "folder" ? `folder:${place.path}` : `collection:${place.id}`;
  }

  /**
   * @param {TreeRow[]} rows
   * @param {Folder[] | null} folders null while they are not loaded
   * @param {string} above their path
   * @param {number} level
   * @param {string} current
   */
  #addFolders(rows, folders, above, level, current) {
    const hasMore = folders !== null && this.#hasMore(above);
    const size = (folders?.length ?? 0) + (hasMore ? 1 : 0);
    for (const [index, folder] of (folders ?? []).entries()) {
      const { path, name, count, hasFolders } = folder;
      const isExpanded = hasFolders && this.#folders.isExpanded(folder);
      const key = `folder:${path}`;
      rows.push({
        key,
        level,
        position: index + 1,
        size,
        label: name,
        title: path,
        icon: "folder",
        count: this.#number(count),
        isExpanded: hasFolders ? isExpanded : null,
        isCurrent: key === current,
      });
      if (isExpanded) this.#addFolders(rows, folder.children, path, level + 1, current);
    }
    // The roots come with the first refresh, also if there are none.
    if (hasMore || (folders === null && above !== "")) rows.push(this.#pending(`more:${above}`, level, size));
  }

  /** @param {string} path */
  #hasMore(path) {
    return path !== "" && this.#folders.find(path)?.cursor !== undefined;
  }

  /**
   * @param {TreeRow[]} rows
   * @param {string} current
   */
  #addCollections(rows, current) {
    const { items, total, hasMore } = this.#collections;
    for (const [index, { id, name, asset_count: count, description }] of (items ?? []).entries()) {
      const key = `collection:${id}`;
      rows.push({
        key,
        level: 2,
        position: index + 1,
        size: total,
        label: name,
        title: description ? `${name}\n${description}` : name,
        icon: "collection",
        count: this.#number(count),
        isExpanded: null,
        isCurrent: key === current,
        button: this.#moreButton(),
        acceptsDrop: true,
      });
    }
    if (hasMore) rows.push(this.#pending("collections.more", 2, total));
  }

  /**
   * @param {TreeRow[]} rows
   * @param {string} current
   */
  #addSearches(rows, current) {
    const items = this.#searches.items ?? [];
    for (const [index, { id, name }] of items.entries()) {
      const key = `search:${id}`;
      const common = { key, level: 2, position: index + 1, size: items.length, label: name, title: name, count: "" };
      rows.push({
        ...common,
        icon: "bookmark",
        isExpanded: null,
        isCurrent: key === current,
        button: this.#moreButton(),
      });
    }
  }

  /**
   * Return the row that stands for those that are not loaded yet.
   *
   * @param {string} key
   * @param {number} level
   * @param {number} size
   * @returns {TreeRow}
   */
  #pending(key, level, size) {
    const label = this.#context.t("placeholder.loading");
    const common = { icon: null, count: "", isExpanded: null, isCurrent: false, isPending: true };
    return { ...common, key, level, position: Math.max(size, 1), size: Math.max(size, 1), label };
  }

  /** @param {typeof SECTIONS[number]} section */
  #headingButton(section) {
    const { t } = this.#context;
    if (section === "folders") return undefined;
    const label = t(section === "collections" ? "collection.new" : "savedSearch.save");
    return { icon: /** @type {const} */ ("plus"), label };
  }

  #moreButton() {
    return { icon: /** @type {const} */ ("more"), label: this.#context.t("asset.more") };
  }

  /** @param {number | null} count */
  #number(count) {
    return count === null ? "" : format.number(count, this.#context.language);
  }
}
