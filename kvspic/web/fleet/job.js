// One camera: its video, figures over time, what it shall do, and its log as a time line and as lines.
import { makeActions } from "/web/fleet/actions.js";
import { call, jobPath, watch } from "/web/fleet/api.js";
import { makeLog } from "/web/fleet/log.js";
import { fps, kbps, ms, stateWords, writeStatus } from "/web/fleet/words.js";
import { repeat } from "/web/lib/api.js";
import { keep, make, tile, write } from "/web/lib/dom.js";
import { DASH, span } from "/web/lib/format.js";
import { makePlayer } from "/web/lib/player.js";
import { makePlots } from "/web/lib/plots.js";

const POINTS = 720; // an hour of feedback
const PAUSE = 2000;
const LINES = [
  ["kbit/s", (point) => point.kbps ?? null, (value) => value.toFixed(0), "--plot-b"],
  ["Frames a second", (point) => point.fps ?? null, (value) => value.toFixed(1), "--fragment"],
  ["ACK latency, ms", (point) => point.ack_ms_p99 ?? null, (value) => value.toFixed(0), "--plot-c"],
  ["Frames in the buffer", (point) => point.buffered ?? null, (value) => value.toFixed(0), "--fragment-other"],
];

export function jobView({ view, failed, head }, id) {
  const badge = make("span", { className: "badge" });
  const title = make("h1", {}, id);
  const state = make("p", { className: "result" });
  const actions = makeActions(() => (job ? [job] : []), (sentence) => { write(state, sentence); load(); }, failed);
  const tiles = makeTiles();
  const facts = make("ul", { className: "facts" });
  const plots = makePlots("Since this page was opened", LINES, (point) => point.at);
  const log = makeLog(id);
  const place = make("div");
  const points = [];
  let job = null;
  let player = null;
  view.append(
    make("div", { className: "tools" }, make("a", { href: "#/", className: "dim" }, "Cameras"), title, badge,
      make("span", { className: "grow" }), actions.element),
    state,
    make("div", { className: "split" }, make("div", {}, place, log.element),
      make("div", { className: "side" }, tiles.element, make("section", { className: "card" }, make("h2", {}, "Job"), facts), plots.element)));

  async function load() {
    try {
      job = await call(jobPath(id));
      head.say(null);
      update();
      await log.load();
    } catch (error) {
      if (error.status === 404) gone();
      else failed(error);
    }
  }

  function gone() {
    job = null;
    actions.enable(false);
    player?.stop();
    write(state, "This camera was deleted. Its log stays.");
    writeStatus(badge, "deleted");
    log.load().catch(failed);
  }

  function update() {
    document.title = `kvspic fleet: ${job.name}`;
    write(title, job.name);
    writeStatus(badge, job.status, job.stats);
    actions.enable(true);
    write(state, stateWords(job));
    state.classList.toggle("bad", Boolean(job.error));
    tiles.update(job);
    keep(facts, factsOf(job), ([name]) => name, () => make("li"), (item, [name, value]) => write(item, `${name}: ${value}`));
    if (!player) {
      player = makePlayer(job.stream, () => call("/page/play", {}, { method: "POST", body: { job: job.id } }), () => {});
      place.replaceChildren(player.element);
      showPicture();
    }
    const isLive = job.status === "in_progress" && (job.stats?.last_persisted_age_s ?? 0) < 60;
    player.update({ tracks: [], state: isLive ? "live" : "stopped", last_ms: null });
    const at = ms(job.stats_at);
    if (job.stats && at !== points.at(-1)?.at) points.push({ ...job.stats, at });
    if (points.length > POINTS) points.shift();
    plots.update(points);
  }

  async function showPicture() {
    const { jpeg } = await call("/page/picture", {}, { method: "POST", body: { job: id } }).catch(() => ({ jpeg: null }));
    if (jpeg && player) player.video.poster = `data:image/jpeg;base64,${jpeg}`;
  }

  const stop = repeat(load, PAUSE);
  const stopWatching = watch(load);
  return () => { stop(); stopWatching(); player?.stop(); plots.stop(); };
}

function makeTiles() {
  const cells = {
    fps: tile("Frames", "As its worker put them in the last seconds"),
    kbps: tile("Bitrate"),
    persisted: tile("Last persisted", "Age of the newest fragment that the service has stored, at the last report"),
    ack: tile("ACK latency", "From a fragment's first byte to its PERSISTED ACK: the middle one of the last report"),
    dropped: tile("Dropped", "Frames that were lost for the service since this worker took the camera"),
    handler: tile("Worker"),
  };
  return {
    element: make("dl", { className: "tiles" }, ...Object.values(cells).map((cell) => cell.element)),
    update(job) {
      const stats = job.status === "in_progress" ? job.stats ?? {} : {};
      const seconds = (value) => (typeof value === "number" ? `${span(value * 1000)} ago` : DASH);
      write(cells.fps.value, fps(job));
      write(cells.kbps.value, kbps(job));
      write(cells.persisted.value, seconds(stats.last_persisted_age_s));
      write(cells.ack.value, span(stats.ack_ms_p50 ?? null));
      write(cells.dropped.value, String(stats.dropped ?? DASH));
      write(cells.handler.value, job.handler ?? DASH);
    },
  };
}

function factsOf(job) {
  const restart = job.autorestart;
  const options = Object.entries(job.options).filter(([, value]) => value !== null && value !== false);
  return [
    ["source", `${job.source.type} ${job.source.url}`],
    ["stream", [job.stream, job.region, job.endpoint].filter(Boolean).join(" ")],
    ["group", job.group ?? DASH],
    ["labels", job.labels.join(", ") || DASH],
    ["options", options.map(([name, value]) => `${name} ${value}`).join(", ") || DASH],
    ["autorestart", `${restart.status}, ${restart.current_attempt} of ${restart.attempt_count ?? "any number of"} attempts`],
    ["version", `${job.version}, epoch ${job.epoch}${job.fenced ? "" : ", not fenced"}`],
    ["id", job.id],
    ["about", job.description],
  ].filter(([, value]) => value);
}
