// What is stored, on a line of producer time: fragments, the gaps between them, and what came twice. A click plays it.
import { call } from "/web/lib/api.js";
import { make } from "/web/lib/dom.js";
import { bytes, clock, span } from "/web/lib/format.js";

const RANGES = [["1 min", 60_000], ["10 min", 600_000], ["1 h", 3_600_000]];
const HEIGHT = 76;
const TOP = 16; // the axis; fragments are below, copies of them below those
const LANE = 30;
const COPY = 14;
const PICTURES = 8;
const PICTURES_AGE = 8_000;

export function makeTimeLine(stream, onSeek, failed) {
  const canvas = make("canvas", { className: "line", height: HEIGHT, tabIndex: 0, attributes: { role: "slider", "aria-label": "Stored video; arrow keys move, Enter plays" } });
  const words = make("p", { className: "dim under" });
  const strip = make("div", { className: "strip" });
  const range = { length: RANGES[0][1], end: null };
  const buttons = RANGES.map(([label, length]) => make("button", { type: "button", onclick: () => choose(length) }, label));
  const older = make("button", { type: "button", onclick: () => move(-0.5), attributes: { "aria-label": "Earlier" } }, "◀");
  const newer = make("button", { type: "button", onclick: () => move(0.5), attributes: { "aria-label": "Later" } }, "▶");
  const element = make("section", { className: "card time-line" },
    make("div", { className: "tools small" }, make("h2", {}, "Stored"), make("span", { className: "grow" }), older, ...buttons, newer),
    canvas, strip, words);
  let found = { fragments: [], gaps: [], duplicates: 0 };
  let row = null;
  let loadedFor = "";
  let playing = null;
  let hover = null;
  let picturesAt = -Infinity;

  function edges() {
    const end = range.end ?? (row?.last_producer_ms ?? Date.now()) + range.length * 0.06;
    return [end - range.length, end];
  }

  function choose(length) {
    Object.assign(range, { length, end: null });
    renew();
  }

  function move(part) {
    const [, end] = edges();
    const next = end + part * range.length;
    range.end = row?.last_producer_ms && next >= row.last_producer_ms ? null : next;
    renew();
  }

  function renew() {
    loadedFor = "";
    picturesAt = -Infinity;
    if (row) load();
  }

  async function load() {
    buttons.forEach((button, index) => button.classList.toggle("chosen", RANGES[index][1] === range.length));
    newer.disabled = range.end === null;
    const [first, last] = edges().map(Math.round);
    const wanted = `${first}/${last}/${row.last_ms}`;
    if (wanted !== loadedFor) {
      loadedFor = wanted;
      try {
        found = await call("fragments", { name: stream, from_ms: Math.max(0, first - 20_000), to_ms: last });
      } catch (error) {
        failed(error);
      }
      describe(first);
      loadPictures(first, last);
    }
    draw();
  }

  function describe(first) {
    const shown = found.fragments.filter((one) => one[0] + one[1] > first);
    const gaps = found.gaps.filter((gap) => gap[0] + gap[1] > first);
    const copies = shown.filter((one) => one[5]).length;
    const size = shown.reduce((sum, one) => sum + one[3], 0);
    const missing = gaps.reduce((sum, gap) => sum + gap[1], 0);
    const parts = [
      ["of-fragments", `${shown.length} fragment${shown.length === 1 ? "" : "s"}, ${bytes(size)}`],
      [gaps.length ? "of-gaps" : "plain", gaps.length ? `${gaps.length} gap${gaps.length > 1 ? "s" : ""} of ${span(missing)}` : "no gap"],
      [copies ? "of-copies" : "plain", copies ? `${copies} came twice` : "none came twice"],
    ];
    if (found.is_cut) parts.push(["plain", "only the first 5,000 of this range are shown"]);
    const texts = shown.length ? parts : [["plain", "Nothing is stored of this time."]];
    words.replaceChildren(...texts.map(([className, text]) => make("span", { className }, text)));
  }

  async function loadPictures(first, last) {
    const inside = found.fragments.filter((one) => one[0] >= first);
    if (!inside.length || performance.now() - picturesAt < PICTURES_AGE || !row.tracks.some((track) => track.kind === "video")) return;
    picturesAt = performance.now();
    const [from, to] = [inside[0][0], inside.at(-1)[0] + 1];
    try {
      const { images } = await call("images", { name: stream, from_ms: from, to_ms: to, count: PICTURES, width: 192 });
      strip.replaceChildren(...images.filter((one) => one.jpeg).map(({ at_ms, jpeg }) =>
        make("button", { type: "button", title: clock(at_ms), onclick: () => onSeek(at_ms) },
          make("img", { src: `data:image/jpeg;base64,${jpeg}`, alt: `Picture of ${clock(at_ms)}` }), make("span", {}, clock(at_ms)))));
    } catch {
      strip.replaceChildren(); // the player says why there are no pictures
    }
  }

  function draw() {
    const width = canvas.clientWidth;
    const scale = devicePixelRatio || 1;
    if (!width) return;
    if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
    canvas.height = HEIGHT * scale;
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    const style = getComputedStyle(canvas);
    const color = (name) => style.getPropertyValue(name).trim();
    const [first, last] = edges();
    const x = (ms) => ((ms - first) / (last - first)) * width;
    pen.clearRect(0, 0, width, HEIGHT);
    drawAxis(pen, x, { first, last, width, color, font: style.fontFamily });
    for (const [start, length] of found.gaps) {
      pen.fillStyle = color("--bad-soft");
      pen.fillRect(x(start), TOP, Math.max(2, x(start + length) - x(start)), LANE);
      pen.fillStyle = color("--bad");
      pen.fillRect(x(start), TOP + LANE - 3, Math.max(2, x(start + length) - x(start)), 3);
    }
    for (const [start, length, , , session, copy] of found.fragments) {
      const wide = Math.max(1.5, x(start + length) - x(start));
      pen.fillStyle = copy ? color("--warn") : color(session % 2 ? "--fragment" : "--fragment-other");
      if (copy) pen.fillRect(x(start), TOP + LANE + 4, wide - (wide > 4 ? 1 : 0), COPY);
      else pen.fillRect(x(start), TOP, wide - (wide > 4 ? 1 : 0), LANE);
    }
    if (playing !== null) drawMark(pen, x(playing), color("--text"));
    if (hover !== null) drawMark(pen, x(hover), color("--dim"));
    canvas.setAttribute("aria-valuetext", clock(hover ?? playing ?? last));
  }

  function at(event) {
    const [first, last] = edges();
    return first + (event.offsetX / canvas.clientWidth) * (last - first);
  }

  canvas.addEventListener("pointermove", (event) => {
    hover = at(event);
    const fragment = found.fragments.find(([start, length]) => hover >= start && hover < start + length);
    canvas.title = fragment
      ? `${clock(fragment[0])}, ${span(fragment[1])}, ${bytes(fragment[3])}, here at ${clock(fragment[2])}` : clock(hover);
    draw();
  });
  canvas.addEventListener("pointerleave", () => { hover = null; draw(); });
  canvas.addEventListener("click", (event) => onSeek(at(event)));
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
    if (event.key === "Enter" && hover !== null) onSeek(hover);
    if (!step) return;
    event.preventDefault();
    const [first, last] = edges();
    hover = Math.min(last, Math.max(first, (hover ?? playing ?? last) + step * range.length));
    draw();
  });
  const resized = new ResizeObserver(draw);
  resized.observe(canvas);

  return {
    element,
    /** Takes what is known of the stream now. */
    update(next) {
      row = next;
      load();
    },
    /** Shows which producer time is on screen. */
    mark(ms) {
      playing = ms;
      draw();
    },
    stop: () => resized.disconnect(),
  };
}

function drawMark(pen, x, color) {
  pen.fillStyle = color;
  pen.fillRect(x - 1, TOP - 4, 2, HEIGHT - TOP);
}

/** Times of day at round steps, far enough apart to be read. */
function drawAxis(pen, x, { first, last, width, color, font }) {
  const steps = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600].map((seconds) => seconds * 1000);
  const step = steps.find((one) => (one / (last - first)) * width >= 80) ?? steps.at(-1);
  pen.font = `11px ${font}`;
  for (let ms = Math.ceil(first / step) * step; ms < last; ms += step) {
    pen.fillStyle = color("--line");
    pen.fillRect(x(ms), TOP - 3, 1, HEIGHT - TOP);
    pen.fillStyle = color("--dim");
    const text = clock(ms);
    if (x(ms) + pen.measureText(text).width < width) pen.fillText(text, x(ms) + 3, TOP - 5);
  }
}
