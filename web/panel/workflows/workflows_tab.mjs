/** Saved workflows. */

import { debounced, h } from "../shared/dom.mjs";
import { button } from "../shared/buttons.mjs";
import * as format from "../shared/format.mjs";
import { destination } from "../shared/grid_keys.mjs";
import { icon } from "../shared/icons.mjs";
import { PagedList } from "../shared/paged_list.mjs";
import { empty, showList } from "../shared/placeholders.mjs";
import { VirtualGrid } from "../shared/virtual_grid.mjs";
import { WorkflowDeeds } from "./workflow_actions.mjs";
import { WorkflowDetail } from "./workflow_detail.mjs";

const ROW_PX = 52;
const TYPING_MS = 180;

export class WorkflowsTab {
  #context;
  #text = "";

  constructor(context) {
    this.#context = context;
    const { t } = context;
    const deeds = (this.deeds = new WorkflowDeeds(context, () => this.list.refresh()));
    this.list = new PagedList((where) => this.#load(where), { onChange: () => this.#changed() });
    this.grid = new VirtualGrid({
      label: t("tab.workflows"),
      cells: { create: () => this.#createRow(), fill: (row, index) => this.#fillRow(row, index) },
      shape: () => ({ columns: 1, rowHeight: ROW_PX }),
      onView: (first, last) => this.list.show(first, last),
    });
    this.detail = new WorkflowDetail(context, deeds, () => this.grid.element.focus({ preventScroll: true }));
    this.state = h("div", { class: "ca-grid-state" });
    const area = h("div", { class: "ca-grid-area" }, this.grid.element, this.state);
    const pane = h("div", { class: "ca-pane" }, this.#toolbar(), area);
    this.element = h("section", { class: "ca-library", "aria-label": t("tab.workflows") }, pane, this.detail.element);
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
    const search = h("input", { class: "ca-search-input", type: "search", placeholder: t("workflow.search"), "aria-label": t("workflow.search"), autocomplete: "off" });
    const look = debounced(() => {
      this.#text = search.value;
      this.list.reset();
      this.grid.scrollToTop();
    }, TYPING_MS);
    search.addEventListener("input", look);
    const save = button("upload", t("workflow.saveNew"), () => this.deeds.saveNew());
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
    const facts = h("div", { class: "ca-facts" });
    const row = h("div", {}, h("div", { class: "ca-card ca-workflow" }, h("span", { class: "ca-job-sign" }, icon("graph")), name, facts));
    row.parts = { name, facts };
    return row;
  }

  #fillRow(row, index) {
    const workflow = this.list.at(index);
    const { t, language } = this.#context;
    row.setAttribute("aria-selected", "false");
    row.parts.name.textContent = workflow === undefined ? "" : (workflow.name ?? t("workflow.unnamed"));
    row.parts.facts.textContent =
      workflow === undefined ? "" : t("workflow.facts", { number: workflow.latest_version, time: format.time(workflow.updated_at, language) });
    row.setAttribute("aria-label", `${row.parts.name.textContent}, ${row.parts.facts.textContent}`);
  }

  #changed() {
    showList(this, this.#context.t, () => this.#nothing());
  }

  #nothing() {
    const { t } = this.#context;
    const isSearch = this.#text.trim() !== "";
    return isSearch ? empty("search", t("workflow.nothingFound")) : empty("graph", t("workflow.none"), t("workflow.noneHint"));
  }

  #open(index) {
    const workflow = this.list.at(index);
    if (workflow === undefined) return;
    this.grid.activate(index);
    this.detail.drawer.open(workflow.id);
  }

  #key(event) {
    const { active, columns, count, rowsInView } = this.grid;
    const target = destination(event.key, { active, columns, count, rowsInView });
    if (target !== null) this.grid.activate(target);
    else if (event.key === "Enter") this.#open(active);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
