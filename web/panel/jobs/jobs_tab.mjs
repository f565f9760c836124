/** The jobs tab: the queue with its progress, and the history. */

/** @import { Job, Prompt } from "../api.d.ts" */
/** @import { PageRequest } from "../shared/paged_list.mjs" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { JobFilter } from "./job.mjs" */
/** @import { JobRow, RowContext } from "./job_row.mjs" */

import { listenForChanges } from "../shared/connection.mjs";
import { debounce, h } from "../shared/dom.mjs";
import { button, searchBox, setPressed } from "../shared/buttons.mjs";
import { confirmButton } from "../shared/confirm_button.mjs";
import { withinUrl } from "../library/query.mjs";
import { PagedList } from "../shared/paged_list.mjs";
import { emptyPlaceholder, showListOrPlaceholder } from "../shared/placeholders.mjs";
import { VirtualGrid } from "../shared/virtual_grid.mjs";
import { FILTERS, isActive, nodeTitle } from "./job.mjs";
import { JobActions } from "./job_actions.mjs";
import { JobDetail } from "./job_detail.mjs";
import { createRow, fillRow } from "./job_row.mjs";
import { LiveUpdates } from "./live_updates.mjs";

const ROW_PX = 76;
const SEARCH_DELAY_MS = 180;
const REFRESH_DELAY_MS = 300; // a short job sends several of the events
const JOB_EVENTS = /** @type {const} */ ([
  "status",
  "execution_start",
  "execution_success",
  "execution_error",
  "execution_interrupted",
]);

export class JobsTab {
  /** @type {RowContext} */
  #context;
  /** @type {JobFilter} */
  #filter = "all";
  #text = "";
  #isStale = false;
  /** @type {Map<string, Prompt | null>} the running job's graph by its id, null until it is loaded */
  #graphs = new Map();
  /** @type {Map<JobFilter, HTMLButtonElement>} */
  #filterChips = new Map();

  /** @param {PanelContext} context */
  constructor(context) {
    const { t } = context;
    this.#context = { ...context, nodeTitle: (job, node) => this.#nodeTitle(job, node) };
    this.actions = new JobActions(context);
    this.liveUpdates = new LiveUpdates(context, () => this.element.offsetParent !== null && !document.hidden);
    /** @type {PagedList<Job>} */
    this.list = new PagedList((request) => this.#load(request), {
      key: ({ id }) => id,
      grid: () => this.grid,
      onChange: () => this.#onListChange(),
    });
    /** @type {VirtualGrid<JobRow>} */
    this.grid = new VirtualGrid({
      label: t("tab.jobs"),
      cells: { create: createRow, fill: (row, index) => this.#fillRow(row, index) },
      shape: () => ({ columns: 1, rowHeight: ROW_PX }),
      onVisibleRange: (first, last) => this.list.show(first, last),
    });
    this.detail = new JobDetail(context, this.actions, () => this.grid.element.focus({ preventScroll: true }));
    this.placeholder = h("div", { class: "ca-grid-placeholder" });
    this.cancelAll = button("stop", t("job.cancelAll"), () => this.actions.cancelAll(), { kind: "ca-danger" });
    this.clearEnded = confirmButton("trash", t("job.clear"), {
      ask: async () => t("job.reallyClear", { count: await this.actions.countEnded() }),
      action: () => this.#clear(),
    });
    const area = h("div", { class: "ca-grid-area" }, this.grid.element, this.placeholder);
    const pane = h("div", { class: "ca-pane" }, this.#toolbar(), area);
    this.element = h("section", { class: "ca-tab-content", "aria-label": t("tab.jobs") }, pane, this.detail.element);
    this.#listen();
    this.list.reset();
  }

  /** Called when the tab comes into view. */
  shown() {
    if (this.#isStale) this.#refresh();
    this.grid.layout();
  }

  /**
   * Show a job by its id, whether or not the list has it.
   *
   * @param {string} id
   */
  openById(id) {
    this.detail.drawer.open(id);
  }

  #toolbar() {
    const { t } = this.#context;
    const search = searchBox(t("job.search"), t("job.searchHint"));
    const applySearch = () => this.#setFilter({ text: search.input.value });
    search.input.addEventListener(
      "input",
      debounce(() => this.grid.press.released().then(applySearch), SEARCH_DELAY_MS),
    );
    for (const filter of /** @type {JobFilter[]} */ (Object.keys(FILTERS))) {
      const attributes = { class: "ca-chip", type: "button", "aria-pressed": String(filter === this.#filter) };
      const choose = () => this.#setFilter({ filter });
      const chip = h("button", { ...attributes, onclick: choose }, t(`job.filters.${filter}`));
      this.#filterChips.set(filter, chip);
    }
    const filters = h("div", { class: "ca-filters", role: "group", "aria-label": t("job.filter") }, [
      ...this.#filterChips.values(),
    ]);
    this.cancelAll.hidden = this.clearEnded.hidden = true;
    return h(
      "div",
      { class: "ca-toolbar" },
      search.element,
      filters,
      h("div", { class: "ca-filters" }, this.cancelAll, this.clearEnded),
    );
  }

  /** @param {{ filter?: JobFilter, text?: string }} change */
  #setFilter({ filter = this.#filter, text = this.#text }) {
    this.#filter = filter;
    this.#text = text;
    for (const [each, chip] of this.#filterChips) setPressed(chip, each === filter);
    this.list.reset();
    this.grid.scrollToTop();
  }

  /** @param {PageRequest} request */
  async #load({ offset, limit, cursor, signal }) {
    /** @type {Record<string, string>} */
    const query = { sort_by: "state", limit: String(limit) };
    if (cursor) query.after = cursor;
    else query.offset = String(offset);
    if (this.#filter !== "all") query.status = FILTERS[this.#filter];
    if (this.#text.trim()) query.q = withinUrl(this.#text.trim());
    const { jobs, pagination } = await this.#context.client.get("/jobs", { query, signal });
    return { items: jobs, total: pagination.total, cursor: pagination.next_cursor };
  }

  /**
   * @param {JobRow} row
   * @param {number} index
   */
  #fillRow(row, index) {
    const job = this.list.at(index);
    fillRow(row, job, job && this.liveUpdates.progressOf(job.id), this.#context);
  }

  #onListChange() {
    showListOrPlaceholder(this, this.#context.t, () => this.#emptyPlaceholder());
    const jobs = this.list.loaded();
    this.cancelAll.hidden = !jobs.some(isActive);
    this.clearEnded.hidden = !jobs.some((job) => !isActive(job));
    this.liveUpdates.setRunning(jobs.filter((job) => job.status === "in_progress").map((job) => job.id));
  }

  #emptyPlaceholder() {
    const { t } = this.#context;
    const isFiltered = this.#filter !== "all" || this.#text.trim() !== "";
    return isFiltered
      ? emptyPlaceholder("search", t("job.nothingFound"))
      : emptyPlaceholder("history", t("job.none"), t("job.noneHint"));
  }

  async #clear() {
    if (await this.actions.clearEnded()) this.list.reset();
  }

  #listen() {
    const { element } = this.grid;
    element.addEventListener("click", (event) => this.#onClick(event));
    element.addEventListener("keydown", (event) => this.#onKeyDown(event));
    const refreshSoon = debounce(() => this.#refresh(), REFRESH_DELAY_MS);
    listenForChanges(this.#context.page, JOB_EVENTS, refreshSoon);
    this.liveUpdates.addEventListener("change", () => this.element.isConnected && this.grid.refresh());
  }

  /** @param {MouseEvent} event */
  #onClick({ target }) {
    const index = this.grid.indexOf(target);
    const action = target instanceof Element ? target.closest("[data-action]") : null;
    if (action instanceof HTMLElement) this.#act(action.dataset.action, index);
    else this.#open(index);
  }

  /**
   * @param {string | undefined} action
   * @param {number} index
   */
  #act(action, index) {
    const job = this.list.at(index);
    if (job === undefined) return;
    this.grid.activate(index);
    if (action === "cancel" && isActive(job)) this.actions.cancel(job);
    else if (action === "rerun") this.actions.rerun(job);
  }

  /** @param {number} index */
  #open(index) {
    const job = this.list.at(index);
    if (job === undefined) return;
    this.grid.activate(index);
    this.detail.drawer.open(job.id);
  }

  /** @param {KeyboardEvent} event */
  #onKeyDown(event) {
    const { active } = this.grid;
    const target = this.grid.keyTarget(event.key);
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (target !== null) this.grid.activate(target);
    else if (event.key === "Enter") this.#open(active);
    else if (event.key === "Delete") this.#act("cancel", active);
    else if (event.key === "r") this.#act("rerun", active);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Load the list again, at once or when the tab comes back into the page. */
  #refresh() {
    this.#isStale = !this.element.isConnected;
    if (this.#isStale) return;
    this.list.refresh();
    this.detail.drawer.refresh();
  }

  /**
   * Return a node's title, or its id until the job's graph is loaded.
   *
   * @param {Job} job
   * @param {string} node
   */
  #nodeTitle(job, node) {
    if (!this.#graphs.has(job.id)) {
      this.#graphs.clear(); // one job runs at a time
      this.#graphs.set(job.id, null);
      this.#fetchGraph(job.id);
    }
    return nodeTitle(this.#graphs.get(job.id), node);
  }

  /** @param {string} id */
  async #fetchGraph(id) {
    try {
      const { workflow } = await this.#context.client.get(`/jobs/${id}`);
      this.#graphs.set(id, workflow?.prompt ?? null);
      this.grid.refresh();
    } catch {
      // The ids of nodes remain.
    }
  }
}
