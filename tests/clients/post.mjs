// Posts one form with the client named on the command line; prints what it was answered.
import { readFile } from "node:fs/promises";
import { basename } from "node:path";

const [client, url, file] = process.argv.slice(2);

async function form() {
  const data = new FormData();
  data.append("name", "Zoë");
  data.append("topic", "sales");
  data.append("topic", "support");
  data.append("cv", new Blob([await readFile(file)], { type: "text/plain" }), basename(file));
  return data;
}

const clients = {
  async fetch() {
    const answer = await fetch(url, { method: "POST", body: await form() });
    return answer.json();
  },
  async axios() {
    const { default: axios } = await import("axios");
    return (await axios.post(url, await form())).data;
  },
  async formspree() {
    const { createClient } = await import("@formspree/core");
    const [, endpoint, slug] = url.match(/^(.*)\/f\/([^/]+)$/);
    const result = await createClient().submitForm(slug, await form(), { endpoint });
    if (result.kind === "success") return result;
    const [errors, fields] = [result.getFormErrors(), result.getAllFieldErrors()];
    return { kind: "error", errors, fields };
  },
};

console.log(JSON.stringify(await clients[client]()));
