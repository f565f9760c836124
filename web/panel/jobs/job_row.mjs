/** A job in the list. */

import { h } from "../shared/dom.mjs";
import { icon } from "../shared/icons.mjs";
import { jobName, previewUrl, summary } from "./job.mjs";

const ICONS = { pending: "history", in_progress: "play", completed: "check", failed: "warning", cancelled: "stop" };

/** An empty row; it is filled again and again. */
export function createRow() {
  const parts = {
    icon: h("span", { class: "ca-row-icon" }),
    preview: h("img", { class: "ca-job-preview", alt: "", decoding: "async", draggable: "false" }),
    name: h("div", { class: "ca-name" }),
    summary: h("div", { class: "ca-summary" }),
    state: h("span", { class: "ca-badge" }),
    bar: h("progress", { max: "1", "aria-hidden": "true" }),
  };
  parts.preview.addEventListener("error", () => (parts.preview.hidden = true));
  const thumb = h("div", { class: "ca-job-thumb" }, parts.icon, parts.preview);
  const row = h(
    "div",
    {},
    h("div", { class: "ca-card ca-job" }, thumb, parts.name, parts.state, parts.summary, parts.bar),
  );
  row.parts = parts;
  return row;
}

/** Show a job; `progress` is how far it is, if that is known. */
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
  if (progress?.max > 0) parts.bar.value = progress.value / progress.max;
  else parts.bar.removeAttribute("value");
}

function progressText(job, progress, context) {
  if (job.status !== "in_progress" || !progress?.node) return summary(job, context);
  const { t } = context;
  const step = progress.max > 1 ? t("job.step", { value: Math.round(progress.value), max: progress.max }) : "";
  return [context.nodeTitle(job, progress.node), step].filter(Boolean).join(" · ");
}

function showPreview(preview, url) {
  preview.hidden = url === null;
  if (preview.getAttribute("src") === url) return;
  if (url === null) preview.removeAttribute("src");
  else preview.src = url;
}
