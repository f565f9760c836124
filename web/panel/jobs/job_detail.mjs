/** One job in detail: its state, its outputs, and why it failed. */

/** @import { Asset, ExecutionError, JobDetail as JobBody } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { JobActions } from "./job_actions.mjs" */

import { h } from "../shared/dom.mjs";
import { button } from "../shared/buttons.mjs";
import { copyText } from "../shared/clipboard.mjs";
import { Drawer } from "../shared/drawer.mjs";
import * as format from "../shared/format.mjs";
import { icon } from "../shared/icons.mjs";
import { mediaKind, thumbnailUrl } from "../library/asset.mjs";
import { errorText, executionTime, isActive, jobGraphs, jobName, nodeTitle, tracebackText } from "./job.mjs";

export class JobDetail {
  #context;
  #actions;

  /**
   * @param {PanelContext} context
   * @param {JobActions} actions
   * @param {() => void} onClose
   */
  constructor(context, actions, onClose) {
    this.#context = context;
    this.#actions = actions;
    this.drawer = new Drawer(context.t, context.t("job.title"), (id) => this.#load(id), onClose);
    this.element = this.drawer.element;
  }

  /** @param {string} id */
  async #load(id) {
    const { client } = this.#context;
    const [job, outputs] = await Promise.all([client.get(`/jobs/${id}`), client.get(`/jobs/${id}/assets`)]);
    return this.#content(job, outputs.assets);
  }

  /**
   * @param {JobBody} job
   * @param {Asset[]} outputs
   */
  #content(job, outputs) {
    const { t } = this.#context;
    return [
      h("div", { class: "ca-detail-title" }, h("h3", { class: "ca-detail-name" }, jobName(job, t))),
      h("div", { dataset: { state: job.status } }, h("span", { class: "ca-badge" }, t(`job.state.${job.status}`))),
      h(
        "div",
        { class: "ca-actions" },
        isActive(job) && button("stop", t("job.cancel"), () => this.#actions.cancel(job), { kind: "ca-danger" }),
        button("graph", t("job.openWorkflow"), () => this.#actions.openWorkflow(job), {
          kind: isActive(job) ? "" : "ca-primary",
        }),
        button("refresh", t("job.rerun"), () => this.#actions.rerun(job)),
      ),
      job.workflow_id && job.workflow_name && this.#workflow(job.workflow_id, job.workflow_name),
      job.prompt_text && h("p", { class: "ca-text" }, job.prompt_text),
      job.execution_error && this.#error(job, job.execution_error),
      this.#outputs(job, outputs),
      this.#properties(job),
    ];
  }

  /**
   * @param {JobBody} job
   * @param {ExecutionError} error
   */
  #error(job, error) {
    const { t } = this.#context;
    const copy = () => copyText(this.#context, errorText(error), t("job.errorCopied"));
    const traceback = tracebackText(error);
    const label = t("job.traceback");
    return h(
      "section",
      { class: "ca-section ca-error" },
      h("h4", {}, t("job.failedIn", { node: nodeTitle(jobGraphs(job).prompt, error.node_id) })),
      h("p", { class: "ca-error-type" }, error.exception_type),
      h("p", {}, error.exception_message),
      traceback !== "" && h("pre", { class: "ca-document", tabindex: "0", "aria-label": label }, traceback),
      button("copy", t("job.copyError"), copy),
    );
  }

  /**
   * @param {string} id
   * @param {string} name
   */
  #workflow(id, name) {
    const { t, openWorkflow } = this.#context;
    const open = () => openWorkflow(id);
    const link = h("button", { class: "ca-link", type: "button", title: t("job.showWorkflow"), onclick: open }, name);
    return h("p", {}, h("span", { class: "ca-muted" }, `${t("workflow.title")}: `), link);
  }

  /**
   * @param {JobBody} job
   * @param {Asset[]} outputs
   */
  #outputs(job, outputs) {
    const { t } = this.#context;
    const deleted = job.deleted_outputs_count ?? 0;
    if (outputs.length === 0 && deleted === 0) return null;
    return h(
      "section",
      { class: "ca-section" },
      h("h4", {}, t("job.outputs", { count: outputs.length + deleted })),
      h("ul", { class: "ca-outputs" }, outputs.map((asset) => h("li", {}, this.#output(asset, job.id)))),
      deleted > 0 && h("p", { class: "ca-muted" }, t("job.outputsInTrash", { count: deleted })),
    );
  }

  /**
   * @param {Asset} asset
   * @param {string} jobId
   */
  #output(asset, jobId) {
    const { page, openAsset, openJob } = this.#context;
    const url = thumbnailUrl(page, asset);
    const content = url === null ? icon(mediaKind(asset)) : h("img", { src: url, alt: "", decoding: "async" });
    const attributes = { class: "ca-output", type: "button", title: asset.name, "aria-label": asset.name };
    return h("button", { ...attributes, onclick: () => openAsset(asset.id, () => openJob(jobId)) }, content);
  }

  /** @param {JobBody} job */
  #properties(job) {
    const { t, language } = this.#context;
    const { create_time: created, execution_start_time: started } = job;
    const duration = executionTime(job);
    /** @type {[term: string, value: string | number | null][]} */
    const rows = [
      [t("job.created"), format.time(created, language)],
      [t("job.waitingTime"), started ? format.duration(started - created, language) : null],
      [t("job.executionTime"), duration === null ? null : format.duration(duration, language)],
      [t("job.nodes"), Object.keys(jobGraphs(job).prompt).length],
      [t("job.id"), job.id],
    ];
    const terms = rows.filter(([, value]) => value).map(([term, value]) =>
      h("div", { class: "ca-property" }, h("dt", {}, term), h("dd", {}, String(value)))
    );
    return h("section", { class: "ca-section" }, h("h4", {}, t("detail.properties")), h("dl", {}, terms));
  }
}
