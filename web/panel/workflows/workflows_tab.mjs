/** The workflows tab: the saved workflows by folder, and the deleted ones. */

/** @import { Workflow, WorkflowFolder } from "../api.d.ts" */
/** @import { PageRequest } from "../shared/paged_list.mjs" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { WorkflowRow } from "./workflow_row.mjs" */

import { listenForChanges } from "../shared/connection.mjs";
import { debounce, h, setChildren } from "../shared/dom.mjs";
import { button, searchBox, select, setPressed } from "../shared/buttons.mjs";
import { PagedList } from "../shared/paged_list.mjs";
import { emptyPlaceholder, showListOrPlaceholder } from "../shared/placeholders.mjs";
import { VirtualGrid } from "../shared/virtual_grid.mjs";
import { BundleInput } from "./bundle_input.mjs";
import { PROVIDER, WorkflowActions } from "./workflow_actions.mjs";
import { WorkflowDetail } from "./workflow_detail.mjs";
import { WorkflowFolders } from "./workflow_folders.mjs";
import { createRow, fillRow } from "./workflow_row.mjs";

const ROW_PX = 60;
const SEARCH_DELAY_MS = 180;
const REFRESH_DELAY_MS = 300; // saving sends several of the events
/** The orders of the list, with the direction of each. */
const SORTS = { starred: "desc", update_time: "desc", create_time: "desc", name: "asc" };

/** @typedef {keyof typeof SORTS} WorkflowSort */

export class WorkflowsTab {
  #context;
  #text = "";
  #folder = "";
  /** @type {WorkflowSort} */
  #sort = "starred";
  #isDeleted = false; // the list shows deleted workflows
  #isStarred = false; // the list shows starred workflows of all folders
  #isStale = false;

  /** @param {PanelContext} context */
  constructor(context) {
    this.#context = context;
    const { t } = context;
    this.actions = new WorkflowActions(context, () => this.list.refresh());
    this.folders = new WorkflowFolders(context, (folder) => this.#change(() => (this.#folder = folder)));
    /** @type {PagedList<Workflow>} */
    this.list = new PagedList((request) => this.#load(request), {
      key: ({ id }) => id,
      grid: () => this.grid,
      onChange: () => this.#onListChange(),
    });
    /** @type {VirtualGrid<WorkflowRow>} */
    this.grid = new VirtualGrid({
      label: t("tab.workflows"),
      cells: { create: createRow, fill: (row, index) => fillRow(row, this.list.at(index), this.#context) },
      shape: () => ({ columns: 1, rowHeight: ROW_PX }),
      onVisibleRange: (first, last) => this.list.show(first, last),
    });
    const { element } = this.grid;
    this.detail = new WorkflowDetail(context, this.actions, () => element.focus({ preventScroll: true }));
    this.placeholder = h("div", { class: "ca-grid-placeholder" });
    const area = h("div", { class: "ca-grid-area" }, element, this.placeholder);
    this.element = h("section", { class: "ca-tab-content", "aria-label": t("tab.workflows") });
    const pane = h("div", { class: "ca-pane" }, this.#toolbar(), this.folders.element, area);
    setChildren(this.element, pane, this.detail.element);
    element.addEventListener("click", (event) => this.#onClick(event));
    element.addEventListener("keydown", (event) => this.#onKeyDown(event));
    listenForChanges(context.page, ["workflows.changed"], debounce(() => this.#refresh(), REFRESH_DELAY_MS));
    this.list.reset();
  }

  /** Called when the tab comes into view. */
  shown() {
    if (this.#isStale) this.#refresh();
    this.grid.layout();
  }

  /**
   * Show a workflow by its id, whether or not the list has it.
   *
   * @param {string} id
   */
  openById(id) {
    this.detail.drawer.open(id);
  }

  #toolbar() {
    const { t, page } = this.#context;
    const search = searchBox(t("workflow.search"), t("workflow.search"));
    const applySearch = () => this.#change(() => (this.#text = search.input.value));
    search.input.addEventListener(
      "input",
      debounce(() => this.grid.press.released().then(applySearch), SEARCH_DELAY_MS),
    );
    /** @type {[WorkflowSort, string][]} */
    const orders = [
      ["starred", t("workflow.sort.starred")],
      ["update_time", t("workflow.sort.updated")],
      ["create_time", t("workflow.sort.created")],
      ["name", t("workflow.sort.name")],
    ];
    const sort = select(t("workflow.sort.label"), orders, this.#sort, (value) => {
      this.#change(() => (this.#sort = value));
    });
    const save = button("upload", t("workflow.saveNew"), () => this.actions.saveNew());
    save.hidden = page.currentGraph === null; // a page without a canvas
    const deleted = this.#chip(t("workflow.deletedOnes"), () => {
      this.#isDeleted = !this.#isDeleted;
      this.#isStarred = false;
    });
    const starred = this.#chip(t("workflow.starredOnes"), () => {
      this.#isStarred = !this.#isStarred;
      this.#isDeleted = false;
    });
    this.#showChips = () => {
      setPressed(deleted, this.#isDeleted);
      setPressed(starred, this.#isStarred);
    };
    this.#showChips();
    const bundles = new BundleInput(this.#context);
    bundles.acceptDrops(this.element);
    const load = button("download", t("bundle.importButton"), () => bundles.choose());
    const tools = h("div", { class: "ca-filters" }, sort, starred, deleted, save, load);
    return h("div", { class: "ca-toolbar" }, search.element, tools);
  }

  #showChips = () => {};

  /**
   * Create a chip that changes what the list shows.
   *
   * @param {string} label
   * @param {() => void} change
   */
  #chip(label, change) {
    const onclick = () => {
      this.#change(change);
      this.#showChips();
    };
    return h("button", { class: "ca-chip", type: "button", onclick }, label);
  }

  /** @param {() => void} change of what the list shows */
  #change(change) {
    change();
    this.list.reset();
    this.grid.scrollToTop();
  }

  /** @param {PageRequest} request */
  async #load({ offset, limit, signal }) {
    const name = this.#text.trim();
    /** @type {Record<string, string>} */
    const query = { offset: String(offset), limit: String(limit), ...PROVIDER };
    Object.assign(query, { sort: this.#sort, order: SORTS[this.#sort], name });
    const isByFolder = name === "" && !this.#isDeleted && !this.#isStarred; // a search looks into all folders
    if (this.#isDeleted) query.deleted = "true";
    else if (this.#isStarred) query.starred = "true";
    else if (isByFolder) query.folder = this.#folder;
    const { data, pagination, folders = [] } = await this.#context.client.get("/workflows", { query, signal });
    this.#showFolders(isByFolder ? this.#folder : "", folders, pagination.total);
    return { items: data, total: pagination.total };
  }

  /**
   * @param {string} folder
   * @param {WorkflowFolder[]} inside
   * @param {number} total
   */
  #showFolders(folder, inside, total) {
    if (folder !== "" && total === 0 && inside.length === 0) {
      this.#change(() => (this.#folder = "")); // its last workflow has gone
      return;
    }
    this.folders.show(folder, inside);
  }

  #onListChange() {
    showListOrPlaceholder(this, this.#context.t, () => this.#emptyPlaceholder());
  }

  #emptyPlaceholder() {
    const { t } = this.#context;
    if (this.#isDeleted) return emptyPlaceholder("trash", t("workflow.noDeleted"), t("workflow.noDeletedHint"));
    if (this.#isStarred) return emptyPlaceholder("star", t("workflow.noStarred"), t("workflow.noStarredHint"));
    if (this.#text.trim() !== "") return emptyPlaceholder("search", t("workflow.nothingFound"));
    return this.folders.element.hidden
      ? emptyPlaceholder("graph", t("workflow.none"), t("workflow.noneHint"))
      : emptyPlaceholder("folder", t("workflow.onlyFolders"));
  }

  /** Load the list again, at once or when the tab comes back into the page. */
  #refresh() {
    this.#isStale = !this.element.isConnected;
    if (this.#isStale) return;
    this.list.refresh();
  }

  /** @param {MouseEvent} event */
  #onClick(event) {
    const index = this.grid.indexOf(event.target);
    const isStar = event.target instanceof Element && event.target.closest("[data-star]") !== null;
    if (isStar) this.#star(index);
    else this.#open(index);
  }

  /** @param {number} index */
  #star(index) {
    const workflow = this.list.at(index);
    if (workflow !== undefined && !workflow.deleted_at) this.actions.star(workflow);
  }

  /** @param {number} index */
  #open(index) {
    const workflow = this.list.at(index);
    if (workflow === undefined) return;
    this.grid.activate(index);
    if (workflow.deleted_at) this.actions.undelete(workflow); // what is deleted has nothing to show
    else this.detail.drawer.open(workflow.id);
  }

  /** @param {KeyboardEvent} event */
  #onKeyDown(event) {
    const target = this.grid.keyTarget(event.key);
    if (target !== null) this.grid.activate(target);
    else if (event.key === "Enter") this.#open(this.grid.active);
    else if (event.key.toLowerCase() === "f" && !event.ctrlKey && !event.metaKey) this.#star(this.grid.active);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
