/** What the panel reads from a job. */

import * as format from "../shared/format.mjs";

const PREVIEW_PX = 128;

export const FILTERS = {
  all: "",
  active: "in_progress,pending",
  completed: "completed",
  failed: "failed",
  cancelled: "cancelled",
};

export function isActive(job) {
  return job.status === "pending" || job.status === "in_progress";
}

/** What to call it: the file it has made, or the beginning of its id. */
export function jobName(job, t) {
  return job.preview_output?.filename ?? t("job.name", { id: job.id.slice(0, 8) });
}

/** Milliseconds that it was executed, or null. */
export function executionTime(job) {
  const { execution_start_time: start, execution_end_time: end } = job;
  return start && end ? end - start : null;
}

/** The address of a small picture of what it has made, or null. */
export function previewUrl(page, job) {
  const { filename, subfolder = "", type = "output", mediaType = "images" } = job.preview_output ?? {};
  if (!filename || (mediaType !== "images" && mediaType !== "image")) return null;
  return page.url(`/view?${new URLSearchParams({ filename, subfolder, type, res: PREVIEW_PX })}`);
}

/** Its state, and when and how long, in a line. */
export function summary(job, { t, language }) {
  const parts = [format.time(job.create_time, language)];
  const time = executionTime(job);
  if (time !== null) parts.push(format.duration(time));
  if (job.outputs_count > 0) parts.push(t("job.outputs", { count: job.outputs_count }));
  return parts.join(" · ");
}

/** The graph that was executed, and the page's own form of it if it was sent along. */
export function jobGraphs(detail) {
  const { prompt, extra_data: extra = {} } = detail.workflow ?? {};
  return { prompt, workflow: extra.extra_pnginfo?.workflow, pngInfo: extra.extra_pnginfo };
}

/** A node's title, for people. */
export function nodeTitle(prompt, id) {
  const node = prompt?.[id];
  if (!node) return `#${id}`;
  return `${node._meta?.title ?? node.class_type} #${id}`;
}

/** Why it failed, as text to be sent to somebody who can help. */
export function errorText(error) {
  const traceback = Array.isArray(error.traceback) ? error.traceback.join("") : (error.traceback ?? "");
  return [`${error.exception_type}: ${error.exception_message}`, `${error.node_type} #${error.node_id}`, traceback]
    .join("\n");
}
