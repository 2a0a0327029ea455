// The life of a request, with openapi-fetch and the types of openapi-typescript; called with the service's URL and key.

import { strict as assert } from "node:assert";
import { randomUUID } from "node:crypto";
import createClient from "openapi-fetch";
import type { components, paths } from "./receiver.js";

type Schemas = components["schemas"];
type Problem = Schemas["Problem"];

const [url = "", key = ""] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${key}` } });
const order = `typescript-${randomUUID()}`;
const hour = 3_600_000;

/** Return the document of a response, which must have a status and be no problem. */
function parse<T>(result: { data?: T; error?: Problem; response: Response }, status: number): T {
  assert.equal(result.response.status, status, JSON.stringify(result.error));
  assert(result.data !== undefined);
  return result.data;
}

/** Return the problem of a response. */
function parseProblem(result: { error?: Problem; response: Response }, status: number, slug: string): Problem {
  assert.equal(result.response.status, status);
  assert(result.error !== undefined);
  assert.equal(result.error.status, status);
  const type: Problem["type"] = result.error.type;
  assert.equal(type, `urn:callback-receiver:problem:${slug}`);
  return result.error;
}

const submission: Schemas["Submission.acme.send"] = {
  provider: "acme",
  operation: "send",
  payload: {
    client_reference: `${order}-7`,
    to: ["2348030000000"],
    text: "On its way.",
    style: { font: { name: "Inter", sizes: [12, 14.5] }, bold: true, colour: null },
  },
  metadata: { order, customer: { vip: true, tags: ["a", null] } },
  deadline: new Date(Date.now() + hour).toISOString(),
};
const header = { "Idempotency-Key": order };

const submitted = await client.POST("/v1/requests", { body: submission, params: { header } });
const request = parse(submitted, 202);
assert.deepEqual(request.payload, submission.payload);
assert.deepEqual(request.metadata, submission.metadata);
assert.equal(submitted.response.headers.get("Location"), `/v1/requests/${request.id}`);
const replayed = await client.POST("/v1/requests", { body: submission, params: { header } });
assert.equal(parse(replayed, 202).id, request.id);
assert.equal(replayed.response.headers.get("Idempotent-Replayed"), "true");
const other = { ...submission, payload: { ...submission.payload, text: "Late." } };
parseProblem(await client.POST("/v1/requests", { body: other, params: { header } }), 409, "idempotency-key-reused");

const query = { metadata: { order }, provider: "acme", created_from: new Date(Date.now() - hour).toISOString() };
const page = parse(await client.GET("/v1/requests", { params: { query: { ...query, limit: 1 } } }), 200);
assert.deepEqual(page.items.map((item) => item.id), [request.id]);
assert.equal(page.next_cursor, null);
const failed = await client.GET("/v1/requests", { params: { query: { ...query, status: "failed" } } });
assert.deepEqual(parse(failed, 200).items, []);

let jobs: Schemas["Job"][] = [];
while (jobs.length === 0) {
  parse(await client.GET("/v1/tail", { params: { header: { Prefer: "wait=1" } } }), 200);
  const path = { request_id: request.id };
  jobs = parse(await client.GET("/v1/requests/{request_id}", { params: { path } }), 200).jobs;
}
const path = { job_id: jobs[0]?.id ?? "" };
const shown = await client.GET("/v1/jobs/{job_id}", { params: { path, header: { Prefer: "wait=30" } } });
const job = parse(shown, 200);
assert.equal(shown.response.headers.get("Preference-Applied"), "wait=30");
assert.equal(job.status satisfies Schemas["JobStatus"], "succeeded");
const sources: Schemas["EventSource"][] = job.events.map((event) => event.source);
assert.deepEqual(new Set(sources), new Set(["response", "callback"]));
const listed = await client.GET("/v1/jobs", { params: { query: { request_id: request.id, disputed: false } } });
assert.deepEqual(parse(listed, 200).items.map((item) => item.id), [job.id]);

const invalid: Schemas["Submission"] = {
  provider: "sandbox",
  operation: "send",
  payload: { client_reference: "1", to: [], text: "" },
};
const problem = parseProblem(await client.POST("/v1/requests", { body: invalid }), 400, "invalid-request");
assert.deepEqual(Object.keys(Object(problem.errors?.["payload"])).sort(), ["text", "to"]);
const unknown = { params: { path: { request_id: randomUUID() } } };
parseProblem(await client.GET("/v1/requests/{request_id}", unknown), 404, "not-found");
const known = { params: { path: { request_id: request.id } } };
const reason = "too late";
const cancelled = await client.POST("/v1/requests/{request_id}/cancel", { ...known, body: { reason } });
parseProblem(cancelled, 409, "state-conflict");
const resolution: Schemas["RequestResolution"] = { status: "rejected", reason };
const resolved = await client.POST("/v1/requests/{request_id}/resolve", { ...known, body: resolution });
parseProblem(resolved, 409, "state-conflict");
const stranger = createClient<paths>({ baseUrl: url, headers: { Authorization: "Bearer wrong" } });
parseProblem(await stranger.GET("/v1/requests/{request_id}", known), 401, "invalid-api-key");

const later: Schemas["Submission.cecula.send_template"] = {
  provider: "cecula",
  operation: "send_template",
  payload: {
    recipients: [{ mobile: "2348181234567", data: { name: "Ada", items: [{ count: 2 }] } }],
    template: "welcome",
    sender: "Shop",
  },
  metadata: { campaign: order },
  send_after: new Date(Date.now() + hour).toISOString(),
};
const batch = parse(await client.POST("/v1/requests/batch", { body: { requests: [later, later] } }), 202);
assert.deepEqual(batch.items.map((item) => item.status), ["queued", "queued"]);
const action: Schemas["BulkAction"] = { action: "cancel", filter: { metadata: { campaign: order } } };
const preview = parse(await client.POST("/v1/requests/bulk", { body: { ...action, dry_run: true } }), 200);
assert.equal(preview.count, 2);
const carriedOut = await client.POST("/v1/requests/bulk", { body: { ...action, token: preview.token } });
assert.equal(parse(carriedOut, 200).applied, 2);
const tracking: Schemas["Tracking"] = { provider: "acme", reference: order };
assert.equal(parse(await client.POST("/v1/jobs", { body: tracking }), 201).status, "accepted");
const expires_at = new Date(Date.now() + hour).toISOString();
const created = parse(await client.POST("/v1/keys", { body: { name: order, scopes: ["read"], expires_at } }), 201);
assert.deepEqual(created.scopes, ["read"]);
const providers = parse(await client.GET("/v1/providers"), 200).items;
assert.deepEqual(providers.map((item) => item.name).sort(), ["acme", "cecula", "sandbox"]);
