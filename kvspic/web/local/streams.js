// The list of streams: does each camera work? One line each, the newest picture, the numbers, what is wrong.
import { call, repeat } from "/web/lib/api.js";
import { keep, make, write } from "/web/lib/dom.js";
import { DASH, ago, bits, rate, span } from "/web/lib/format.js";

const PAUSE = 1000;
const PICTURE_AGE = 10_000;
export const WORDS = {
  live: ["live", "Fragments are coming in."],
  starting: ["starting", "A session is open, its first fragment has not come yet."],
  quiet: ["quiet", "A session is open, but no fragment comes."],
  stopped: ["stopped", "No session is open."],
  empty: ["empty", "Nothing was ever uploaded."],
};

/** Writes a stream's state into a badge. */
export function writeState(badge, row) {
  const state = row.status === "DELETING" ? ["deleting", "The stream is being deleted."] : WORDS[row.state];
  const text = row.is_in_error ? "error" : state[0];
  badge.className = `badge ${row.is_in_error ? "error" : row.state}`;
  badge.title = row.is_in_error ? `ERROR ${row.error.id} ${row.error.name}` : state[1];
  write(badge, text);
}

export function streamsView({ view, failed, head }) {
  document.title = "kvspic: streams";
  let page = 0;
  const find = make("input", { type: "search", placeholder: "Find a stream", attributes: { "aria-label": "Find a stream" } });
  const count = make("span", { className: "dim" });
  const rows = make("div", { className: "rows" });
  const empty = makeEmpty();
  const pages = makePages((step) => { page = Math.max(0, page + step); load(); });
  const pictures = makePictures();
  find.addEventListener("input", () => { page = 0; load(); });
  view.append(make("div", { className: "tools" }, make("h1", {}, "Streams"), count, make("span", { className: "grow" }), find),
    make("div", { className: "card list" }, makeHead(), rows), empty, pages.element);

  async function load() {
    try {
      const answer = await call("streams", { find: find.value, page });
      page = answer.page;
      head.say(null);
      head.setFaults(answer.faults);
      head.setRegion(answer.region);
      const live = answer.streams.filter((row) => row.state === "live").length;
      write(count, answer.count ? `${answer.count} found${answer.pages === 1 ? `, ${live} live` : ""}` : "");
      rows.parentElement.hidden = !answer.streams.length;
      empty.hidden = answer.streams.length > 0 || find.value !== "";
      pages.update(answer);
      keep(rows, answer.streams, (row) => row.name, (row) => makeRow(row, pictures), (element, row) => update(element, row, answer.now_ms));
    } catch (error) {
      failed(error);
    }
  }
  const stop = repeat(load, PAUSE);
  return () => { stop(); pictures.stop(); };
}

function makeHead() {
  const names = ["", "Stream", "Frames", "Bitrate", "Last fragment", "ACK", "Sessions", "Errors"];
  return make("div", { className: "row names", attributes: { "aria-hidden": "true" } }, ...names.map((name) => make("span", {}, name)));
}

function makeEmpty() {
  const command = `kvspic put testsrc --stream front-door --endpoint ${location.origin}`;
  return make("div", { className: "card empty", hidden: true },
    make("h2", {}, "No stream yet"), make("p", {}, "Point a camera here, or start one of your own:"), make("pre", {}, command));
}

function makePages(step) {
  const text = make("span", {});
  const back = make("button", { type: "button", onclick: () => step(-1) }, "Back");
  const next = make("button", { type: "button", onclick: () => step(1) }, "Next");
  const element = make("nav", { className: "pages", hidden: true }, back, text, next);
  return {
    element,
    update(answer) {
      element.hidden = answer.pages < 2;
      write(text, `${answer.page + 1} of ${answer.pages}`);
      back.disabled = answer.page === 0;
      next.disabled = answer.page + 1 >= answer.pages;
    },
  };
}

function makeRow(row, pictures) {
  const cell = (name, label) => make("span", { className: `cell ${name}`, data: { label } });
  const picture = make("img", { className: "thumb", alt: "", width: 96, height: 54, hidden: true });
  const name = make("span", { className: "cell name" }, make("strong", {}, row.name), make("span", { className: "badge" }));
  const element = make("a", { className: "row", href: `#/stream/${encodeURIComponent(row.name)}` },
    make("span", { className: "frame" }, picture), name, cell("fps", "Frames"), cell("bits", "Bitrate"),
    cell("last", "Last fragment"), cell("ack", "ACK"), cell("sessions", "Sessions"), cell("errors", "Errors"));
  pictures.watch(element);
  return element;
}

function update(element, row, now) {
  const put = (name, text) => write(element.querySelector(`.${name}`), text);
  writeState(element.querySelector(".badge"), row);
  element.wanted = row.last_producer_ms;
  put("fps", rate(row.fps));
  put("bits", bits(row.bits_per_s));
  put("last", ago(row.last_ms, now));
  put("ack", span(row.ack_ms));
  put("sessions", row.open ? `${row.open} open of ${row.sessions}` : row.sessions ? String(row.sessions) : DASH);
  put("errors", row.errors ? `${row.errors}, ${row.error.name}` : "0");
  element.querySelector(".errors").classList.toggle("bad", row.errors > 0);
}

/** Fetches the pictures of the rows that can be seen, one at a time, each again when it is old. */
function makePictures() {
  const seen = new Set();
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) isIntersecting ? seen.add(target) : seen.delete(target);
  });
  const stop = repeat(async () => {
    for (const row of seen) {
      if (!row.isConnected) { seen.delete(row); observer.unobserve(row); continue; }
      const old = performance.now() - (row.fetchedAt ?? -Infinity) > PICTURE_AGE;
      if (row.wanted && old && row.wanted !== row.shown) await fetchPicture(row);
    }
  }, 500);
  return { watch: (row) => observer.observe(row), stop: () => { stop(); observer.disconnect(); } };
}

async function fetchPicture(row) {
  const at = row.wanted;
  row.fetchedAt = performance.now();
  row.shown = at;
  const { images } = await call("images", { name: row.dataset.key, from_ms: at, to_ms: at + 1, width: 192 }).catch(() => ({ images: [] }));
  const image = row.querySelector("img");
  if (!images[0]?.jpeg) return; // sound, or a codec without pictures here
  image.src = `data:image/jpeg;base64,${images[0].jpeg}`;
  image.hidden = false;
}
