/** One workflow in detail: its versions, their differences, and publishing. */

/** @import { Graph, Workflow, WorkflowContent, WorkflowVersion } from "../api.d.ts" */
/** @import { Child } from "../shared/dom.mjs" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { WorkflowActions } from "./workflow_actions.mjs" */

import { h, setChildren } from "../shared/dom.mjs";
import { button, iconButton, setPressed } from "../shared/buttons.mjs";
import { confirmButton } from "../shared/confirm_button.mjs";
import { Drawer } from "../shared/drawer.mjs";
import { editInPlace } from "../shared/edit_in_place.mjs";
import * as format from "../shared/format.mjs";
import { errorPlaceholder, loadingPlaceholder } from "../shared/placeholders.mjs";
import { exportBundle } from "./bundle_dialog.mjs";
import { diffView } from "./diff_view.mjs";
import { isPageGraph, typesWithUnnamedWidgets, widgetsOf } from "./graph_diff.mjs";
import { PublishSection } from "./publish_section.mjs";
import { RequirementsSection } from "./requirements_section.mjs";
import { folderOf } from "./workflow_folders.mjs";

const MAX_VERSIONS = 100;
const MAX_TYPES = 50; // of nodes, each of which is a request

export class WorkflowDetail {
  #context;
  #actions;

  /**
   * @param {PanelContext} context
   * @param {WorkflowActions} actions
   * @param {() => void} onClose
   */
  constructor(context, actions, onClose) {
    this.#context = context;
    this.#actions = actions;
    this.drawer = new Drawer(context.t, context.t("workflow.title"), (id) => this.#load(id), onClose);
    this.element = this.drawer.element;
  }

  /** @param {string} id */
  async #load(id) {
    const { client } = this.#context;
    const [workflow, versions, content] = await Promise.all([
      client.get(`/workflows/${id}`),
      client.get(`/workflows/${id}/versions`, { query: { limit: String(MAX_VERSIONS) } }),
      client.get(`/workflows/${id}/content`),
    ]);
    return this.#content(workflow, versions.data, content);
  }

  /**
   * @param {Workflow} workflow
   * @param {WorkflowVersion[]} versions newest first
   * @param {WorkflowContent} content of the latest version
   * @returns {Child[]}
   */
  #content(workflow, versions, content) {
    const { t, page } = this.#context;
    const publishSection = new PublishSection(this.#context, workflow);
    publishSection.show(content.dependency_asset_ids ?? []);
    const requirements = new RequirementsSection(this.#context, this.#actions, workflow, () => this.drawer.refresh());
    requirements.show();
    const { workflow_json: graph } = content;
    const count = isPageGraph(graph) ? graph.nodes.length : Object.keys(graph).length;
    const open = () => this.#actions.open(workflow, graph);
    const saveVersion = () => this.#refreshAfter(this.#actions.saveVersion(workflow));
    return [
      this.#title(workflow),
      h("p", { class: "ca-muted" }, [folderOf(workflow), t("workflow.nodes", { count })].filter(Boolean).join(" · ")),
      workflow.description && h("p", { class: "ca-text" }, workflow.description),
      h(
        "div",
        { class: "ca-actions" },
        button("graph", t("workflow.open"), open, { kind: "ca-primary" }),
        page.currentGraph !== null && button("upload", t("workflow.saveVersion"), saveVersion),
        button("download", t("bundle.exportButton"), () => exportBundle(this.#context, workflow)),
        this.#deleteButton(workflow),
      ),
      publishSection.linkElement,
      requirements.element,
      h(
        "section",
        { class: "ca-section" },
        h("h4", {}, t("workflow.versions")),
        this.#versions(workflow, versions, graph),
      ),
      publishSection.element,
    ];
  }

  /**
   * @param {Workflow} workflow
   * @returns {HTMLElement}
   */
  #title(workflow) {
    const { t } = this.#context;
    const title = h("h3", { class: "ca-detail-name" }, workflow.name ?? t("workflow.unnamed"));
    const rename = () =>
      editInPlace(title, {
        label: t("workflow.name"),
        value: workflow.name ?? "",
        focusAfter: this.element,
        save: (name) => this.#refreshAfter(this.#actions.rename(workflow, name)),
      });
    const star = iconButton(
      "star",
      t(workflow.starred ? "workflow.unstar" : "workflow.star"),
      () => this.#refreshAfter(this.#actions.star(workflow)),
      { class: `ca-icon-button ca-star-button${workflow.starred ? " ca-on" : ""}` },
    );
    setPressed(star, workflow.starred);
    return h("div", { class: "ca-detail-title" }, title, star, iconButton("edit", t("asset.rename"), rename));
  }

  /**
   * Create the delete button. The first click replaces it with one that asks.
   *
   * @param {Workflow} workflow
   */
  #deleteButton(workflow) {
    const { t } = this.#context;
    const remove = async () => {
      if (await this.#actions.remove(workflow)) this.drawer.close();
    };
    return confirmButton("trash", t("workflow.delete"), { ask: () => t("workflow.reallyDelete"), action: remove });
  }

  /**
   * @param {Workflow} workflow
   * @param {WorkflowVersion[]} versions
   * @param {Graph} graph the latest version
   */
  #versions(workflow, versions, graph) {
    if (versions.length === 0) return h("p", { class: "ca-muted" }, this.#context.t("workflow.noVersions"));
    const items = versions.map((version, index) =>
      h("li", { class: "ca-version" }, this.#version(workflow, version, versions[index + 1], graph))
    );
    return h("ol", { class: "ca-versions" }, items);
  }

  /**
   * @param {Workflow} workflow
   * @param {WorkflowVersion} version
   * @param {WorkflowVersion | undefined} previous
   * @param {Graph} graph the latest version
   */
  #version(workflow, { version: number, created_at: created }, previous, graph) {
    const { t, language } = this.#context;
    const isLatest = number === workflow.latest_version;
    const open = () => isLatest ? this.#actions.open(workflow, graph) : this.#actions.openVersion(workflow, number);
    const fork = () => this.#actions.fork(workflow, number);
    const restore = () => this.#refreshAfter(this.#actions.restore(workflow, number));
    const diff = h("div");
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
        previous && this.#diffToggle(workflow, previous.version, number, diff),
        iconButton("graph", t("workflow.openVersion", { number }), open),
        iconButton("copy", t("workflow.fork", { number }), fork),
        !isLatest && iconButton("undo", t("workflow.restore", { number }), restore),
      ),
      diff,
    ];
  }

  /**
   * Create the button that shows or hides the difference between two versions.
   *
   * @param {Workflow} workflow
   * @param {number} before
   * @param {number} after
   * @param {HTMLElement} container
   */
  #diffToggle(workflow, before, after, container) {
    const { t } = this.#context;
    const toggle = button("compare", t("workflow.compare"), () => {
      const isOpen = toggle.getAttribute("aria-expanded") !== "true";
      toggle.setAttribute("aria-expanded", String(isOpen));
      if (isOpen) this.#showDiff(workflow, before, after, container);
      else container.replaceChildren();
    });
    toggle.setAttribute("aria-expanded", "false");
    return toggle;
  }

  /**
   * @param {Workflow} workflow
   * @param {number} before
   * @param {number} after
   * @param {HTMLElement} container
   */
  async #showDiff(workflow, before, after, container) {
    const { client, t } = this.#context;
    const path = /** @type {const} */ (`/workflows/${workflow.id}/versions`);
    setChildren(container, loadingPlaceholder(t));
    try {
      const versions = [client.get(`${path}/${before}`), client.get(`${path}/${after}`)];
      const [{ workflow_json: old }, { workflow_json: current }] = await Promise.all(versions);
      const names = await this.#fetchWidgetNames([old, current]);
      setChildren(container, diffView(this.#context, old, current, names));
    } catch (error) {
      const retry = () => this.#showDiff(workflow, before, after, container);
      setChildren(container, errorPlaceholder(t, error, retry));
    }
  }

  /**
   * Return the names of the widgets of nodes whose graphs do not name them. Nodes that are not installed have none.
   *
   * @param {Graph[]} graphs
   */
  async #fetchWidgetNames(graphs) {
    const types = [...new Set(graphs.flatMap(typesWithUnnamedWidgets))].slice(0, MAX_TYPES);
    const found = await Promise.allSettled(
      types.map((type) => this.#context.client.get(`/object_info/${encodeURIComponent(type)}`)),
    );
    return new Map(found.map((result, index) => {
      const type = types[index];
      return [type, result.status === "fulfilled" ? widgetsOf(result.value?.[type]) : []];
    }));
  }

  /**
   * Load the workflow again after a change, even a failed one: another client may have saved a version.
   *
   * @param {Promise<unknown>} change
   */
  async #refreshAfter(change) {
    await change;
    await this.drawer.refresh();
  }
}
