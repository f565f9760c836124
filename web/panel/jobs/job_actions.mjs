/** What can be done with jobs. */

import { jobGraphs } from "./job.mjs";

const AT_ONCE = 100; // ids that the API takes

export class JobActions {
  #context;

  constructor(context) {
    this.#context = context;
  }

  async cancel(job) {
    await this.#try("job.cancelFailed", () => this.#context.client.post(`/jobs/${job.id}/cancel`, {}));
  }

  /** Cancel all that wait or are executed. */
  async cancelAll() {
    const { client, notifications, t } = this.#context;
    await this.#try("job.cancelFailed", async () => {
      const { jobs } = await client.get("/jobs", { query: { status: "in_progress,pending", limit: 1000 } });
      const ids = jobs.map((job) => job.id).reverse(); // the oldest first: the running one
      for (let from = 0; from < ids.length; from += AT_ONCE) {
        await client.post("/jobs/cancel", { job_ids: ids.slice(from, from + AT_ONCE) });
      }
      notifications.show(t("job.cancelledAll", { count: ids.length }));
    });
  }

  /** Queue the same graph once more. */
  async rerun(job) {
    const { client, notifications, page, t } = this.#context;
    await this.#try("job.rerunFailed", async () => {
      const detail = await client.get(`/jobs/${job.id}`);
      const { prompt, pngInfo } = jobGraphs(detail);
      const body = { prompt, client_id: page.clientId(), extra_data: pngInfo ? { extra_pnginfo: pngInfo } : {} };
      if (detail.workflow_id) body.workflow_id = detail.workflow_id;
      await client.post("/prompt", body);
      notifications.show(t("job.queued"));
    });
  }

  /** Open its graph in the page. */
  async load(job) {
    const { client, page, t } = this.#context;
    await this.#try("job.loadFailed", async () => {
      const { prompt, workflow } = jobGraphs(await client.get(`/jobs/${job.id}`));
      const name = t("job.name", { id: job.id.slice(0, 8) });
      await (workflow ? page.openWorkflow(workflow, name) : page.openPrompt(prompt, name));
    });
  }

  async #try(failure, action) {
    const { notifications, t } = this.#context;
    try {
      await action();
    } catch (error) {
      notifications.error(t(failure), error);
    }
  }
}
