// The database of the Fastify peers: one better-sqlite3 connection, durable transactions.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";

import Database from "better-sqlite3";

const SCHEMA = new URL("../schema.sql", import.meta.url);
const RECEIPT_MS = 24 * 3_600_000;

/**
 * Creates the database.
 *
 * `commit` stores a list of posts `{slug, key, payload}` in one transaction and returns after it is
 * durable; for each post either `{stored: {id, received_at}}` or `{status, error}`.
 */
export function openSubmissions(path) {
  const database = new Database(path);
  database.pragma("journal_mode = WAL");
  database.pragma("synchronous = FULL");
  database.exec(readFileSync(SCHEMA, "utf8"));
  return {
    commit: database.transaction(judgeOf(database)).immediate,
    durability: () => ({
      journal_mode: database.pragma("journal_mode", { simple: true }),
      synchronous: String(database.pragma("synchronous", { simple: true })),
    }),
  };
}

function judgeOf(database) {
  const statements = {
    findForm: database.prepare("SELECT id, status, quota, month, used FROM forms WHERE slug = ?"),
    findReceipt: database.prepare(
      "SELECT submission_id AS id, received_at FROM receipts" +
        " WHERE form_id = ? AND key = ? AND received_at > ?",
    ),
    insert: database.prepare(
      "INSERT INTO submissions (id, form_id, received_at, payload) VALUES (?, ?, ?, ?)",
    ),
    bind: database.prepare(
      "INSERT OR REPLACE INTO receipts (form_id, key, submission_id, received_at)" +
        " VALUES (?, ?, ?, ?)",
    ),
    charge: database.prepare("UPDATE forms SET month = ?, used = ? WHERE id = ?"),
  };
  return (posts) => {
    const batch = { now: Date.now(), forms: new Map(), ...statements };
    batch.month = new Date(batch.now).toISOString().slice(0, 7);
    const outcomes = posts.map((post) => judge(batch, post));
    for (const form of batch.forms.values()) {
      if (form?.charged) batch.charge.run(batch.month, form.used, form.id);
    }
    return outcomes;
  };
}

function judge(batch, { slug, key, payload }) {
  const form = formOf(batch, slug);
  if (form === undefined) return { status: 404, error: "there is no such form" };
  if (form.status !== "live") return { status: 403, error: "the form takes no submissions" };
  if (key !== undefined) {
    const known = batch.findReceipt.get(form.id, key, batch.now - RECEIPT_MS);
    if (known !== undefined) return { stored: known };
  }
  if (form.used >= form.quota) {
    return { status: 402, error: "the form has used its submissions of this month" };
  }
  form.used += 1;
  form.charged = true;
  const stored = { id: newId(batch.now), received_at: batch.now };
  batch.insert.run(stored.id, form.id, batch.now, payload);
  if (key !== undefined) batch.bind.run(form.id, key, stored.id, batch.now);
  return { stored };
}

/** The form as this transaction sees it, read once; `used` is this month's. */
function formOf(batch, slug) {
  if (!batch.forms.has(slug)) {
    const form = batch.findForm.get(slug);
    if (form !== undefined && form.month !== batch.month) form.used = 0;
    batch.forms.set(slug, form);
  }
  return batch.forms.get(slug);
}

function newId(now) {
  return `sub_${now.toString(16).padStart(12, "0")}${randomBytes(10).toString("hex")}`;
}
