// The list of cameras: what is wrong comes to the eye, a hundred at a time, with actions on those that are chosen.
import { makeActions } from "/web/fleet/actions.js";
import { call, watch } from "/web/fleet/api.js";
import { fps, kbps, ms, STATUSES, stateWords, writeStatus } from "/web/fleet/words.js";
import { repeat } from "/web/lib/api.js";
import { keep, make, write } from "/web/lib/dom.js";
import { DASH, span } from "/web/lib/format.js";

const PAUSE = 5000;
const NAMES = ["", "Camera", "Status", "For", "Worker", "Group", "Frames", "Bitrate", "State"];

export function jobsView({ view, failed, head }) {
  document.title = "kvspic fleet";
  let starts = [undefined]; // where each page up to this one begins
  let next = null;
  let status;
  let shown = [];
  const chosen = new Map();

  const chips = makeChips((name) => { status = status === name ? undefined : name; begin(); });
  const group = filter("Group");
  const handler = filter("Worker");
  const name = filter("Name");
  const all = make("input", { type: "checkbox", attributes: { "aria-label": "Choose all on this page" }, onchange: chooseAll });
  const count = make("span", { className: "dim" });
  const result = make("p", { className: "dim result", attributes: { role: "status" } });
  const actions = makeActions(() => [...chosen.values()], done, failed);
  const rows = make("tbody");
  const table = make("table", { className: "jobs" },
    make("thead", {}, make("tr", {}, make("th", {}, all), ...NAMES.slice(1).map((text) => make("th", { scope: "col" }, text)))), rows);
  const empty = make("p", { className: "empty" });
  const back = make("button", { type: "button", onclick: () => { starts.pop(); load(); } }, "Back");
  const on = make("button", { type: "button", onclick: () => { starts.push(next); load(); } }, "Next");
  view.append(
    make("div", { className: "tools" }, make("h1", {}, "Cameras"), chips.element),
    make("div", { className: "tools small" }, name, group, handler, make("span", { className: "grow" }), count, actions.element),
    result, make("div", { className: "card scroll" }, table, empty), make("nav", { className: "pages" }, back, on));

  function filter(title) {
    return make("input", { type: "search", placeholder: title, attributes: { "aria-label": title }, onchange: () => begin() });
  }

  function begin() {
    starts = [undefined];
    choose(new Map());
    load();
  }

  function choose(jobs) {
    chosen.clear();
    for (const [id, job] of jobs) chosen.set(id, job);
    showChosen();
  }

  function chooseAll() {
    choose(new Map(all.checked ? shown.map((job) => [job.id, job]) : []));
    for (const box of rows.querySelectorAll("input")) box.checked = all.checked;
  }

  function showChosen() {
    actions.enable(chosen.size > 0);
    write(count, chosen.size ? `${chosen.size} chosen` : "");
    all.checked = shown.length > 0 && shown.every((job) => chosen.has(job.id));
  }

  function done(sentence) {
    write(result, sentence);
    choose(new Map());
    load();
  }

  async function load() {
    const asked = { status, group: group.value || undefined, handler: handler.value || undefined, name: name.value || undefined };
    try {
      const [page, queue] = await Promise.all([call("jobs", { ...asked, after: starts.at(-1) }), call("queue")]);
      head.say(null);
      chips.update(queue.counts, status);
      shown = page.jobs;
      next = page.next;
      back.disabled = starts.length === 1;
      on.disabled = next === null;
      back.parentElement.hidden = back.disabled && on.disabled;
      table.hidden = !shown.length;
      empty.hidden = !table.hidden;
      const isFiltered = Object.values(asked).some(Boolean);
      write(empty, isFiltered ? "No camera is like that." : "No camera yet. Add one: kvspic fleet add front-door rtsp://10.0.0.9/1");
      const now = Date.now();
      keep(rows, shown, (job) => job.id, makeRow, (row, job) => updateRow(row, job, now));
      showChosen();
    } catch (error) {
      failed(error);
    }
  }

  function makeRow(job) {
    const box = make("input", { type: "checkbox", attributes: { "aria-label": `Choose ${job.name}` } });
    const link = make("a", { href: `#/job/${encodeURIComponent(job.id)}` });
    const row = make("tr", {}, make("td", {}, box), make("td", {}, link), make("td", {}, make("span", { className: "badge" })),
      ...NAMES.slice(3).map(() => make("td")));
    box.addEventListener("change", () => {
      if (box.checked) chosen.set(job.id, row.job);
      else chosen.delete(job.id);
      showChosen();
    });
    return row;
  }

  function updateRow(row, job, now) {
    row.job = job;
    row.querySelector("input").checked = chosen.has(job.id);
    write(row.querySelector("a"), job.name);
    writeStatus(row.querySelector(".badge"), job.status, job.stats);
    const texts = [span(now - ms(job.status_since)), job.handler ?? DASH, job.group ?? DASH, fps(job), kbps(job), stateWords(job)];
    texts.forEach((text, index) => write(row.children[index + 3], text));
    row.lastElementChild.title = stateWords(job);
    row.lastElementChild.classList.toggle("bad", Boolean(job.error));
  }

  actions.enable(false);
  const stop = repeat(load, PAUSE);
  const stopWatching = watch(load);
  return () => { stop(); stopWatching(); };
}

function makeChips(choose) {
  const chips = new Map(STATUSES.map((status) => {
    const number = make("b", {}, "0");
    const chip = make("button", { type: "button", className: "chip", onclick: () => choose(status) }, status.replaceAll("_", " "), " ", number);
    return [status, { chip, number }];
  }));
  return {
    element: make("span", { className: "chips" }, ...[...chips.values()].map(({ chip }) => chip)),
    update(counts, status) {
      for (const [name, { chip, number }] of chips) {
        write(number, String(counts[name] ?? 0));
        chip.classList.toggle("chosen", name === status);
        chip.classList.toggle("wrong", name === "failure" && counts[name] > 0);
      }
    },
  };
}
