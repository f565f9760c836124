/** One job in detail: its state, what it has made, why it failed. */

import { h } from "../shared/dom.mjs";
import { button } from "../shared/buttons.mjs";
import { Drawer } from "../shared/drawer.mjs";
import * as format from "../shared/format.mjs";
import { icon } from "../shared/icons.mjs";
import { mediaKind, thumbnailUrl } from "../library/asset.mjs";
import { errorText, executionTime, isActive, jobGraphs, jobName, nodeTitle } from "./job.mjs";

export class JobDetail {
  #context;
  #actions;

  constructor(context, actions, closed) {
    this.#context = context;
    this.#actions = actions;
    this.drawer = new Drawer(context.t, context.t("job.title"), (id) => this.#load(id), closed);
    this.element = this.drawer.element;
  }

  async #load(id) {
    const { client } = this.#context;
    const [job, outputs] = await Promise.all([client.get(`/jobs/${id}`), client.get(`/jobs/${id}/assets`)]);
    return this.#content(job, outputs.assets);
  }

  #content(job, outputs) {
    const { t } = this.#context;
    return [
      h("div", { class: "ca-detail-title" }, h("h3", { class: "ca-detail-name" }, jobName(job, t))),
      h("div", { dataset: { state: job.status } }, h("span", { class: "ca-badge" }, t(`job.state.${job.status}`))),
      h(
        "div",
        { class: "ca-actions" },
        isActive(job) && button("stop", t("job.cancel"), () => this.#actions.cancel(job), { kind: "ca-danger" }),
        button("graph", t("job.load"), () => this.#actions.load(job), { kind: isActive(job) ? "" : "ca-primary" }),
        button("refresh", t("job.rerun"), () => this.#actions.rerun(job)),
      ),
      job.execution_error && this.#error(job),
      outputs.length > 0 && this.#outputs(outputs),
      this.#properties(job),
    ];
  }

  #error(job) {
    const { t, notifications } = this.#context;
    const { execution_error: error } = job;
    const copy = async () => {
      await navigator.clipboard.writeText(errorText(error));
      notifications.show(t("job.errorCopied"));
    };
    const traceback = Array.isArray(error.traceback) ? error.traceback.join("") : error.traceback;
    return h(
      "section",
      { class: "ca-section ca-error" },
      h("h4", {}, t("job.failedIn", { node: nodeTitle(jobGraphs(job).prompt, error.node_id) })),
      h("p", { class: "ca-error-type" }, error.exception_type),
      h("p", {}, error.exception_message),
      traceback && h("pre", { class: "ca-document", tabindex: "0", "aria-label": t("job.traceback") }, traceback),
      button("copy", t("job.copyError"), copy),
    );
  }

  #outputs(outputs) {
    const { t } = this.#context;
    const strip = outputs.map((asset) => h("li", {}, this.#output(asset)));
    return h(
      "section",
      { class: "ca-section" },
      h("h4", {}, t("job.outputs", { count: outputs.length })),
      h("ul", { class: "ca-outputs" }, strip),
    );
  }

  #output(asset) {
    const { page, openAsset } = this.#context;
    const url = thumbnailUrl(page, asset);
    const content = url === null ? icon(mediaKind(asset)) : h("img", { src: url, alt: "", decoding: "async" });
    const about = { class: "ca-output", type: "button", title: asset.name, "aria-label": asset.name };
    return h("button", { ...about, onclick: () => openAsset(asset.id) }, content);
  }

  #properties(job) {
    const { t, language } = this.#context;
    const time = executionTime(job);
    const rows = [
      [t("job.created"), format.time(job.create_time, language)],
      [t("job.waitingTime"), job.execution_start_time && format.duration(job.execution_start_time - job.create_time)],
      [t("job.executionTime"), time !== null && format.duration(time)],
      [t("job.nodes"), Object.keys(jobGraphs(job).prompt ?? {}).length],
      [t("job.id"), job.id],
    ];
    const known = rows.filter(([, value]) => value);
    const row = ([term, value]) => h("div", { class: "ca-property" }, h("dt", {}, term), h("dd", {}, String(value)));
    return h("section", { class: "ca-section" }, h("h4", {}, t("detail.properties")), h("dl", {}, known.map(row)));
  }
}
