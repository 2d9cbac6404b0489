// The lists of submissions: how many are ticked, and keys to go through them.
"use strict";

function showTicked(list) {
  const count = list.querySelectorAll("input[name=ids]:checked").length;
  for (const button of list.querySelectorAll("[data-needs-ticks]")) button.disabled = count === 0;
  const all = list.querySelector("[data-ticks]");
  if (all) {
    const boxes = list.querySelectorAll("input[name=ids]").length;
    all.checked = count > 0 && count === boxes;
    all.indeterminate = count > 0 && count < boxes;
  }
  const text = list.querySelector("[data-ticked]");
  if (text) text.textContent = count ? `${count} ticked` : "";
}

function showAllTicked() {
  for (const list of document.querySelectorAll("[data-inbox]")) showTicked(list);
}

// Where the focus is in the list: its row, or the first one.
function go(list, step) {
  const rows = [...list.querySelectorAll("tbody tr")];
  const at = rows.indexOf(document.activeElement.closest("tr"));
  const row = rows[at < 0 ? 0 : Math.min(Math.max(at + step, 0), rows.length - 1)];
  row?.querySelector("a.main").focus();
}

const keys = {
  j: (list) => go(list, 1),
  k: (list) => go(list, -1),
  x: (list) => document.activeElement.closest("tr")?.querySelector("input[name=ids]")?.click(),
};

document.addEventListener("keydown", (event) => {
  const list = event.target.closest("[data-inbox]");
  if (!list || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Enter" && event.target.matches("tbody input[name=ids]")) {
    // A box would send the form with its first button.
    event.preventDefault();
    event.target.closest("tr").querySelector("a.main").click();
  } else if (keys[event.key]) {
    event.preventDefault();
    keys[event.key](list);
  }
});

// After the change of the box that ticks all, which console.js passes on.
document.addEventListener("change", () => queueMicrotask(showAllTicked));
document.addEventListener("htmx:afterSettle", showAllTicked);
document.addEventListener("DOMContentLoaded", showAllTicked);
window.addEventListener("pageshow", showAllTicked);
