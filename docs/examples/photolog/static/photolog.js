"use strict";

const AT_ONCE = 3; // uploads that run at the same time
const LINGER = 4000; // milliseconds for which a finished upload stays in the list

const form = document.getElementById("upload");
const input = document.getElementById("files");
const rows = document.getElementById("uploads");
const gallery = document.getElementById("gallery");
const maxSize = Number(form.dataset.maxSize) || Infinity;
const waiting = [];
let running = 0;

// Choosing and dropping files

input.addEventListener("change", () => {
  add(input.files);
  form.reset(); // so that the same file may be chosen again
});
form.addEventListener("submit", (event) => event.preventDefault());

// The whole window takes a drop: a file that misses the target would otherwise replace the page.
const bringsFiles = (event) => event.dataTransfer?.types.includes("Files");
window.addEventListener("dragover", (event) => {
  if (!bringsFiles(event)) return;
  event.preventDefault();
  form.classList.add("over");
});
window.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) form.classList.remove("over");
});
window.addEventListener("drop", (event) => {
  if (!bringsFiles(event)) return;
  event.preventDefault();
  form.classList.remove("over");
  add(event.dataTransfer.files);
});

// Uploading, one request per file

function add(files) {
  for (const file of files) waiting.push({ file, row: newRow(file) });
  next();
}

function next() {
  while (running < AT_ONCE && waiting.length) {
    const { file, row } = waiting.shift();
    running += 1;
    send(file, row)
      .then((photo) => finish(row, file, photo))
      .catch((error) => refuse(row, error.message))
      .finally(() => {
        running -= 1;
        next();
      });
  }
}

function send(file, row) {
  if (file.size > maxSize) {
    return Promise.reject(new Error(`${file.name} is too large. A photo may have ${size(maxSize)}.`));
  }
  return new Promise((resolve, reject) => {
    const body = new FormData();
    body.append(input.name, file);
    const request = new XMLHttpRequest(); // fetch does not tell how far an upload is
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      row.querySelector("progress").value = loaded / total;
      note(row, "sending", loaded < total ? `${size(loaded)} of ${size(total)}` : "Saving");
    });
    request.addEventListener("load", () => {
      const answer = request.response ?? {};
      if (answer.saved?.length) resolve(answer.saved[0]);
      else reject(new Error(answer.refused?.[0] ?? `${file.name}: the server answered ${request.status}.`));
    });
    request.addEventListener("error", () => reject(new Error(`${file.name} could not be sent.`)));
    request.responseType = "json";
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/json");
    request.send(body);
  });
}

// What the page shows. Names come from strangers: they only ever go into textContent and attributes.

function newRow(file) {
  const row = document.getElementById("row").content.firstElementChild.cloneNode(true);
  row.querySelector(".name").textContent = file.name;
  row.querySelector("progress").setAttribute("aria-label", file.name);
  row.querySelector(".dismiss").addEventListener("click", () => row.remove());
  note(row, "waiting", "Waiting");
  rows.append(row);
  return row;
}

function note(row, state, text) {
  row.dataset.state = state;
  row.querySelector(".note").textContent = text;
}

function finish(row, file, photo) {
  row.querySelector("progress").value = 1;
  note(row, "done", "Saved");
  setTimeout(() => row.remove(), LINGER);

  const card = document.getElementById("photo").content.firstElementChild.cloneNode(true);
  card.querySelector("a").href = photo.url;
  card.querySelector("img").src = photo.url;
  card.querySelector("img").alt = photo.name;
  card.querySelector(".name").textContent = photo.name;
  card.querySelector(".size").textContent = size(photo.size);
  card.querySelector(".delete").action = photo.delete_url;
  card.querySelector("button").setAttribute("aria-label", `Delete ${photo.name}`);
  gallery.prepend(card);
  recount();
  say(`${photo.name} is saved.`);
}

function refuse(row, message) {
  note(row, "refused", message);
  say(message);
}

function say(message) {
  document.getElementById("status").textContent = message;
}

function recount() {
  const count = gallery.children.length;
  document.getElementById("count").textContent = `${count} photo${count === 1 ? "" : "s"}`;
}

function size(bytes) {
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(1)} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

// Deleting. One listener serves the photos of the page as it came and those that were added since.

gallery.addEventListener("submit", async (event) => {
  event.preventDefault();
  const card = event.target.closest(".photo");
  const name = card.querySelector(".name").textContent;
  const button = card.querySelector("button");
  button.disabled = true;
  const headers = { Accept: "application/json" };
  const answer = await fetch(event.target.action, { method: "POST", headers }).catch(() => null);
  if (!answer?.ok && answer?.status !== 404) {
    button.disabled = false;
    say(`${name} could not be deleted.`);
    return;
  }
  const neighbour = card.nextElementSibling ?? card.previousElementSibling;
  card.remove();
  recount();
  say(`${name} is deleted.`);
  (neighbour?.querySelector("button") ?? input).focus(); // or a keyboard user would start again at the top
});
