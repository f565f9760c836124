/** Saved workflows. */

import { debounce, h } from "../shared/dom.mjs";
import { button } from "../shared/buttons.mjs";
import * as format from "../shared/format.mjs";
import { icon } from "../shared/icons.mjs";
import { PagedList } from "../shared/paged_list.mjs";
import { emptyPlaceholder, showListOrPlaceholder } from "../shared/placeholders.mjs";
import { VirtualGrid } from "../shared/virtual_grid.mjs";
import { WorkflowActions } from "./workflow_actions.mjs";
import { WorkflowDetail } from "./workflow_detail.mjs";

const ROW_PX = 52;
const SEARCH_DELAY_MS = 180;

export class WorkflowsTab {
  #context;
  #text = "";

  constructor(context) {
    this.#context = context;
    const { t } = context;
    const actions = (this.actions = new WorkflowActions(context, () => this.list.refresh()));
    this.list = new PagedList((where) => this.#load(where), { onChange: () => this.#listChanged() });
    this.grid = new VirtualGrid({
      label: t("tab.workflows"),
      cells: { create: () => this.#createRow(), fill: (row, index) => this.#fillRow(row, index) },
      shape: () => ({ columns: 1, rowHeight: ROW_PX }),
      onVisibleRange: (first, last) => this.list.show(first, last),
    });
    this.detail = new WorkflowDetail(context, actions, () => this.grid.element.focus({ preventScroll: true }));
    this.state = h("div", { class: "ca-grid-placeholder" });
    const area = h("div", { class: "ca-grid-area" }, this.grid.element, this.state);
    const pane = h("div", { class: "ca-pane" }, this.#toolbar(), area);
    this.element = h(
      "section",
      { class: "ca-tab-content", "aria-label": t("tab.workflows") },
      pane,
      this.detail.element,
    );
    this.grid.element.addEventListener("click", (event) => this.#open(this.grid.indexOf(event.target)));
    this.grid.element.addEventListener("keydown", (event) => this.#key(event));
    this.list.reset();
  }

  /** It has come into view (again): the page may have saved something meanwhile. */
  shown() {
    if (this.list.total !== null) this.list.refresh();
    this.grid.layout();
  }

  #toolbar() {
    const { t } = this.#context;
    const search = h("input", {
      class: "ca-search-input",
      type: "search",
      placeholder: t("workflow.search"),
      "aria-label": t("workflow.search"),
      autocomplete: "off",
    });
    const applySearch = debounce(() => {
      this.#text = search.value;
      this.list.reset();
      this.grid.scrollToTop();
    }, SEARCH_DELAY_MS);
    search.addEventListener("input", applySearch);
    const save = button("upload", t("workflow.saveNew"), () => this.actions.saveNew());
    save.hidden = this.#context.page.currentGraph === null; // a page without a canvas
    return h("div", { class: "ca-toolbar" }, h("div", { class: "ca-search" }, icon("search"), search), save);
  }

  async #load({ offset, limit, signal }) {
    const query = { offset, limit, sort: "update_time", order: "desc", name: this.#text.trim() };
    const { data, pagination } = await this.#context.client.get("/workflows", { query, signal });
    return { items: data, total: pagination.total };
  }

  #createRow() {
    const name = h("div", { class: "ca-name" });
    const summary = h("div", { class: "ca-summary" });
    const row = h(
      "div",
      {},
      h("div", { class: "ca-card ca-workflow" }, h("span", { class: "ca-row-icon" }, icon("graph")), name, summary),
    );
    row.parts = { name, summary };
    return row;
  }

  #fillRow(row, index) {
    const workflow = this.list.at(index);
    const { t, language } = this.#context;
    row.setAttribute("aria-selected", "false");
    row.parts.name.textContent = workflow === undefined ? "" : (workflow.name ?? t("workflow.unnamed"));
    row.parts.summary.textContent = workflow === undefined
      ? ""
      : t("workflow.summary", { number: workflow.latest_version, time: format.time(workflow.updated_at, language) });
    row.setAttribute("aria-label", `${row.parts.name.textContent}, ${row.parts.summary.textContent}`);
  }

  #listChanged() {
    showListOrPlaceholder(this, this.#context.t, () => this.#emptyPlaceholder());
  }

  #emptyPlaceholder() {
    const { t } = this.#context;
    const isSearch = this.#text.trim() !== "";
    return isSearch
      ? emptyPlaceholder("search", t("workflow.nothingFound"))
      : emptyPlaceholder("graph", t("workflow.none"), t("workflow.noneHint"));
  }

  #open(index) {
    const workflow = this.list.at(index);
    if (workflow === undefined) return;
    this.grid.activate(index);
    this.detail.drawer.open(workflow.id);
  }

  #key(event) {
    const { active } = this.grid;
    const target = this.grid.keyTarget(event.key);
    if (target !== null) this.grid.activate(target);
    else if (event.key === "Enter") this.#open(active);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
