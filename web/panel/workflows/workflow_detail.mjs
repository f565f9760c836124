/** One workflow in detail: its versions, what changed between them, and publishing. */

import { h, setChildren } from "../shared/dom.mjs";
import { button, iconButton } from "../shared/buttons.mjs";
import { Drawer } from "../shared/drawer.mjs";
import * as format from "../shared/format.mjs";
import { errorPlaceholder, loadingPlaceholder } from "../shared/placeholders.mjs";
import { diffView } from "./diff_view.mjs";
import { PublishSection } from "./publish_section.mjs";

const MAX_VERSIONS = 100;

export class WorkflowDetail {
  #context;
  #actions;

  constructor(context, actions, closed) {
    this.#context = context;
    this.#actions = actions;
    this.drawer = new Drawer(context.t, context.t("workflow.title"), (id) => this.#load(id), closed);
    this.element = this.drawer.element;
  }

  async #load(id) {
    const { client } = this.#context;
    const [workflow, versions, content] = await Promise.all([
      client.get(`/workflows/${id}`),
      client.get(`/workflows/${id}/versions`, { query: { limit: MAX_VERSIONS } }),
      client.get(`/workflows/${id}/content`),
    ]);
    return this.#content(workflow, versions.data, content);
  }

  #content(workflow, versions, content) {
    const { t } = this.#context;
    const publishing = new PublishSection(this.#context, workflow);
    publishing.show(content.dependency_asset_ids ?? []);
    const { workflow_json: graph } = content;
    const count = (Array.isArray(graph.nodes) ? graph.nodes : Object.keys(graph)).length;
    return [
      this.#title(workflow),
      h("p", { class: "ca-muted" }, t("workflow.nodes", { count })),
      workflow.description && h("p", { class: "ca-text" }, workflow.description),
      h(
        "div",
        { class: "ca-actions" },
        button("graph", t("workflow.open"), () => this.#actions.open(workflow, workflow.latest_version), {
          kind: "ca-primary",
        }),
        this.#context.page.currentGraph !== null &&
          button("upload", t("workflow.saveVersion"), () => this.#refreshAfter(this.#actions.saveVersion(workflow))),
        this.#deleteButton(workflow),
      ),
      h("section", { class: "ca-section" }, h("h4", {}, t("workflow.versions")), this.#versions(workflow, versions)),
      publishing.element,
    ];
  }

  #title(workflow) {
    const { t } = this.#context;
    const title = h("h3", { class: "ca-detail-name" }, workflow.name ?? t("workflow.unnamed"));
    const rename = () => {
      const input = h("input", {
        class: "ca-input",
        type: "text",
        value: workflow.name ?? "",
        "aria-label": t("workflow.name"),
      });
      const save = async () => {
        input.replaceWith(title);
        const name = input.value.trim();
        if (name !== "" && name !== workflow.name) await this.#refreshAfter(this.#actions.rename(workflow, name));
      };
      input.addEventListener("blur", save, { once: true });
      input.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== "Escape") return;
        if (event.key === "Escape") input.value = workflow.name ?? "";
        event.preventDefault();
        event.stopPropagation();
        this.element.focus({ preventScroll: true });
      });
      title.replaceWith(input);
      input.select();
    };
    return h("div", { class: "ca-detail-title" }, title, iconButton("edit", t("asset.rename"), rename));
  }

  /** Deleting asks once more, in place; the notice that follows takes it back. */
  #deleteButton(workflow) {
    const { t } = this.#context;
    const remove = async () => {
      if (await this.#actions.remove(workflow)) this.drawer.close();
    };
    const ask = button("trash", t("asset.delete"), () => {
      const sure = button("trash", t("workflow.reallyDelete"), remove, { kind: "ca-danger" });
      ask.replaceWith(sure);
      sure.focus();
      sure.addEventListener("blur", () => sure.replaceWith(ask));
    }, { kind: "ca-danger" });
    return ask;
  }

  #versions(workflow, versions) {
    const { t } = this.#context;
    const list = h("ol", { class: "ca-versions" });
    for (const [index, version] of versions.entries()) {
      const previous = versions[index + 1];
      list.append(h("li", { class: "ca-version" }, this.#version(workflow, version, previous)));
    }
    return versions.length > 0 ? list : h("p", { class: "ca-muted" }, t("workflow.noVersions"));
  }

  #version(workflow, { version: number, created_at: created }, previous) {
    const { t, language } = this.#context;
    const isLatest = number === workflow.latest_version;
    const body = h("div");
    const compare = button(
      "compare",
      t("workflow.compare"),
      () => this.#toggleDiff(compare, body, workflow, number, previous?.version),
    );
    compare.setAttribute("aria-expanded", "false");
    return [
      h(
        "div",
        { class: "ca-version-header" },
        h("strong", {}, t("workflow.version", { number })),
        h("span", { class: "ca-muted" }, format.time(created, language)),
      ),
      h(
        "div",
        { class: "ca-version-tools" },
        previous && compare,
        iconButton("graph", t("workflow.openVersion", { number }), () => this.#actions.open(workflow, number)),
        iconButton("copy", t("workflow.fork", { number }), () => this.#actions.fork(workflow, number)),
        !isLatest &&
          iconButton(
            "undo",
            t("workflow.restore", { number }),
            () => this.#refreshAfter(this.#actions.restore(workflow, number)),
          ),
      ),
      body,
    ];
  }

  async #toggleDiff(toggle, body, workflow, number, previous) {
    const isOpen = toggle.getAttribute("aria-expanded") === "true";
    toggle.setAttribute("aria-expanded", String(!isOpen));
    if (isOpen) {
      body.replaceChildren();
      return;
    }
    const { client, t } = this.#context;
    setChildren(body, loadingPlaceholder(t));
    try {
      const versions = [previous, number].map((each) => client.get(`/workflows/${workflow.id}/versions/${each}`));
      const [before, after] = await Promise.all(versions);
      setChildren(body, diffView(this.#context, before.workflow_json, after.workflow_json));
    } catch (error) {
      const retry = () => {
        toggle.setAttribute("aria-expanded", "false");
        this.#toggleDiff(toggle, body, workflow, number, previous);
      };
      setChildren(body, errorPlaceholder(t, error, retry));
    }
  }

  /** Show it anew when a change was made, and when it was refused: somebody else may have saved meanwhile. */
  async #refreshAfter(request) {
    await request;
    await this.drawer.refresh();
  }
}
