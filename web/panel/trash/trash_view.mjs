/** The trash: everything that was deleted, to be restored or removed for good. It covers the library tab. */

/** @import { TrashEntry, TrashPage } from "../api.d.ts" */
/** @import { Batches } from "../library/batches.mjs" */
/** @import { PageRequest } from "../shared/paged_list.mjs" */
/** @import { PanelContext, ScreenPoint } from "../types.d.ts" */
/** @import { TrashRow } from "./trash_row.mjs" */

import { button, iconButton, searchBox, select } from "../shared/buttons.mjs";
import { listenForChanges } from "../shared/connection.mjs";
import { middleOf, onMenu, showMenu } from "../shared/context_menu.mjs";
import { takesText } from "../shared/dialog.mjs";
import { debounce, h, setChildren } from "../shared/dom.mjs";
import * as format from "../shared/format.mjs";
import { PagedList } from "../shared/paged_list.mjs";
import { emptyPlaceholder, showListOrPlaceholder } from "../shared/placeholders.mjs";
import { VirtualGrid } from "../shared/virtual_grid.mjs";
import { TrashActions } from "./trash_actions.mjs";
import { createRow, fillRow } from "./trash_row.mjs";

const ROW_PX = 66;
const SEARCH_DELAY_MS = 180;
const REFRESH_DELAY_MS = 300;
const PAGE_SIZE = 500; // while all are selected
const KINDS = /** @type {const} */ (["", "trashed", "removed"]);

export class TrashView {
  #context;
  #onClose;
  #text = "";
  /** @type {typeof KINDS[number]} */
  #kind = "";
  /** @type {Map<string, TrashEntry>} */
  #selected = new Map();

  /**
   * @param {PanelContext} context
   * @param {Batches} batches
   * @param {() => void} onClose
   */
  constructor(context, batches, onClose) {
    this.#context = context;
    this.#onClose = onClose;
    const { t, page, notifications } = context;
    this.actions = new TrashActions(context, batches, () => this.#changed());
    /** @type {PagedList<TrashEntry>} */
    this.list = new PagedList((request) => this.#load(request), {
      key: ({ id }) => id,
      grid: () => this.grid,
      onChange: () => this.#onListChange(),
    });
    /** @type {VirtualGrid<TrashRow>} */
    this.grid = new VirtualGrid({
      label: t("trash.title"),
      cells: { create: createRow, fill: (row, index, isMoving) => this.#fill(row, index, isMoving) },
      shape: () => ({ columns: 1, rowHeight: ROW_PX }),
      onVisibleRange: (first, last) => this.list.show(first, last),
    });
    this.grid.element.classList.add("ca-list-view");
    this.placeholder = h("div", { class: "ca-grid-placeholder" });
    this.total = h("div", { class: "ca-total", role: "status" });
    this.bar = h("div", { class: "ca-selection", role: "toolbar", "aria-label": t("trash.selected") });
    this.element = h(
      "section",
      { class: "ca-trash", "aria-label": t("trash.title"), tabindex: "-1" },
      this.#header(),
      this.#toolbar(),
      this.total,
      h("div", { class: "ca-grid-area" }, this.grid.element, this.placeholder),
      notifications.createSlot(),
      this.bar,
    );
    this.element.hidden = true;
    this.#listen();
    listenForChanges(page, ["assets.changed"], debounce(() => this.isOpen && this.list.refresh(), REFRESH_DELAY_MS));
  }

  get isOpen() {
    return !this.element.hidden && this.element.isConnected;
  }

  /** Show the trash over its neighbours, which cannot be used meanwhile. */
  open() {
    this.#cover(true);
    this.#select([]);
    this.list.reset();
    this.element.focus({ preventScroll: true });
  }

  close() {
    if (this.element.hidden) return;
    this.#cover(false);
    this.#onClose();
  }

  /** @param {boolean} isOpen */
  #cover(isOpen) {
    this.element.hidden = !isOpen;
    for (const each of this.element.parentElement?.children ?? []) {
      if (each instanceof HTMLElement && each !== this.element) each.inert = isOpen;
    }
  }

  #header() {
    const { t } = this.#context;
    return h(
      "div",
      { class: "ca-detail-header" },
      button("back", t("tab.library"), () => this.close(), { kind: "ca-plain" }),
      h("h3", { class: "ca-trash-title" }, t("trash.title")),
      h("span", { class: "ca-spacer" }),
      button("trash", t("trash.empty"), () => this.actions.empty(this.#kind), { kind: "ca-danger" }),
    );
  }

  #toolbar() {
    const { t } = this.#context;
    const { element, input } = searchBox(t("trash.search"), t("trash.search"));
    const find = () => this.#change(() => (this.#text = input.value.trim()));
    input.addEventListener("input", debounce(() => this.grid.press.released().then(find), SEARCH_DELAY_MS));
    const kinds = KINDS.map((kind) => /** @type {const} */ ([kind, t(`trash.kinds.${kind || "all"}`)]));
    const choose = (/** @type {typeof KINDS[number]} */ kind) => this.#change(() => (this.#kind = kind));
    const row = h(
      "div",
      { class: "ca-toolbar-row" },
      select(t("trash.kind"), kinds, "", choose),
      h("span", { class: "ca-spacer" }),
      button("check", t("trash.selectAll"), () => this.#selectAll()),
    );
    return h("div", { class: "ca-toolbar", role: "search" }, element, row);
  }

  /** @param {() => void} change of what the list shows */
  #change(change) {
    change();
    this.#select([]);
    this.list.reset();
    this.grid.scrollToTop();
  }

  #changed() {
    this.#select([]);
    this.list.refresh();
    this.grid.element.focus({ preventScroll: true });
  }

  /** @returns {Record<string, string>} */
  #query() {
    return { name_contains: this.#text, ...(this.#kind === "" ? {} : { kind: this.#kind }) };
  }

  /** @param {PageRequest} request */
  async #load({ offset, limit, cursor, signal }) {
    const { client, t, language } = this.#context;
    /** @type {Record<string, string>} */
    const query = { ...this.#query(), limit: String(limit) };
    if (cursor) query.after = cursor;
    else query.offset = String(offset);
    const page = await client.get("/trash", { query, signal });
    const counts = { count: page.total, number: format.number(page.total, language) };
    this.total.textContent = t("trash.total", { ...counts, size: format.bytes(page.size, language) });
    return { items: page.entries, total: page.total, cursor: page.next_cursor };
  }

  #onListChange() {
    const hadFocus = this.grid.element.contains(document.activeElement);
    showListOrPlaceholder(this, this.#context.t, () => this.#emptyPlaceholder());
    if (hadFocus && this.grid.element.hidden) this.element.focus({ preventScroll: true });
  }

  #emptyPlaceholder() {
    const { t } = this.#context;
    const isFiltered = this.#text !== "" || this.#kind !== "";
    return isFiltered
      ? emptyPlaceholder("search", t("trash.nothingFound"))
      : emptyPlaceholder("trash", t("trash.none"), t("trash.noneHint"));
  }

  /**
   * @param {TrashRow} row
   * @param {number} index
   * @param {boolean} isMoving
   */
  #fill(row, index, isMoving) {
    const entry = this.list.at(index);
    const isSelected = entry !== undefined && this.#selected.has(entry.id);
    fillRow(row, entry, this.#context, { isSelected, isMoving });
  }

  /** @param {TrashEntry[]} entries */
  #select(entries) {
    this.#selected = new Map(entries.map((entry) => [entry.id, entry]));
    this.#showSelection();
  }

  /** @param {TrashEntry} entry */
  #toggle(entry) {
    if (!this.#selected.delete(entry.id)) this.#selected.set(entry.id, entry);
    this.#showSelection();
  }

  /** Select all that the list has, also what is not loaded. */
  async #selectAll() {
    const { client, notifications, t } = this.#context;
    try {
      /** @type {TrashEntry[]} */
      const found = [];
      let after = "";
      do {
        const query = { ...this.#query(), limit: String(PAGE_SIZE), ...(after && { after }) };
        /** @type {TrashPage} */
        const page = await client.get("/trash", { query });
        found.push(...page.entries);
        after = page.next_cursor ?? "";
      } while (after !== "");
      this.#select(found);
    } catch (error) {
      notifications.error(t("library.selectAllFailed"), error);
    }
  }

  #showSelection() {
    const { t, language } = this.#context;
    const entries = [...this.#selected.values()];
    const counts = { count: entries.length, number: format.number(entries.length, language) };
    this.bar.hidden = entries.length === 0;
    setChildren(
      this.bar,
      h("span", { class: "ca-selection-count", role: "status" }, t("selection.count", counts)),
      h(
        "div",
        { class: "ca-selection-actions" },
        button("undo", t("trash.restore"), () => this.actions.restore(entries), { kind: "ca-primary" }),
        button("trash", t("trash.delete"), () => this.actions.deleteForGood(entries), { kind: "ca-danger" }),
        iconButton("close", t("selection.clear"), () => this.#select([])),
      ),
    );
    this.grid.refresh();
  }

  #listen() {
    const { element } = this.grid;
    element.addEventListener("click", (event) => {
      const index = this.grid.indexOf(event.target);
      const entry = this.list.at(index);
      if (entry === undefined) return;
      this.grid.activate(index);
      if (event.target instanceof Element && event.target.closest("[data-restore]")) this.actions.restore([entry]);
      else this.#toggle(entry);
    });
    onMenu(element, (target, at) => this.#showMenu(target, at));
    this.element.addEventListener("keydown", (event) => this.#onKeyDown(event));
  }

  /**
   * @param {Element} target
   * @param {ScreenPoint | null} at
   */
  #showMenu(target, at) {
    const index = at === null ? this.grid.active : this.grid.indexOf(target);
    const entry = this.list.at(index);
    if (entry === undefined) return false;
    this.grid.activate(index);
    const entries = this.#selected.has(entry.id) ? this.#chosen(entry) : [entry];
    const { t } = this.#context;
    showMenu(entry.name, [[
      { icon: "undo", label: t("trash.restore"), run: () => this.actions.restore(entries) },
      { icon: "trash", label: t("trash.delete"), run: () => this.actions.deleteForGood(entries), isDanger: true },
    ]], at ?? middleOf(`${this.grid.id}-${index}`));
    return true;
  }

  /**
   * Return the selected entries, or the active one without any.
   *
   * @param {TrashEntry} active
   */
  #chosen(active) {
    return this.#selected.size > 0 ? [...this.#selected.values()] : [active];
  }

  /** @param {KeyboardEvent} event */
  #onKeyDown(event) {
    if (event.defaultPrevented || takesText(event.target) && event.key !== "Escape") return;
    const isInList = event.target === this.grid.element;
    const entry = isInList ? this.list.at(this.grid.active) : undefined;
    const target = isInList ? this.grid.keyTarget(event.key) : null;
    const isChord = event.ctrlKey || event.metaKey;
    if (target !== null) this.grid.activate(target);
    else if (event.key === "Escape" && this.#selected.size > 0) this.#select([]);
    else if (event.key === "Escape") this.close();
    else if (event.key === "a" && isChord) this.#selectAll();
    else if ((event.key === " " || event.key === "x") && entry) this.#toggle(entry);
    else if (event.key === "Enter" && entry) this.actions.restore(this.#chosen(entry));
    else if (event.key === "Delete" && entry) this.actions.deleteForGood(this.#chosen(entry));
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
