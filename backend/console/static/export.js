// An export with its progress: the rows that have come, against those that there will be.
"use strict";

const NEWLINE = 10;
const QUOTE = 34;

// Counts the submissions in what has come of a file. In CSV a line of its own may stand in quotes,
// and the first line names the columns; in JSON each submission is a line.
class RowCounter {
  constructor(isCsv) {
    this.isCsv = isCsv;
    this.isQuoted = false;
    this.lines = 0;
  }

  add(chunk) {
    for (const byte of chunk) {
      if (byte === NEWLINE && !this.isQuoted) this.lines += 1;
      else if (byte === QUOTE && this.isCsv) this.isQuoted = !this.isQuoted;
    }
  }

  get rows() {
    return this.isCsv ? Math.max(0, this.lines - 1) : this.lines;
  }
}

function countOf(number) {
  return number.toLocaleString("en").replaceAll(",", "\u202f");
}

function sizeOf(bytes) {
  return bytes < 1024 ** 2 ? `${Math.ceil(bytes / 1024)} KB` : `${(bytes / 1024 ** 2).toFixed(1)} MB`;
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function nameIn(response) {
  const found = /filename="([^"]+)"/.exec(response.headers.get("content-disposition") ?? "");
  return found ? found[1] : "submissions";
}

async function download(form, url, signal) {
  const text = form.querySelector("[data-progress-text]");
  const bar = form.querySelector("progress");
  const expected = Number(form.querySelector("[data-expected]")?.dataset.expected ?? 0);
  const counter = new RowCounter(url.searchParams.get("format") !== "json");
  bar.removeAttribute("value");
  text.textContent = "Begun: the columns are being looked up.";
  const response = await fetch(url, {signal});
  const type = response.headers.get("content-type") ?? "";
  if (!response.ok || type.startsWith("text/html")) throw new Error(`${response.status}`);
  const parts = [];
  let bytes = 0;
  let shownAt = 0;
  for (const reader = response.body.getReader(); ;) {
    const {done, value} = await reader.read();
    if (done) break;
    parts.push(value);
    bytes += value.length;
    counter.add(value);
    if (expected) bar.value = Math.min(1, counter.rows / expected);
    if (performance.now() - shownAt > 500) {
      shownAt = performance.now();
      text.textContent = `${countOf(counter.rows)} of ${countOf(expected)}, ${sizeOf(bytes)}`;
    }
  }
  save(new Blob(parts, {type}), nameIn(response));
  bar.value = 1;
  text.textContent = `Done: ${countOf(counter.rows)} submissions, ${sizeOf(bytes)}.`;
}

async function run(form, button) {
  const part = form.querySelector("[data-progress]");
  const cancel = part.querySelector("[data-cancel]");
  const text = part.querySelector("[data-progress-text]");
  const url = new URL(form.dataset.export, location.href);
  url.search = new URLSearchParams(new FormData(form));
  const abort = new AbortController();
  cancel.onclick = () => abort.abort();
  part.hidden = false;
  cancel.hidden = false;
  button.disabled = true;
  try {
    await download(form, url, abort.signal);
  } catch (error) {
    part.querySelector("progress").value = 0;
    text.textContent = abort.signal.aborted
      ? "Cancelled. Nothing was saved."
      : "It ended before its time, and nothing was saved. Try again.";
  } finally {
    cancel.hidden = true;
    button.disabled = false;
    button.focus();
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("[data-export]") || !event.submitter?.matches("[formaction]")) return;
  event.preventDefault();
  run(form, event.submitter);
});
