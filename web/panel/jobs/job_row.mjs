/** A job in the list. */

/** @import { Job, JobStatus } from "../api.d.ts" */
/** @import { IconName } from "../shared/icons.mjs" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { Progress } from "./live_updates.mjs" */

import { h } from "../shared/dom.mjs";
import { icon } from "../shared/icons.mjs";
import { outputThumbnail } from "../shared/output_thumbnail.mjs";
import { isActive, jobName, summary } from "./job.mjs";

/** @type {Record<JobStatus, IconName>} */
const ICONS = { pending: "history", in_progress: "play", completed: "check", failed: "warning", cancelled: "stop" };

/** @typedef {HTMLDivElement & { parts: ReturnType<typeof createParts> }} JobRow */

/** @typedef {PanelContext & { nodeTitle: (job: Job, node: string) => string }} RowContext */

function createParts() {
  return {
    icon: h("span", { class: "ca-row-icon" }),
    preview: h("img", { class: "ca-job-preview", alt: "", decoding: "async", draggable: "false" }),
    name: h("div", { class: "ca-name" }),
    prompt: h("div", { class: "ca-summary ca-job-prompt" }),
    summary: h("div", { class: "ca-summary ca-job-summary" }),
    state: h("span", { class: "ca-badge" }),
    cancel: rowAction("cancel", "stop"),
    rerun: rowAction("rerun", "refresh"),
    bar: h("progress", { max: "1", "aria-hidden": "true" }),
  };
}

/**
 * Create what does something with a row's job when it is clicked. No button: a row is an option of a list, which has no
 * controls in it. Keys do the same.
 *
 * @param {string} action
 * @param {IconName} iconName
 */
function rowAction(action, iconName) {
  return h("span", { class: "ca-row-action", dataset: { action }, "aria-hidden": "true" }, icon(iconName));
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
  const actions = h("div", { class: "ca-row-actions" }, parts.cancel, parts.rerun);
  const texts = h("div", { class: "ca-job-texts" }, parts.prompt, parts.summary);
  const card = h("div", { class: "ca-card ca-job" }, thumbnail, name, state, texts, bar, actions);
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
    parts.name.textContent =
      parts.prompt.textContent =
      parts.summary.textContent =
      parts.state.textContent =
        "";
    parts.preview.hidden =
      parts.bar.hidden =
      parts.cancel.hidden =
      parts.rerun.hidden =
        true;
    return;
  }
  const state = t(`job.state.${job.status}`);
  row.dataset.state = job.status;
  parts.name.textContent = jobName(job, t);
  parts.state.textContent = state;
  parts.summary.textContent = job.execution_error?.exception_message?.trim() || progressText(job, progress, context);
  parts.prompt.textContent = job.prompt_text ?? "";
  parts.prompt.title = job.prompt_text ?? "";
  parts.icon.replaceChildren(icon(ICONS[job.status]));
  const facts = [jobName(job, t), state, job.prompt_text, parts.summary.textContent];
  row.setAttribute("aria-label", facts.filter(Boolean).join(", "));
  row.setAttribute("aria-keyshortcuts", isActive(job) ? "Delete R" : "R");
  parts.cancel.hidden = !isActive(job);
  parts.rerun.hidden = false;
  parts.cancel.title = t("job.cancel");
  parts.rerun.title = t("job.rerun");
  outputThumbnail(page, parts.preview, job.preview_output);
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
