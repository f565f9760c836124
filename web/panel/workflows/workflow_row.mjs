/** A workflow in the list. */

/** @import { Workflow } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { h } from "../shared/dom.mjs";
import * as format from "../shared/format.mjs";
import { icon } from "../shared/icons.mjs";
import { outputThumbnail } from "../shared/output_thumbnail.mjs";
import { folderOf } from "./workflow_folders.mjs";

/** @typedef {HTMLDivElement & { parts: ReturnType<typeof createParts> }} WorkflowRow */

function createParts() {
  return {
    preview: h("img", { class: "ca-job-preview", alt: "", decoding: "async", draggable: "false" }),
    name: h("div", { class: "ca-name" }),
    summary: h("div", { class: "ca-summary" }),
    // No button: a row is an option of a list, which has no controls in it. The key F does the same.
    star: h("span", { class: "ca-workflow-star", dataset: { star: "" }, "aria-hidden": "true" }, icon("star")),
  };
}

/**
 * Create an empty row, to be filled again and again.
 *
 * @returns {WorkflowRow}
 */
export function createRow() {
  const parts = createParts();
  parts.preview.addEventListener("error", () => (parts.preview.hidden = true));
  const thumbnail = h(
    "div",
    { class: "ca-job-thumb" },
    h("span", { class: "ca-row-icon" }, icon("graph")),
    parts.preview,
  );
  const card = h("div", { class: "ca-card ca-workflow" }, thumbnail, parts.name, parts.summary, parts.star);
  return Object.assign(h("div", {}, card), { parts });
}

/**
 * Show a workflow in a row, or nothing while it is loading.
 *
 * @param {WorkflowRow} row
 * @param {Workflow | undefined} workflow
 * @param {PanelContext} context
 */
export function fillRow(row, workflow, context) {
  const { name, summary, preview, star } = row.parts;
  row.setAttribute("aria-selected", "false");
  name.textContent = workflow === undefined ? "" : (workflow.name ?? context.t("workflow.unnamed"));
  summary.textContent = workflow === undefined ? "" : summaryOf(workflow, context);
  const { t } = context;
  const isStarred = workflow?.starred === true;
  star.hidden = workflow === undefined || Boolean(workflow.deleted_at);
  star.classList.toggle("ca-on", isStarred);
  star.title = t(isStarred ? "workflow.unstar" : "workflow.star");
  const facts = [name.textContent, isStarred && t("workflow.starred"), summary.textContent];
  row.setAttribute("aria-label", facts.filter(Boolean).join(", "));
  row.setAttribute("aria-keyshortcuts", "F");
  outputThumbnail(context.page, preview, workflow?.preview_output);
}

/**
 * @param {Workflow} workflow
 * @param {PanelContext} context
 */
function summaryOf(workflow, { t, language }) {
  if (workflow.deleted_at) return t("workflow.deletedAt", { time: format.time(workflow.deleted_at, language) });
  const time = format.time(workflow.updated_at, language);
  return format.line([folderOf(workflow), t("workflow.summary", { number: workflow.latest_version, time })], language);
}
