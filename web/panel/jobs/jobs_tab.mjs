/** The jobs: the queue as it moves, and all that was executed before. */

import { debounce, h } from "../shared/dom.mjs";
import { button } from "../shared/buttons.mjs";
import { icon } from "../shared/icons.mjs";
import { PagedList } from "../shared/paged_list.mjs";
import { emptyPlaceholder, showListOrPlaceholder } from "../shared/placeholders.mjs";
import { VirtualGrid } from "../shared/virtual_grid.mjs";
import { FILTERS, isActive, nodeTitle } from "./job.mjs";
import { JobActions } from "./job_actions.mjs";
import { JobDetail } from "./job_detail.mjs";
import { createRow, fillRow } from "./job_row.mjs";
import { LiveUpdates } from "./live_updates.mjs";

const ROW_PX = 64;
const SEARCH_DELAY_MS = 180;
const REFRESH_DELAY_MS = 300;
const JOB_EVENTS = ["status", "execution_start", "execution_success", "execution_error", "execution_interrupted"];

export class JobsTab {
  #context;
  #filter = "all";
  #text = "";
  #isStale = false;
  #graphs = new Map(); // job id -> its graph, of those that run

  constructor(context) {
    const { t } = context;
    this.#context = { ...context, nodeTitle: (job, node) => this.#nodeTitle(job, node) };
    const actions = (this.actions = new JobActions(this.#context));
    this.liveUpdates = new LiveUpdates(context, () => this.element.offsetParent !== null && !document.hidden);
    this.list = new PagedList((where) => this.#load(where), { onChange: () => this.#listChanged() });
    this.grid = new VirtualGrid({
      label: t("tab.jobs"),
      cells: { create: createRow, fill: (row, index) => this.#fillRow(row, index) },
      shape: () => ({ columns: 1, rowHeight: ROW_PX }),
      onVisibleRange: (first, last) => this.list.show(first, last),
    });
    this.detail = new JobDetail(this.#context, actions, () => this.grid.element.focus({ preventScroll: true }));
    this.state = h("div", { class: "ca-grid-placeholder" });
    this.cancelAll = button("stop", t("job.cancelAll"), () => actions.cancelAll(), { kind: "ca-danger" });
    const area = h("div", { class: "ca-grid-area" }, this.grid.element, this.state);
    const pane = h("div", { class: "ca-pane" }, this.#toolbar(), area);
    this.element = h("section", { class: "ca-tab-content", "aria-label": t("tab.jobs") }, pane, this.detail.element);
    this.#listen();
    this.list.reset();
  }

  /** It has come into view (again). */
  shown() {
    if (this.#isStale) this.#refresh();
    this.grid.layout();
  }

  /** Show a job that other tabs know by its id. */
  openById(id) {
    this.detail.drawer.open(id);
  }

  #toolbar() {
    const { t } = this.#context;
    const search = h("input", {
      class: "ca-search-input",
      type: "search",
      placeholder: t("job.searchHint"),
      "aria-label": t("job.search"),
      autocomplete: "off",
    });
    const applySearch = debounce(() => this.#setFilter({ text: search.value }), SEARCH_DELAY_MS);
    search.addEventListener("input", applySearch);
    this.filters = h("div", { class: "ca-filters", role: "group", "aria-label": t("job.filter") });
    for (const filter of Object.keys(FILTERS)) {
      const choose = () => this.#setFilter({ filter });
      const attributes = {
        class: "ca-chip",
        type: "button",
        "aria-pressed": String(filter === "all"),
        dataset: { filter },
      };
      this.filters.append(h("button", { ...attributes, onclick: choose }, t(`job.filters.${filter}`)));
    }
    this.cancelAll.hidden = true;
    return h(
      "div",
      { class: "ca-toolbar" },
      h("div", { class: "ca-search" }, icon("search"), search),
      this.filters,
      this.cancelAll,
    );
  }

  #setFilter({ filter = this.#filter, text = this.#text }) {
    this.#filter = filter;
    this.#text = text;
    for (const chip of this.filters.children) chip.setAttribute("aria-pressed", String(chip.dataset.filter === filter));
    this.list.reset();
    this.grid.scrollToTop();
  }

  async #load({ offset, limit, cursor, signal }) {
    const query = { limit, ...(cursor ? { after: cursor } : { offset }) };
    if (FILTERS[this.#filter]) query.status = FILTERS[this.#filter];
    if (this.#text.trim()) query.q = this.#text.trim();
    const { jobs, pagination } = await this.#context.client.get("/jobs", { query, signal });
    return { items: jobs, total: pagination.total, cursor: pagination.next_cursor };
  }

  #fillRow(row, index) {
    const job = this.list.at(index);
    fillRow(row, job, job && this.liveUpdates.progressOf(job.id), this.#context);
  }

  #listChanged() {
    showListOrPlaceholder(this, this.#context.t, () => this.#emptyPlaceholder());
    const jobs = [...this.list.loaded()].map(([, job]) => job);
    this.cancelAll.hidden = !jobs.some(isActive);
    this.liveUpdates.setRunning(jobs.filter((job) => job.status === "in_progress").map((job) => job.id));
  }

  #emptyPlaceholder() {
    const { t } = this.#context;
    const isNarrowed = this.#filter !== "all" || this.#text.trim() !== "";
    return isNarrowed
      ? emptyPlaceholder("search", t("job.nothingFound"))
      : emptyPlaceholder("history", t("job.none"), t("job.noneHint"));
  }

  #listen() {
    const { element } = this.grid;
    element.addEventListener("click", (event) => this.#open(this.grid.indexOf(event.target)));
    element.addEventListener("keydown", (event) => this.#key(event));
    const refreshSoon = debounce(() => this.#refresh(), REFRESH_DELAY_MS);
    for (const type of JOB_EVENTS) this.#context.page.listen(type, refreshSoon);
    this.liveUpdates.addEventListener("change", () => this.element.isConnected && this.grid.refresh());
  }

  #open(index) {
    const job = this.list.at(index);
    if (job === undefined) return;
    this.grid.activate(index);
    this.detail.drawer.open(job.id);
  }

  #key(event) {
    const { active } = this.grid;
    const target = this.grid.keyTarget(event.key);
    if (target !== null) this.grid.activate(target);
    else if (event.key === "Enter") this.#open(active);
    else if (event.key === "Delete" && this.list.at(active)) this.actions.cancel(this.list.at(active));
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #refresh() {
    this.#isStale = !this.element.isConnected; // nobody sees it: later
    if (this.#isStale) return;
    this.list.refresh();
    this.detail.drawer.refresh();
  }

  /** A node's title, once the graph of its job is here; its number until then. */
  #nodeTitle(job, node) {
    if (!this.#graphs.has(job.id)) {
      this.#graphs.clear(); // one job runs at a time
      this.#graphs.set(job.id, null);
      this.#fetchGraph(job.id);
    }
    return nodeTitle(this.#graphs.get(job.id), node);
  }

  async #fetchGraph(id) {
    try {
      const detail = await this.#context.client.get(`/jobs/${id}`);
      this.#graphs.set(id, detail.workflow?.prompt ?? null);
      this.grid.refresh();
    } catch {
      // The numbers of nodes are good enough.
    }
  }
}
