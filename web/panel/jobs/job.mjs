/** What the panel shows of a job, as pure functions. */

/** @import { ExecutionError, Job, JobDetail, Prompt } from "../api.d.ts" */
/** @import { PanelContext, Translate } from "../types.d.ts" */

import * as format from "../shared/format.mjs";

/** The API's `status` parameter by filter. */
export const FILTERS = {
  all: "",
  active: "in_progress,pending",
  completed: "completed",
  failed: "failed",
  cancelled: "cancelled",
};

/** @typedef {keyof typeof FILTERS} JobFilter */

/** @param {Job} job */
export function isActive(job) {
  return job.status === "pending" || job.status === "in_progress";
}

/**
 * Return a name for a job: that of its workflow, or of its output file, or a part of its id.
 *
 * @param {Job} job
 * @param {Translate} t
 */
export function jobName(job, t) {
  return job.workflow_name ?? job.preview_output?.filename ?? shortName(job, t);
}

/**
 * @param {Job} job
 * @param {Translate} t
 */
export function shortName(job, t) {
  return t("job.name", { id: job.id.slice(0, 8) });
}

/**
 * Return how long a job was executed, in milliseconds, or null.
 *
 * @param {Job} job
 */
export function executionTime({ execution_start_time: start, execution_end_time: end }) {
  return start && end ? end - start : null;
}

/**
 * Return one line about a job: its outputs, those that it lacks by now, how long it took, and when it was queued.
 *
 * @param {Job} job
 * @param {PanelContext} context
 */
export function summary(job, { t, language }) {
  const parts = [];
  if (job.outputs_count) parts.push(t("job.outputs", { count: job.outputs_count }));
  if (job.deleted_outputs_count) parts.push(t("job.deletedOutputs", { count: job.deleted_outputs_count }));
  const duration = executionTime(job);
  if (duration !== null) parts.push(format.duration(duration, language));
  parts.push(format.time(job.create_time, language)); // last, as a narrow panel cuts the end
  return format.line(parts, language);
}

/**
 * Return the graph that was executed, and the page's own form of it if the client sent it along.
 *
 * @param {JobDetail} job
 */
export function jobGraphs({ workflow: { prompt = {}, extra_data: extra } = {} }) {
  return { prompt, workflow: extra?.extra_pnginfo?.workflow, pngInfo: extra?.extra_pnginfo };
}

/**
 * Return a node's title and id, or only the id for a node that is not in the graph.
 *
 * @param {Prompt | null | undefined} prompt
 * @param {string} id
 */
export function nodeTitle(prompt, id) {
  const node = prompt?.[id];
  return node ? `${node._meta?.title ?? node.class_type} #${id}` : `#${id}`;
}

/** @param {ExecutionError} error */
export function tracebackText({ traceback = "" }) {
  return Array.isArray(traceback) ? traceback.join("") : traceback;
}

/**
 * Return an error with node and traceback as text, for a bug report.
 *
 * @param {ExecutionError} error
 */
export function errorText(error) {
  const title = `${error.exception_type}: ${error.exception_message}`;
  return [title, `${error.node_type} #${error.node_id}`, tracebackText(error)].join("\n");
}
