// What the console does where there is a script; without one every page works, too.
"use strict";

const times = new Intl.DateTimeFormat(undefined, {dateStyle: "medium", timeStyle: "short"});

// Times in the reader's zone; the exact one stays in the title.
function showTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([data-shown])")) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    time.dataset.shown = "";
    time.title = time.dateTime;
    time.textContent = times.format(moment);
  }
}

// What somebody asked for and htmx has put into the page is where they go on.
document.addEventListener("htmx:afterSwap", (event) => {
  document.getElementById(event.detail.target.id)?.querySelector("[data-focus]")?.focus();
});

// How long it is until the moments that are named, beside them.
function showTimeLeft() {
  for (const each of document.querySelectorAll("[data-left]")) {
    const minutes = Math.round((new Date(each.dataset.left) - Date.now()) / 60000);
    const [days, hours] = [Math.floor(minutes / 1440), Math.floor(minutes / 60)];
    if (minutes < 1) each.textContent = " (over)";
    else if (days > 2) each.textContent = ` (in ${days} days)`;
    else each.textContent = hours ? ` (in ${hours} h ${minutes % 60} min)` : ` (in ${minutes} min)`;
  }
}

// Buttons that copy the text of the element that they name.
async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  await navigator.clipboard.writeText((source.value ?? source.textContent).trim());
  const before = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = before; }, 1500);
}

// The box of a table's head that ticks all boxes below it.
function tickAll(box) {
  for (const each of document.querySelectorAll(`input[name="${box.dataset.ticks}"]`)) {
    each.checked = box.checked;
  }
}

// A file whose text goes into the field that it names.
async function read(input) {
  const [file] = input.files;
  if (file) document.getElementById(input.dataset.reads).value = await file.text();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-ticks]")) tickAll(event.target);
  if (event.target.matches("[data-reads]")) read(event.target);
});

// What changes by itself stays as it is while nobody looks, and while somebody has a hand in it.
document.addEventListener("htmx:beforeRequest", (event) => {
  const part = event.detail.elt;
  if (!part.matches("[data-live]")) return;
  const isInUse = part.contains(document.activeElement) || part.querySelector("input:checked");
  if (document.hidden || isInUse) event.preventDefault();
});

// Times to type are in UTC without a script, and in the reader's zone with one.
document.addEventListener("formdata", (event) => {
  for (const input of event.target.querySelectorAll("input[data-utc]")) {
    const moment = new Date(input.value);
    if (!Number.isNaN(moment.getTime())) event.formData.set(input.name, moment.toISOString().slice(0, 16));
  }
});

function enhance(root) {
  for (const each of root.querySelectorAll("[data-script-only]")) each.hidden = false;
  for (const each of root.querySelectorAll("[data-zone-note]")) each.hidden = true;
  showTimes(root);
}

document.addEventListener("DOMContentLoaded", () => {
  enhance(document);
  // On a phone the way through the console is wider than the screen.
  document.querySelector(".side [aria-current]")?.scrollIntoView({block: "nearest", inline: "center"});
  showTimeLeft();
  setInterval(showTimeLeft, 20000);
});

document.addEventListener("htmx:load", (event) => enhance(event.detail.elt.parentNode ?? document));
