// The official TypeScript SDK at work on a server. COMFY_BASE_URL names the server; the arguments are the folder with
// the SDK's packages, the folder of the server's gates, and a folder for files. Prints a line of JSON for each case.

import { strict as assert } from "node:assert";
import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { createServer, connect } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { deflateSync, crc32 } from "node:zlib";

const [packages, gates, folder] = process.argv.slice(2);
const sdk = await import(pathToFileURL(join(packages, "node_modules/@comfyorg/sdk/dist/index.js")).href);
const { Comfy } = sdk;
const client = new Comfy();

const word = () => randomBytes(6).toString("hex");
const node = (class_type, inputs) => ({ class_type, inputs });
const workflow = (graph) => client.workflows.fromJson(graph);
const open = (gate) => writeFile(join(gates, gate), "");

function picture(prefix = "ts") {
  const color = randomBytes(3).readUIntBE(0, 3);
  return {
    1: node("EmptyImage", { width: 8, height: 8, batch_size: 1, color }),
    2: node("SaveImage", { images: ["1", 0], filename_prefix: prefix }),
  };
}

function work(gate) {
  return { 1: node("SdkWork", { steps: 3, gate, preview: true, deaf: false, word: word() }) };
}

function chunk(kind, data) {
  const body = Buffer.concat([Buffer.from(kind), data]);
  const sizes = Buffer.alloc(8);
  sizes.writeUInt32BE(data.length, 0);
  sizes.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([sizes.subarray(0, 4), body, sizes.subarray(4)]);
}

function png() {
  const header = Buffer.from([0, 0, 0, 4, 0, 0, 0, 4, 8, 2, 0, 0, 0]);
  const rows = Buffer.concat(Array.from({ length: 4 }, () => Buffer.concat([Buffer.from([0]), randomBytes(12)])));
  const parts = [chunk("IHDR", header), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))];
  return Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), ...parts]);
}

async function collect(job) {
  const events = [];
  for await (const event of job.events()) events.push(event);
  return events;
}

async function refused(kind, status, action) {
  await assert.rejects(action, (error) => {
    assert.ok(error instanceof kind, `${error.constructor.name}: ${error.message}`);
    assert.equal(error.httpStatus, status);
    return true;
  });
}

/** A relay to the server whose connections can be cut. */
async function relay() {
  const sockets = new Set();
  const target = new URL(process.env.COMFY_BASE_URL);
  const server = createServer((from) => {
    const to = connect(Number(target.port), target.hostname);
    for (const [one, other] of [[from, to], [to, from]]) {
      sockets.add(one);
      one.on("error", () => {});
      one.on("close", () => (sockets.delete(one), other.destroy()));
      one.pipe(other);
    }
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const cut = () => sockets.forEach((socket) => socket.destroy());
  return { url: `http://127.0.0.1:${server.address().port}`, cut, close: () => (cut(), server.close()) };
}

const cases = {
  async "a run gives the bytes of its output"() {
    const job = await client.run(workflow(picture()), { timeoutMs: 60_000 });
    assert.equal(job.status, "succeeded");
    const [output] = job.getOutputs("2");
    const bytes = await output.toBytes();
    assert.equal(bytes.length, output.sizeBytes);
    const path = await output.toFile(join(folder, `${word()}.png`));
    assert.deepEqual(new Uint8Array(await readFile(path)), bytes);
    assert.deepEqual(await output.toBytes({ range: [1, 3] }), bytes.slice(1, 4));
    assert.ok((await output.getDownloadUrl()).url.startsWith(process.env.COMFY_BASE_URL));
  },

  async "a file is uploaded once and loaded"() {
    const path = join(folder, `${word()} Grüße "q".png`);
    await writeFile(path, png());
    const graph = { 1: node("LoadImage", { image: "none" }), 2: node("SaveImage", { images: ["1", 0], filename_prefix: "ts" }) };
    const loaded = workflow(graph);
    const asset = client.assets.fromFile(path);
    loaded.setInput("1", "image", asset);
    assert.equal((await client.run(loaded, { timeoutMs: 60_000 })).outputs.length, 1);
    assert.equal(asset.createdNew, true);
    const again = client.assets.fromFile(path);
    await again.commit();
    assert.equal(again.createdNew, false);
    const found = await client.assets.get(asset.id);
    assert.equal(await found.hash(), await asset.hash());
    await found.delete();
    await refused(sdk.NotFound, 404, () => client.assets.get(asset.id));
  },

  async "an empty and a larger upload"() {
    for (const size of [0, 3_000_000]) {
      const asset = client.assets.fromBytes(randomBytes(size), { filename: `${word()}.bin` });
      await asset.commit();
      assert.ok(asset.id);
    }
  },

  async "an output is the input of another job"() {
    const first = await client.run(workflow(picture()), { timeoutMs: 60_000 });
    const reference = { __type: "core/ASSET", info: { id: first.outputs[0].id } };
    const graph = { 1: node("LoadImage", { image: reference }), 2: node("SaveImage", { images: ["1", 0], filename_prefix: "ts" }) };
    assert.equal((await client.run(workflow(graph), { timeoutMs: 60_000 })).outputs.length, 1);
  },

  async "events tell previews, outputs, and then the end"() {
    const gate = word();
    const job = await client.submit(workflow({ ...picture(), 3: work(gate)[1] }));
    const kinds = new Set();
    const outputs = [];
    let last;
    for await (const event of job.events()) {
      kinds.add(event.kind);
      if (event.kind === "outputReady") outputs.push(event.output.id);
      if (event.kind === "preview") {
        assert.ok(event.data.length > 50);
        assert.equal(event.contentType, "image/jpeg");
        await open(gate);
      }
      last = event;
    }
    assert.deepEqual([last.kind, last.status], ["statusChange", "succeeded"]);
    assert.ok(kinds.has("progress") && kinds.has("preview"), [...kinds].join());
    await job.refresh();
    assert.deepEqual(outputs, job.outputs.map((output) => output.id));
  },

  async "a stream of an ended job tells the end"() {
    const job = await client.run(workflow(picture()), { timeoutMs: 60_000 });
    const events = await collect(job);
    assert.equal(events.at(-1).status, "succeeded");
    assert.equal(events.filter((event) => event.kind === "outputReady").length, 1);
  },

  async "a cut stream is resumed"() {
    const gate = word();
    const { id } = await client.submit(workflow(work(gate)));
    const cutter = await relay();
    const address = process.env.COMFY_BASE_URL;
    process.env.COMFY_BASE_URL = cutter.url;
    const behind = new Comfy();
    process.env.COMFY_BASE_URL = address;
    try {
      let cuts = 0;
      let last;
      for await (const event of (await behind.jobs.get(id)).events()) {
        last = event;
        if (event.kind === "statusChange" && event.status === "running") {
          if (cuts++ === 0) cutter.cut();
          else await open(gate);
        }
      }
      assert.equal(last.status, "succeeded");
      assert.ok(cuts > 1);
    } finally {
      await open(gate);
      cutter.close();
    }
  },

  async "a failing node is told with its details"() {
    const job = await client.submit(workflow({ 1: node("SdkFail", { message: `it broke ${word()}` }) }));
    await assert.rejects(job.result(), (error) => {
      assert.ok(error instanceof sdk.JobFailed);
      assert.deepEqual([error.error.node_id, error.error.class_type], ["1", "SdkFail"]);
      assert.ok(error.error.traceback.length > 0);
      return true;
    });
  },

  async "a running and an ended job are canceled"() {
    const job = await client.submit(workflow(work(word())));
    while (job.status !== "running") {
      const found = await client.jobs.get(job.id);
      if (found.status === "running") break;
    }
    await job.cancel();
    assert.ok(["canceling", "canceled"].includes(job.status), job.status);
    assert.equal((await job.wait(60_000)).status, "canceled");
    assert.equal((await job.cancel()).status, "canceled");
  },

  async "a key is good for one job"() {
    const idempotencyKey = word();
    await client.submit(workflow(picture()), { idempotencyKey });
    await refused(sdk.IdempotencyKeyReuse, 422, () => client.submit(workflow(picture()), { idempotencyKey }));
  },

  async "bad graphs and references are refused"() {
    await refused(sdk.InvalidWorkflow, 422, () => client.submit(workflow({ 1: node("NoSuchNode", {}) })));
    await refused(sdk.WorkflowFormatUi, 422, () => client.submit(workflow({ nodes: [], links: [] })));
    const nobody = { __type: "core/ASSET", info: { id: "00000000-0000-4000-8000-000000000000" } };
    await refused(sdk.MissingAsset, 422, () => client.submit(workflow({ 1: node("SdkEcho", { value: nobody }) })));
    await refused(sdk.NotFound, 404, () => client.jobs.get("00000000-0000-4000-8000-000000000000"));
  },

  async "the workflow of a job can be had"() {
    const job = await client.submit(workflow(picture()));
    const { workflow: graph, format } = await job.getWorkflow();
    assert.equal(format, "api");
    assert.equal(graph[2].class_type, "SaveImage");
    await job.result();
  },
};

for (const [name, run] of Object.entries(cases)) {
  let fault = null;
  try {
    await run();
  } catch (error) {
    fault = error.stack ?? String(error);
  }
  console.log(JSON.stringify({ name, fault }));
}
