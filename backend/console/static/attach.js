// Sends a file of an imported submission: the bytes as they are, with their digest.
"use strict";

function hex(buffer) {
  return [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// What a page of refusal says.
function reasonIn(page) {
  const found = new DOMParser().parseFromString(page, "text/html").querySelector("main p:not(.brand)");
  return found?.textContent ?? "It could not be stored.";
}

async function attach(form) {
  const file = form.elements.file.files[0];
  const bytes = await file.arrayBuffer();
  const query = new URLSearchParams({
    position: form.dataset.position,
    field: form.elements.field.value,
    name: file.name,
    content_type: file.type || "application/octet-stream",
    sha256: hex(await crypto.subtle.digest("SHA-256", bytes)),
  });
  const answer = await fetch(`${form.action}?${query}`, {
    method: "POST",
    headers: {"Content-Type": "application/octet-stream", "X-CSRF-Token": form.elements.csrf.value},
    body: bytes,
  });
  if (answer.ok) location.reload();
  else form.querySelector("[data-reason]").textContent = reasonIn(await answer.text());
}

document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-attach]")) return;
  event.preventDefault();
  attach(event.target);
});

document.addEventListener("DOMContentLoaded", () => {
  // Digests are there in secure contexts only.
  for (const form of document.querySelectorAll("[data-attach]")) form.hidden = !globalThis.crypto?.subtle;
});
