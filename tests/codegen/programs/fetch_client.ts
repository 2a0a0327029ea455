// Some calls with the client that openapi-generator generates as typescript-fetch; called with the service's URL and key.

import { strict as assert } from "node:assert";
import { randomUUID } from "node:crypto";
import { Configuration, JobsApi, type Problem, RequestsApi, ResponseError, type Submission } from "./receiver_api/index.js";

const [basePath = "", accessToken = ""] = process.argv.slice(2);
const configuration = new Configuration({ basePath, accessToken });
const requests = new RequestsApi(configuration);
const jobs = new JobsApi(configuration);
const order = `fetch-${randomUUID()}`;
const hour = 3_600_000;

/** Return the problem of a call that must be refused. */
async function parseProblem(call: Promise<unknown>): Promise<Problem> {
  const error = await call.then(() => undefined, (reason: unknown) => reason);
  assert(error instanceof ResponseError, String(error));
  return (await error.response.json()) as Problem;
}

const style = { font: { name: "Inter", sizes: [12, 14.5] }, bold: true, colour: null };
const submission: Submission = {
  provider: "acme",
  operation: "send",
  payload: { client_reference: `${order}-7`, to: ["2348030000000"], text: "On its way.", style },
  metadata: { order, customer: { vip: true } },
  deadline: new Date(Date.now() + hour),
};
const request = await requests.submitRequest({ submission, idempotencyKey: order });
assert.deepEqual(request.payload, submission.payload);
assert.deepEqual(request.metadata, submission.metadata);
assert(request.created_at instanceof Date);
const replayed = await requests.submitRequestRaw({ submission, idempotencyKey: order });
assert.equal(replayed.raw.headers.get("Idempotent-Replayed"), "true");

const metadata = { "metadata.order": order };
const page = await requests.browseRequests({ metadata, createdFrom: new Date(Date.now() - hour) });
assert.deepEqual(page.items.map((item) => item.id), [request.id]);
assert.deepEqual((await requests.browseRequests({ metadata, status: "failed" })).items, []);

let listed = await jobs.browseJobs({ requestId: request.id });
while (listed.items.length === 0) listed = await jobs.browseJobs({ requestId: request.id });
const job = await jobs.showJob({ jobId: listed.items[0]?.id ?? "", prefer: "wait=30" });
assert.equal(job.status, "succeeded");

const invalid: Submission = {
  provider: "sandbox",
  operation: "send",
  payload: { client_reference: "1", to: [], text: "" },
};
const problem = await parseProblem(requests.submitRequest({ submission: invalid }));
assert.equal(problem.type, "urn:callback-receiver:problem:invalid-request");
assert.deepEqual(Object.keys(Object(problem.errors?.["payload"])).sort(), ["text", "to"]);
const other: Submission = { ...submission, payload: { ...submission.payload, text: "Late." } };
const conflict = await parseProblem(requests.submitRequest({ submission: other, idempotencyKey: order }));
assert.equal(conflict.type, "urn:callback-receiver:problem:idempotency-key-reused");
