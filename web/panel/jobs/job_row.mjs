/** A job in the list. */

/** @import { Job, JobStatus } from "../api.d.ts" */
/** @import { IconName } from "../shared/icons.mjs" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { Progress } from "./live_updates.mjs" */

import { h } from "../shared/dom.mjs";
import { icon } from "../shared/icons.mjs";
import { jobName, previewUrl, summary } from "./job.mjs";

/** @type {Record<JobStatus, IconName>} */
const ICONS = { pending: "history", in_progress: "play", completed: "check", failed: "warning", cancelled: "stop" };

/** @typedef {HTMLDivElement & { parts: ReturnType<typeof createParts> }} JobRow */

/** @typedef {PanelContext & { nodeTitle: (job: Job, node: string) => string }} RowContext */

function createParts() {
  return {
    icon: h("span", { class: "ca-row-icon" }),
    preview: h("img", { class: "ca-job-preview", alt: "", decoding: "async", draggable: "false" }),
    name: h("div", { class: "ca-name" }),
    summary: h("div", { class: "ca-summary" }),
    state: h("span", { class: "ca-badge" }),
    bar: h("progress", { max: "1", "aria-hidden": "true" }),
  };
}

/**
 * Create an empty row, to be filled again and again.
 *
 * @returns {JobRow}
 */
export function createRow() {
  const parts = createParts();
  const { preview, name, state, bar } = parts;
  preview.addEventListener("error", () => (preview.hidden = true));
  const thumbnail = h("div", { class: "ca-job-thumb" }, parts.icon, preview);
  const card = h("div", { class: "ca-card ca-job" }, thumbnail, name, state, parts.summary, bar);
  return Object.assign(h("div", {}, card), { parts });
}

/**
 * Show a job in a row, or nothing while it is loading.
 *
 * @param {JobRow} row
 * @param {Job | undefined} job
 * @param {Progress | undefined} progress
 * @param {RowContext} context
 */
export function fillRow(row, job, progress, context) {
  const { t, page } = context;
  const { parts } = row;
  row.setAttribute("aria-selected", "false");
  if (job === undefined) {
    row.removeAttribute("aria-label");
    parts.name.textContent = parts.summary.textContent = parts.state.textContent = "";
    parts.preview.hidden = parts.bar.hidden = true;
    return;
  }
  const state = t(`job.state.${job.status}`);
  row.dataset.state = job.status;
  parts.name.textContent = jobName(job, t);
  parts.state.textContent = state;
  parts.summary.textContent = job.execution_error?.exception_message?.trim() || progressText(job, progress, context);
  parts.icon.replaceChildren(icon(ICONS[job.status]));
  row.setAttribute("aria-label", `${jobName(job, t)}, ${state}, ${parts.summary.textContent}`);
  showPreview(parts.preview, previewUrl(page, job));
  parts.bar.hidden = job.status !== "in_progress";
  if (progress?.max) parts.bar.value = (progress.value ?? 0) / progress.max;
  else parts.bar.removeAttribute("value"); // shows that it runs, but not how far it is
}

/**
 * @param {Job} job
 * @param {Progress | undefined} progress
 * @param {RowContext} context
 */
function progressText(job, progress, context) {
  if (job.status !== "in_progress" || !progress?.node) return summary(job, context);
  const { value = 0, max = 0 } = progress;
  const step = max > 1 ? context.t("job.step", { value: Math.round(value), max }) : "";
  return [context.nodeTitle(job, progress.node), step].filter(Boolean).join(" · ");
}

/**
 * @param {HTMLImageElement} preview
 * @param {string | null} url
 */
function showPreview(preview, url) {
  preview.hidden = url === null;
  if (preview.getAttribute("src") === url) return; // the same image would be decoded again
  if (url === null) preview.removeAttribute("src");
  else preview.src = url;
}
