/** The workflows tab: the saved workflows by folder, and the deleted ones. */

/** @import { Workflow, WorkflowFolder } from "../api.d.ts" */
/** @import { PageRequest } from "../shared/paged_list.mjs" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { WorkflowRow } from "./workflow_row.mjs" */

import { debounce, h } from "../shared/dom.mjs";
import { button, searchBox, select, setPressed } from "../shared/buttons.mjs";
import { PagedList } from "../shared/paged_list.mjs";
import { emptyPlaceholder, showListOrPlaceholder } from "../shared/placeholders.mjs";
import { VirtualGrid } from "../shared/virtual_grid.mjs";
import { PROVIDER, WorkflowActions } from "./workflow_actions.mjs";
import { WorkflowDetail } from "./workflow_detail.mjs";
import { WorkflowFolders } from "./workflow_folders.mjs";
import { createRow, fillRow } from "./workflow_row.mjs";

const ROW_PX = 60;
const SEARCH_DELAY_MS = 180;
const REFRESH_DELAY_MS = 300; // saving sends several of the events
/** The orders of the list, with the direction of each. */
const SORTS = { update_time: "desc", create_time: "desc", name: "asc" };

/** @typedef {keyof typeof SORTS} WorkflowSort */

export class WorkflowsTab {
  #context;
  #text = "";
  #folder = "";
  /** @type {WorkflowSort} */
  #sort = "update_time";
  #isDeleted = false; // the list shows deleted workflows
  #isStale = false;

  /** @param {PanelContext} context */
  constructor(context) {
    this.#context = context;
    const { t } = context;
    this.actions = new WorkflowActions(context, () => this.list.refresh());
    this.folders = new WorkflowFolders(context, (folder) => this.#change(() => (this.#folder = folder)));
    /** @type {PagedList<Workflow>} */
    this.list = new PagedList((request) => this.#load(request), { onChange: () => this.#onListChange() });
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
    const pane = h("div", { class: "ca-pane" }, this.#toolbar(), this.folders.element, area);
    const attributes = { class: "ca-tab-content", "aria-label": t("tab.workflows") };
    this.element = h("section", attributes, pane, this.detail.element);
    element.addEventListener("click", (event) => this.#open(this.grid.indexOf(event.target)));
    element.addEventListener("keydown", (event) => this.#onKeyDown(event));
    context.page.listen("workflows.changed", debounce(() => this.#refresh(), REFRESH_DELAY_MS));
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
    const applySearch = debounce(() => this.#change(() => (this.#text = search.input.value)), SEARCH_DELAY_MS);
    search.input.addEventListener("input", applySearch);
    /** @type {[WorkflowSort, string][]} */
    const orders = [
      ["update_time", t("workflow.sort.updated")],
      ["create_time", t("workflow.sort.created")],
      ["name", t("workflow.sort.name")],
    ];
    const sort = select(t("workflow.sort.label"), orders, this.#sort, (value) => {
      this.#change(() => (this.#sort = value));
    });
    const save = button("upload", t("workflow.saveNew"), () => this.actions.saveNew());
    save.hidden = page.currentGraph === null; // a page without a canvas
    const deleted = h(
      "button",
      { class: "ca-chip", type: "button", onclick: () => toggle() },
      t("workflow.deletedOnes"),
    );
    const toggle = () =>
      this.#change(() => {
        this.#isDeleted = !this.#isDeleted;
        setPressed(deleted, this.#isDeleted);
      });
    setPressed(deleted, false);
    const tools = h("div", { class: "ca-filters" }, sort, deleted, save);
    return h("div", { class: "ca-toolbar" }, search.element, tools);
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
    const isByFolder = name === "" && !this.#isDeleted; // a search looks into all folders
    if (this.#isDeleted) query.deleted = "true";
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
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
