// One look a second while the page is in sight: figures, curves, faults, datasets, fetches.

import { Plot } from "/plot.js";
import { Pictures } from "/pictures.js";

const LOOK_MS = 1000, READ_MS = 8000, PATIENCE_MS = 20000, SAMPLES = 900;
const byId = (id) => document.getElementById(id);

async function ask(path, query = {}) {
  const answer = await fetch(path + "?" + new URLSearchParams(query), { signal: AbortSignal.timeout(PATIENCE_MS) });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error);
  return body;
}

function told(error) {
  byId("notice").textContent = error ? error.message : "";
  byId("notice").hidden = !error;
}

const count = (value) => (value ?? 0).toLocaleString("en");
const small = (value) => (value >= 10 || value === 0 ? value.toFixed(0) : value.toFixed(value >= 1 ? 1 : 2));

function bytes(value) {
  if (value === null || value === undefined) return "";
  for (const unit of ["B", "K", "M", "G"]) {
    if (value < 1024) return `${value >= 100 || unit === "B" ? Math.round(value) : small(value)}${unit === "B" ? " B" : unit}`;
    value /= 1024;
  }
  return `${small(value)}T`;
}

function make(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

const plots = [
  new Plot(byId("plot-bytes"), [{ field: "read_bytes", label: "read" }, { field: "fetched_bytes", label: "fetched" }], bytes, 1024),
  new Plot(byId("plot-files"), [{ field: "read_files", label: "read" }, { field: "fetched_files", label: "fetched" }], small),
  new Plot(byId("plot-queue"), [
    { field: "demand", label: "readers wait" }, { field: "look_ahead", label: "look-ahead" }, { field: "fill", label: "fill" },
  ], small),
  new Plot(byId("plot-requests"), [{ field: "api_requests", label: "requests" }], small),
];
let mount = null, samples = [], held = 0;  // until when an error of the grid stays to be read
const pictures = new Pictures(ask, (error) => {
  told(error);
  held = Date.now() + READ_MS;
});

function figure(name, value, more = "") {
  const made = make("div", "", "figure");
  made.append(name, make("b", value), make("small", more));
  return made;
}

function showFigures(document_, last) {
  const { hits = {}, budget = {}, cache = {}, queue = {}, requests = {}, read = {}, waits = {}, links = {} } = document_;
  const asked = (hits.disk ?? 0) + (hits.network ?? 0);
  const reset = budget.reset ? `, all of it at ${new Date(budget.reset * 1000).toLocaleTimeString()}` : "";
  byId("figures").replaceChildren(
    figure("Read", last ? `${bytes(last.read_bytes ?? 0)}/s` : "–", `${bytes(read.bytes ?? 0)}, ${count(read.files)} files`),
    figure("Fetched", last ? `${bytes(last.fetched_bytes ?? 0)}/s` : "–", `${bytes(document_.bytes_fetched)}, ${count(requests.storage)} transfers`),
    figure("Here already", asked ? `${((100 * hits.disk) / asked).toFixed(1)} %` : "–", `of ${count(asked)} reads; the page cache is not counted`),
    figure("Cache", bytes(cache.bytes), cache.limit ? `of ${bytes(cache.limit)}, ${count(cache.files)} blocks` : `${count(cache.files)} blocks`),
    figure("API budget", budget.limit ? count(budget.remaining) : "–", budget.limit ? `of ${count(budget.limit)}${reset}` : "not known yet"),
    figure("Queue", count((queue.demand ?? 0) + (queue.look_ahead ?? 0) + (queue.fill ?? 0)), `${count(queue.demand)} that readers wait for`),
    figure("Signed URLs", count(links.urls), links.expires ? `the first for ${Math.round(links.expires)} s` : ""),
    figure("Waiting", count(waits.now), `operations; ${count(waits.timed_out)} timed out`),
  );
}

function showFaults(faults) {
  const rows = faults.map((fault) => {
    const row = make("li", fault.what, fault.grave ? "grave" : "");
    row.append(make("small", (fault.at ? `${fault.at} · ` : "") + fault.mend));
    return row;
  });
  byId("faults").replaceChildren(...(rows.length ? rows : [make("li", "nothing is wrong", "none")]));
}

function showDatasets(datasets) {
  byId("datasets").tBodies[0].replaceChildren(...datasets.map((dataset) => {
    const row = document.createElement("tr");
    const name = make("td", ""), open = make("button", dataset.name);
    open.type = "button";
    open.addEventListener("click", () => pictures.dataset(dataset.name));
    name.append(open);
    const share = document.createElement("progress"), bar = make("td", "");
    share.max = Math.max(dataset.images, 1);
    share.value = dataset.cached;
    bar.append(share);
    const percent = dataset.images ? ` (${Math.floor((100 * dataset.cached) / dataset.images)} %)` : "";
    row.append(name, make("td", count(dataset.images), "number"), make("td", count(dataset.cached) + percent, "number"), bar, make("td", bytes(dataset.bytes), "number"));
    return row;
  }));
}

function showFlights(flights) {
  byId("flights-section").hidden = !flights.length;
  byId("flights").tBodies[0].replaceChildren(...flights.map((flight) => {
    const row = document.createElement("tr");
    const readers = flight.pids.length ? flight.pids.join(", ") : "nobody yet";
    for (const text of [flight.path, flight.priority.replace("_", "-"), flight.doing, readers, `${flight.seconds} s`]) row.append(make("td", text));
    return row;
  }));
}

function showState(state) {
  const { document: document_ } = state;
  samples = samples.concat(state.samples).slice(-SAMPLES);
  const standing = document_.refused ? "the key is refused" : document_.online ? "online" : "offline";
  byId("standing").textContent = standing;
  byId("standing").className = `chip ${standing === "online" ? "good" : "bad"}`;
  byId("about").textContent = `${document_.source} · ${document_.driver}, io=${document_.io}, dialect ${document_.dialect || "?"} · ${document_.version}`;
  showFigures(document_, samples[samples.length - 1]);
  for (const plot of plots) plot.draw(samples);
  showFaults(state.faults);
  // Under a hand that is about to click, a row stays.
  if (!byId("datasets").matches(":hover")) showDatasets(document_.datasets ?? []);
  showFlights(document_.flights ?? []);
}

async function choose(mounts) {
  const options = mounts.map((each) => {
    const option = make("option", each.mountpoint);
    option.value = each.mountpoint;
    return option;
  });
  const chosen = mounts.find((each) => each.mountpoint === mount) ?? mounts[0];
  byId("mounts").replaceChildren(...options);
  byId("mounts").hidden = !mounts.length;
  if (!chosen) {
    mount = null;
    throw new Error("nothing of pictofs is mounted; this page shows it as soon as something is");
  }
  byId("mounts").value = chosen.mountpoint;
  if (chosen.mountpoint !== mount) await change(chosen.mountpoint);
}

async function change(mountpoint) {
  mount = mountpoint;
  samples = [];
  await pictures.of(mountpoint);
}

byId("mounts").addEventListener("change", () => change(byId("mounts").value));

let known = "";
async function look() {
  try {
    if (!document.hidden) {
      const mounts = await ask("/api/mounts");
      const listed = JSON.stringify(mounts);
      if (listed !== known || mount === null) await choose(mounts);
      known = listed;
      const asked = mount, since = samples.length ? samples[samples.length - 1].at : 0;
      const state = await ask("/api/state", { mount: asked, since });
      if (asked === mount) showState(state);
      if (Date.now() > held) told(null);
    }
  } catch (error) {
    told(error instanceof TypeError ? new Error("`pictofs ui` has ended") : error);
  }
  setTimeout(look, LOOK_MS);
}

look();
