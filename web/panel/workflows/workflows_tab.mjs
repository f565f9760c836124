/** The workflows tab: the saved workflows. */

/** @import { Workflow } from "../api.d.ts" */
/** @import { PageRequest } from "../shared/paged_list.mjs" */
/** @import { PanelContext } from "../types.d.ts" */

import { debounce, h } from "../shared/dom.mjs";
import { button, searchBox } from "../shared/buttons.mjs";
import * as format from "../shared/format.mjs";
import { icon } from "../shared/icons.mjs";
import { PagedList } from "../shared/paged_list.mjs";
import { emptyPlaceholder, showListOrPlaceholder } from "../shared/placeholders.mjs";
import { VirtualGrid } from "../shared/virtual_grid.mjs";
import { PROVIDER, WorkflowActions } from "./workflow_actions.mjs";
import { WorkflowDetail } from "./workflow_detail.mjs";

const ROW_PX = 52;
const SEARCH_DELAY_MS = 180;

/** @typedef {HTMLDivElement & { parts: { name: HTMLElement, summary: HTMLElement } }} WorkflowRow */

export class WorkflowsTab {
  #context;
  #text = "";

  /** @param {PanelContext} context */
  constructor(context) {
    this.#context = context;
    const { t } = context;
    this.actions = new WorkflowActions(context, () => this.list.refresh());
    /** @type {PagedList<Workflow>} */
    this.list = new PagedList((request) => this.#load(request), { onChange: () => this.#onListChange() });
    /** @type {VirtualGrid<WorkflowRow>} */
    this.grid = new VirtualGrid({
      label: t("tab.workflows"),
      cells: { create: createRow, fill: (row, index) => this.#fillRow(row, index) },
      shape: () => ({ columns: 1, rowHeight: ROW_PX }),
      onVisibleRange: (first, last) => this.list.show(first, last),
    });
    const { element } = this.grid;
    this.detail = new WorkflowDetail(context, this.actions, () => element.focus({ preventScroll: true }));
    this.placeholder = h("div", { class: "ca-grid-placeholder" });
    const area = h("div", { class: "ca-grid-area" }, element, this.placeholder);
    const pane = h("div", { class: "ca-pane" }, this.#toolbar(), area);
    const attributes = { class: "ca-tab-content", "aria-label": t("tab.workflows") };
    this.element = h("section", attributes, pane, this.detail.element);
    element.addEventListener("click", (event) => this.#open(this.grid.indexOf(event.target)));
    element.addEventListener("keydown", (event) => this.#onKeyDown(event));
    this.list.reset();
  }

  /** Called when the tab comes into view. The page may have saved something meanwhile, and sends no message of that. */
  shown() {
    if (this.list.total !== null) this.list.refresh();
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
    const applySearch = debounce(() => {
      this.#text = search.input.value;
      this.list.reset();
      this.grid.scrollToTop();
    }, SEARCH_DELAY_MS);
    search.input.addEventListener("input", applySearch);
    const save = button("upload", t("workflow.saveNew"), () => this.actions.saveNew());
    save.hidden = page.currentGraph === null; // a page without a canvas
    return h("div", { class: "ca-toolbar" }, search.element, save);
  }

  /** @param {PageRequest} request */
  async #load({ offset, limit, signal }) {
    const page = { offset: String(offset), limit: String(limit) };
    const query = { ...page, ...PROVIDER, sort: "update_time", order: "desc", name: this.#text.trim() };
    const { data, pagination } = await this.#context.client.get("/workflows", { query, signal });
    return { items: data, total: pagination.total };
  }

  /**
   * @param {WorkflowRow} row
   * @param {number} index
   */
  #fillRow(row, index) {
    const { t, language } = this.#context;
    const { name, summary } = row.parts;
    const workflow = this.list.at(index);
    row.setAttribute("aria-selected", "false");
    name.textContent = workflow === undefined ? "" : (workflow.name ?? t("workflow.unnamed"));
    summary.textContent = workflow === undefined ? "" : t("workflow.summary", {
      number: workflow.latest_version,
      time: format.time(workflow.updated_at, language),
    });
    row.setAttribute("aria-label", `${name.textContent}, ${summary.textContent}`);
  }

  #onListChange() {
    showListOrPlaceholder(this, this.#context.t, () => this.#emptyPlaceholder());
  }

  #emptyPlaceholder() {
    const { t } = this.#context;
    return this.#text.trim() === ""
      ? emptyPlaceholder("graph", t("workflow.none"), t("workflow.noneHint"))
      : emptyPlaceholder("search", t("workflow.nothingFound"));
  }

  /** @param {number} index */
  #open(index) {
    const workflow = this.list.at(index);
    if (workflow === undefined) return;
    this.grid.activate(index);
    this.detail.drawer.open(workflow.id);
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

/** @returns {WorkflowRow} */
function createRow() {
  const name = h("div", { class: "ca-name" });
  const summary = h("div", { class: "ca-summary" });
  const card = h(
    "div",
    { class: "ca-card ca-workflow" },
    h("span", { class: "ca-row-icon" }, icon("graph")),
    name,
    summary,
  );
  return Object.assign(h("div", {}, card), { parts: { name, summary } });
}
