// The peers fastify (one commit a post) and fastify-group (`--group`: group commit).
//
// Environment: PEER_PORT, PEER_DATABASE (the file to create), PEER_POSTS_PER_MINUTE (a visitor's
// limit).
import formbody from "@fastify/formbody";
import rateLimit from "@fastify/rate-limit";
import Fastify from "fastify";

import { groupCommit } from "./group_commit.mjs";
import { openSubmissions } from "./submissions.mjs";

const KEY = /^[\x21-\x7e]{1,255}$/;
// As many visitors as FormFlow counts one by one.
const VISITORS = 200_000;

const { PEER_PORT, PEER_DATABASE, PEER_POSTS_PER_MINUTE } = process.env;
const { commit, durability } = openSubmissions(PEER_DATABASE);
const accept = process.argv.includes("--group")
  ? groupCommit(commit)
  : async (post) => commit([post])[0];

const app = Fastify({ trustProxy: "127.0.0.1" });
// Of the types that Fastify reads by itself, JSON stays.
app.removeContentTypeParser("text/plain");
await app.register(formbody);
await app.register(rateLimit, { global: false, cache: VISITORS });
app.get("/durability", durability);
app.post("/v1/f/:slug", { config: { rateLimit: limit() }, schema: { response: answers() } }, post);
await app.listen({ host: "127.0.0.1", port: Number(PEER_PORT) });

async function post(request, reply) {
  const key = request.headers["idempotency-key"];
  if (key !== undefined && !KEY.test(key)) {
    return reply.code(400).send({ error: "bad Idempotency-Key" });
  }
  const payload = JSON.stringify(request.body ?? {});
  const { stored, status, error } = await accept({ slug: request.params.slug, key, payload });
  if (stored === undefined) return reply.code(status).send({ error });
  return { id: stored.id, received_at: stored.received_at, ok: true };
}

function limit() {
  return {
    max: Number(PEER_POSTS_PER_MINUTE),
    timeWindow: "1 minute",
    keyGenerator: (request) => `${request.params.slug}/${request.ip}`,
  };
}

/** The shape of an answer, which Fastify writes faster than JSON.stringify does. */
function answers() {
  const properties = {
    id: { type: "string" },
    received_at: { type: "integer" },
    ok: { type: "boolean" },
  };
  return { 200: { type: "object", properties } };
}
