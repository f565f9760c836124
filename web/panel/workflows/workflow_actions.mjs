/** What a user can do with saved workflows. */

/** @import { Graph, Workflow, WorkflowVersion } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { withoutIsolates } from "../shared/format.mjs";
import { isPageGraph } from "./graph_diff.mjs";

/** Query of requests for lists and new workflows, which another application on the server may serve as well. */
export const PROVIDER = { provider: "comfy-assets" };

/** Each method returns the body of the response, or null after a failure, for which it shows a notification. */
export class WorkflowActions {
  #context;
  #onChange;

  /**
   * @param {PanelContext} context
   * @param {() => void} onChange
   */
  constructor(context, onChange) {
    this.#context = context;
    this.#onChange = onChange;
  }

  /** Save the open graph as a new workflow. */
  saveNew() {
    return this.#try("workflow.saveFailed", async ({ client, page, notifications, t }) => {
      const name = page.currentName() ?? t("workflow.unnamed");
      const body = { name, workflow_json: await this.#openGraph() };
      const saved = await client.request("POST", "/workflows", { query: PROVIDER, body });
      notifications.show(t("workflow.saved", { name }));
      return saved;
    });
  }

  /**
   * Save the open graph as the next version of a workflow.
   *
   * @param {Workflow} workflow
   */
  saveVersion(workflow) {
    return this.#try("workflow.saveFailed", async () => this.#addVersion(workflow, await this.#openGraph()));
  }

  /**
   * Restore an older version: as a new one, so that nothing is lost.
   *
   * @param {Workflow} workflow
   * @param {number} number
   */
  restore(workflow, number) {
    return this.#try("workflow.restoreFailed", async ({ notifications, t }) => {
      const { workflow_json: graph } = await this.#fetchVersion(workflow, number);
      const saved = await this.#addVersion(workflow, graph);
      notifications.show(t("workflow.restored", { number, latest: saved.version }));
      return saved;
    });
  }

  /**
   * Save a version that names files as the library has them, and offer to undo it.
   *
   * @param {Workflow} workflow
   * @param {{ name: string, category?: string, asset_id: string }[]} links
   * @param {() => unknown} onUndo called after the version before was restored
   */
  relink(workflow, links, onUndo) {
    return this.#try("requirements.relinkFailed", async ({ client, notifications, t }) => {
      const { id, latest_version: before } = workflow;
      const saved = await client.post(`/workflows/${id}/relink`, { base_version: before, links });
      const action = async () => {
        await this.restore({ ...workflow, latest_version: saved.version }, before);
        onUndo();
      };
      const text = t("requirements.relinked", { number: saved.version, count: links.length });
      notifications.show(text, { label: t("asset.undo"), action });
      return saved;
    });
  }

  /**
   * Create a new workflow from a version.
   *
   * @param {Workflow} workflow
   * @param {number} number
   */
  fork(workflow, number) {
    return this.#try("workflow.forkFailed", async ({ client, notifications, t }) => {
      const name = withoutIsolates(t("workflow.forkName", { name: this.#nameOf(workflow) }));
      const fork = await client.post(`/workflows/${workflow.id}/fork`, { source_version: number, name });
      notifications.show(t("workflow.forked", { name: this.#nameOf(fork) }));
      return fork;
    });
  }

  /**
   * Open a workflow in the page: its file if it has one, so that saving it saves a version of it.
   *
   * @param {Workflow} workflow
   * @param {Graph} graph its latest version
   */
  open(workflow, graph) {
    return this.#try("workflow.openFailed", async ({ page }) => {
      // The page saves another form than the one that is executed: of that it can only open a copy.
      if (workflow.path && isPageGraph(graph) && await page.openSavedWorkflow(workflow.path)) return workflow;
      return this.#openCopy(workflow, workflow.latest_version, this.#nameOf(workflow));
    });
  }

  /**
   * Open an older version in the page, as a workflow that is not saved yet.
   *
   * @param {Workflow} workflow
   * @param {number} number
   */
  openVersion(workflow, number) {
    const { t } = this.#context;
    const name = withoutIsolates(t("workflow.versionName", { name: this.#nameOf(workflow), number }));
    return this.#try("workflow.openFailed", () => this.#openCopy(workflow, number, name));
  }

  /**
   * @param {Workflow} workflow
   * @param {number} number
   * @param {string} name
   */
  async #openCopy(workflow, number, name) {
    const { page } = this.#context;
    const content = await this.#fetchVersion(workflow, number);
    const { workflow_json: graph } = content;
    await (isPageGraph(graph) ? page.openWorkflow(graph, name) : page.openPrompt(graph, name));
    return content;
  }

  /**
   * @param {Workflow} workflow
   * @param {string} name
   */
  rename(workflow, name) {
    const options = { body: { name } };
    return this.#try("workflow.renameFailed", ({ client }) => {
      return client.request("PATCH", `/workflows/${workflow.id}`, options);
    });
  }

  /**
   * Star a workflow, or remove its star.
   *
   * @param {Workflow} workflow
   */
  star(workflow) {
    const options = { body: { starred: !workflow.starred } };
    return this.#try("workflow.starFailed", ({ client }) => {
      return client.request("PATCH", `/workflows/${workflow.id}`, options);
    });
  }

  /**
   * Delete a workflow, and offer to restore it.
   *
   * @param {Workflow} workflow
   */
  remove(workflow) {
    return this.#try("workflow.deleteFailed", async ({ client, notifications, t }) => {
      await client.request("DELETE", `/workflows/${workflow.id}`);
      const undo = { label: t("asset.undo"), action: () => this.undelete(workflow) };
      notifications.show(t("workflow.deleted", { name: this.#nameOf(workflow) }), undo);
      return workflow;
    });
  }

  /**
   * Restore a deleted workflow.
   *
   * @param {Workflow} workflow
   */
  undelete(workflow) {
    return this.#try("workflow.restoreFailed", async ({ client, notifications, t }) => {
      const restored = await client.post(`/workflows/${workflow.id}/restore`);
      notifications.show(t("workflow.undeleted", { name: this.#nameOf(restored) }));
      return restored;
    });
  }

  /** @param {Workflow} workflow */
  #nameOf({ name }) {
    return name ?? this.#context.t("workflow.unnamed");
  }

  async #openGraph() {
    const { currentGraph } = this.#context.page;
    if (currentGraph === null) throw new Error("The page has no canvas.");
    return (await currentGraph()).workflow;
  }

  /**
   * @param {Workflow} workflow
   * @param {number} number
   */
  #fetchVersion(workflow, number) {
    return this.#context.client.get(`/workflows/${workflow.id}/versions/${number}`);
  }

  /**
   * Save a version. Fails if another client has saved one since the workflow was loaded.
   *
   * @param {Workflow} workflow
   * @param {Graph} graph
   * @returns {Promise<WorkflowVersion>}
   */
  #addVersion(workflow, graph) {
    const body = { base_version: workflow.latest_version, workflow_json: graph };
    return this.#context.client.post(`/workflows/${workflow.id}/versions`, body);
  }

  /**
   * @template Body
   * @param {string} failureKey the text for a failure
   * @param {(context: PanelContext) => Promise<Body>} action
   */
  async #try(failureKey, action) {
    const { notifications, t } = this.#context;
    try {
      const body = await action(this.#context);
      this.#onChange();
      return body;
    } catch (error) {
      notifications.error(t(failureKey), error);
      return null;
    }
  }
}
