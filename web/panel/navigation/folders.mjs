/** The folders of the library with their numbers of assets, loaded level by level as they are opened. */

/** @import { FolderPage } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

const PAGE_SIZE = 500; // folders of a level that are loaded at once
const MAX_EXPANDED = 100; // that are remembered
const ROOTS = ["output", "input", "models"]; // in this order, before others

/**
 * A folder. `children` is null until they are loaded; `cursor` leads to those that are not loaded yet.
 * @typedef {{
 *   path: string,
 *   name: string,
 *   count: number,
 *   hasFolders: boolean,
 *   children: Folder[] | null,
 *   cursor: string | undefined,
 * }} Folder
 */

export class Folders {
  #context;
  #onChange;
  /** The folder of all roots. @type {Folder} */
  #top = { path: "", name: "", count: 0, hasFolders: true, children: null, cursor: undefined };
  /** @type {Set<string>} paths */
  #expanded;
  /** @type {Map<string, Promise<void>>} by path */
  #loading = new Map();

  /**
   * @param {PanelContext} context
   * @param {string[]} expanded paths
   * @param {() => void} onChange
   */
  constructor(context, expanded, onChange) {
    this.#context = context;
    this.#expanded = new Set(expanded);
    this.#onChange = onChange;
  }

  /** The roots, null until they are loaded. */
  get roots() {
    return this.#top.children;
  }

  /** The paths of the open folders, to be opened again later. */
  get expanded() {
    return [...this.#expanded].slice(-MAX_EXPANDED);
  }

  /** @param {Folder} folder */
  isExpanded({ path }) {
    return this.#expanded.has(path);
  }

  /**
   * Return a loaded folder.
   *
   * @param {string} path
   * @returns {Folder | undefined}
   */
  find(path) {
    let found = this.#top;
    const parts = path.split("/");
    for (const index of parts.keys()) {
      const next = found.children?.find((each) => each.path === parts.slice(0, index + 1).join("/"));
      if (next === undefined) return undefined;
      found = next;
    }
    return found;
  }

  /**
   * Open or close a folder.
   *
   * @param {string} path
   * @param {boolean} isExpanded
   */
  async toggle(path, isExpanded) {
    if (isExpanded) this.#expanded.add(path);
    else this.#expanded.delete(path);
    this.#onChange();
    const folder = this.find(path);
    if (isExpanded && folder !== undefined && folder.children === null) await this.#load(folder);
  }

  /**
   * Open the folders above one, so that it is seen.
   *
   * @param {string} path
   */
  async reveal(path) {
    if (this.roots === null) await this.refresh();
    const parts = path.split("/");
    for (let depth = 1; depth < parts.length; depth += 1) {
      const above = parts.slice(0, depth).join("/");
      if (this.find(above) === undefined) return;
      if (!this.#expanded.has(above) || this.find(above)?.children === null) await this.toggle(above, true);
    }
  }

  /**
   * Load the first or the next folders of a level, which a row without a name stands for.
   *
   * @param {string} path
   */
  async more(path) {
    const folder = path === "" ? this.#top : this.find(path);
    if (folder !== undefined && (folder.children === null || folder.cursor !== undefined)) {
      await this.#load(folder, folder.cursor);
    }
  }

  /** Load the roots and the open folders again. Throws a RequestError. */
  async refresh() {
    const top = { ...this.#top, children: null, cursor: undefined };
    await this.#reload(top, this.#top);
    this.#top = top;
    this.#onChange();
  }

  /**
   * Load a folder's children, as far as they were loaded before, and those of the open folders in it.
   *
   * @param {Folder} folder
   * @param {Folder | undefined} before
   */
  async #reload(folder, before) {
    const wanted = Math.max(before?.children?.length ?? 0, 1);
    do {
      await this.#fetch(folder, folder.cursor);
    } while (folder.cursor !== undefined && (folder.children?.length ?? 0) < wanted);
    for (const child of folder.children ?? []) {
      if (!this.#expanded.has(child.path) || !child.hasFolders) continue;
      await this.#reload(child, before?.children?.find(({ path }) => path === child.path));
    }
  }

  /**
   * @param {Folder} folder
   * @param {string} [cursor]
   */
  #load(folder, cursor) {
    const { t, notifications } = this.#context;
    const running = this.#loading.get(folder.path);
    if (running !== undefined) return running;
    const load = async () => {
      try {
        await this.#fetch(folder, cursor);
      } catch (error) {
        this.#expanded.delete(folder.path);
        folder.cursor = undefined;
        notifications.error(t("navigation.foldersFailed"), error);
      }
      this.#loading.delete(folder.path);
      this.#onChange();
    };
    const loading = load();
    this.#loading.set(folder.path, loading);
    return loading;
  }

  /**
   * @param {Folder} folder
   * @param {string} [cursor]
   */
  async #fetch(folder, cursor) {
    const query = new URLSearchParams({ depth: "1", limit: String(PAGE_SIZE) });
    if (folder.path !== "") query.set("prefix", folder.path);
    if (cursor !== undefined) query.set("after", cursor);
    /** @type {FolderPage} */
    const page = await this.#context.client.get("/assets/folders", { query });
    const found = page.folders.filter(({ path }) => path !== folder.path).map(folderOf);
    folder.children = cursor === undefined ? found : [...(folder.children ?? []), ...found];
    if (folder.path === "") folder.children.sort((one, other) => rank(one) - rank(other));
    folder.cursor = page.next_cursor;
  }
}

/**
 * @param {FolderPage["folders"][number]} found
 * @returns {Folder}
 */
function folderOf({ path, name, total_count: count, has_folders: hasFolders }) {
  return { path, name, count, hasFolders, children: null, cursor: undefined };
}

/** @param {Folder} root */
function rank({ path }) {
  const place = ROOTS.indexOf(path);
  return place < 0 ? ROOTS.length : place;
}
