import { createHmac, timingSafeEqual } from "node:crypto";

export function isGenuine(body, signature, secret) {
  const digest = createHmac("sha256", secret).update(body).digest("hex");
  const [expected, received] = [Buffer.from(`sha256=${digest}`), Buffer.from(signature)];
  return expected.length === received.length && timingSafeEqual(expected, received);
}
