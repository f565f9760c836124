/** What a user can do with jobs. Each method shows a notification if it fails. */

/** @import { Job, JobDetail } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { jobGraphs, shortName } from "./job.mjs";

const CANCEL_BATCH = 100; // the most ids that one request takes
const ENDED = "completed,failed,cancelled";
const MAX_ACTIVE = 1000; // the longest page of jobs

export class JobActions {
  #context;

  /** @param {PanelContext} context */
  constructor(context) {
    this.#context = context;
  }

  /** @param {Job} job */
  async cancel(job) {
    await this.#try("job.cancelFailed", () => this.#context.client.post(`/jobs/${job.id}/cancel`, {}));
  }

  /** Cancel all jobs that wait or run. */
  async cancelAll() {
    const { client, notifications, t } = this.#context;
    await this.#try("job.cancelFailed", async () => {
      const query = { status: "in_progress,pending", limit: String(MAX_ACTIVE) };
      const { jobs } = await client.get("/jobs", { query });
      // Oldest first, so that the batch with the running job also holds the jobs that would start next.
      const ids = jobs.map((job) => job.id).reverse();
      for (let from = 0; from < ids.length; from += CANCEL_BATCH) {
        await client.post("/jobs/cancel", { job_ids: ids.slice(from, from + CANCEL_BATCH) });
      }
      notifications.show(t("job.cancelledAll", { count: ids.length }));
    });
  }

  /**
   * Queue a job's graph again.
   *
   * @param {Job} job
   */
  async rerun(job) {
    const { client, notifications, page, t } = this.#context;
    await this.#try("job.rerunFailed", async () => {
      const detail = await this.#fetch(job);
      const { prompt, pngInfo } = jobGraphs(detail);
      const { prompt_id: id } = await client.post("/prompt", {
        prompt,
        client_id: page.clientId(),
        extra_data: pngInfo ? { extra_pnginfo: pngInfo } : {},
        workflow_id: detail.workflow_id, // left out if undefined
      });
      notifications.show(t("job.queued"), { label: t("job.show"), action: () => this.#context.openJob(id) });
    });
  }

  /** Return the number of jobs that have ended; 0 if it cannot be told. */
  async countEnded() {
    let count = 0;
    await this.#try("job.clearFailed", async () => {
      const query = { status: ENDED, limit: "1" };
      count = (await this.#context.client.get("/jobs", { query })).pagination.total;
    });
    return count;
  }

  /** Remove the records of all jobs that have ended. Their files stay. Returns whether that succeeded. */
  clearEnded() {
    return this.#try("job.clearFailed", async () => {
      await this.#context.client.post("/history", { clear: true });
      this.#context.notifications.show(this.#context.t("job.cleared"));
    });
  }

  /**
   * Open a job's graph in the page.
   *
   * @param {Job} job
   */
  async openWorkflow(job) {
    const { page, t } = this.#context;
    await this.#try("workflow.openFailed", async () => {
      const { prompt, workflow } = jobGraphs(await this.#fetch(job));
      const name = shortName(job, t);
      await (workflow ? page.openWorkflow(workflow, name) : page.openPrompt(prompt, name));
    });
  }

  /**
   * @param {Job} job
   * @returns {Promise<JobDetail>}
   */
  #fetch(job) {
    return this.#context.client.get(`/jobs/${job.id}`);
  }

  /**
   * @param {string} failureKey the text for a failure
   * @param {() => Promise<unknown>} action
   */
  async #try(failureKey, action) {
    const { notifications, t } = this.#context;
    try {
      await action();
      return true;
    } catch (error) {
      notifications.error(t(failureKey), error);
      return false;
    }
  }
}
