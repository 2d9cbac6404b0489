// Verifies webhooks as a receiver would; prints for each, in order, whether it is genuine.
// Arguments: a module that exports isGenuine(body, signature, secret), or "standardwebhooks".
// Standard input: a JSON list of { headers, body (base64), secret }.
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";

const [module] = process.argv.slice(2);
const { isGenuine } = module === "standardwebhooks" ? {} : await import(module);

function verify({ headers, body, secret }) {
  const bytes = Buffer.from(body, "base64");
  if (isGenuine) return isGenuine(bytes, headers["x-formflow-signature"], secret);
  try {
    new Webhook(secret).verify(bytes.toString("utf8"), headers);
    return true;
  } catch {
    return false;
  }
}

console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(verify)));
