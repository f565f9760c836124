/** What can be done with saved workflows. Each answers what the server says, or null when it failed, which is told. */

export class WorkflowActions {
  #context;

  /** `changed()` is called after every change. */
  constructor(context, changed) {
    this.#context = context;
    this.changed = changed;
  }

  /** Save the graph that is open as a new workflow. */
  saveNew() {
    return this.#try("workflow.saveFailed", async ({ client, page, notifications, t }) => {
      const { workflow } = await page.currentGraph();
      const name = page.currentName() ?? t("workflow.unnamed");
      const saved = await client.post("/workflows", { name, workflow_json: workflow });
      notifications.show(t("workflow.saved", { name: saved.name }));
      return saved;
    });
  }

  /** Save the graph that is open as the next version of a workflow. */
  saveVersion(workflow) {
    return this.#try("workflow.saveFailed", async ({ page }) => {
      const { workflow: graph } = await page.currentGraph();
      return this.#addVersion(workflow, graph);
    });
  }

  /** Make a former version the latest: as a new one, so that nothing is lost. */
  restore(workflow, number) {
    return this.#try("workflow.restoreFailed", async ({ client, notifications, t }) => {
      const { workflow_json: graph } = await client.get(`/workflows/${workflow.id}/versions/${number}`);
      const saved = await this.#addVersion(workflow, graph);
      notifications.show(t("workflow.restored", { number, latest: saved.version }));
      return saved;
    });
  }

  /** A new workflow made of a version. */
  fork(workflow, number) {
    return this.#try("workflow.forkFailed", async ({ client, notifications, t }) => {
      const name = t("workflow.forkName", { name: workflow.name ?? t("workflow.unnamed") });
      const fork = await client.post(`/workflows/${workflow.id}/fork`, { source_version: number, name });
      notifications.show(t("workflow.forked", { name: fork.name }));
      return fork;
    });
  }

  open(workflow, number) {
    return this.#try("workflow.openFailed", async ({ client, page }) => {
      const content = await client.get(`/workflows/${workflow.id}/versions/${number}`);
      const { workflow_json: graph } = content;
      await (Array.isArray(graph.nodes)
        ? page.openWorkflow(graph, workflow.name)
        : page.openPrompt(graph, workflow.name));
      return content;
    });
  }

  rename(workflow, name) {
    return this.#try(
      "workflow.renameFailed",
      ({ client }) => client.request("PATCH", `/workflows/${workflow.id}`, { body: { name } }),
    );
  }

  /** Delete a workflow; the notice of it offers to bring it back. */
  remove(workflow) {
    return this.#try("workflow.deleteFailed", async ({ client, notifications, t }) => {
      await client.request("DELETE", `/workflows/${workflow.id}`);
      const undo = { label: t("asset.undo"), action: () => this.undelete(workflow) };
      notifications.show(t("workflow.deleted", { name: workflow.name ?? t("workflow.unnamed") }), undo);
      return workflow;
    });
  }

  /** Bring a deleted workflow back. */
  undelete(workflow) {
    return this.#try("workflow.restoreFailed", async ({ client, notifications, t }) => {
      const restored = await client.post(`/workflows/${workflow.id}/restore`);
      notifications.show(t("workflow.undeleted", { name: restored.name ?? t("workflow.unnamed") }));
      return restored;
    });
  }

  #addVersion(workflow, graph) {
    const body = { base_version: workflow.latest_version, workflow_json: graph };
    return this.#context.client.post(`/workflows/${workflow.id}/versions`, body);
  }

  async #try(failure, action) {
    try {
      const answer = await action(this.#context);
      this.changed();
      return answer;
    } catch (error) {
      this.#context.notifications.error(this.#context.t(failure), error);
      return null;
    }
  }
}
