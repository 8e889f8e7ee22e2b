// One stream: its video, what is stored on a time line, numbers over time, sessions, errors and metadata.
import { call, repeat } from "/web/lib/api.js";
import { keep, make, tile, write } from "/web/lib/dom.js";
import { ago, bits, bytes, clock, DASH, rate, span } from "/web/lib/format.js";
import { makePlayer } from "/web/lib/player.js";
import { makePlots } from "/web/lib/plots.js";
import { writeState } from "/web/local/streams.js";
import { makeTimeLine } from "/web/local/timeline.js";

const LINES = [
  ["Frames a second", (point) => (point.duration_ms ? (point.frames * 1000) / point.duration_ms : null), (value) => value.toFixed(1), "--fragment"],
  ["kbit/s", (point) => (point.duration_ms ? (point.size * 8) / point.duration_ms : null), (value) => value.toFixed(0), "--plot-b"],
  ["ACK latency, ms", (point) => point.ack_ms, (value) => value.toFixed(1), "--plot-c"],
];

export function streamView({ view, failed, head }, name) {
  document.title = `kvspic: ${name}`;
  const badge = make("span", { className: "badge" });
  const play = (span) => call("play", {}, { method: "POST", body: { name, ...span } });
  const timeLine = makeTimeLine(name, (ms) => player.seek(ms), failed);
  const player = makePlayer(name, play, (ms) => timeLine.mark(ms));
  const tiles = makeTiles();
  const tracks = make("ul", { className: "facts" });
  const plots = makePlots("Fragment by fragment", LINES, (point) => point.producer_ms);
  const ledger = makeLedger();
  const errors = make("ul", { className: "log" });
  const metadata = makeMetadata(name);
  view.append(
    make("div", { className: "tools" }, make("a", { href: "#/", className: "dim" }, "Streams"), make("h1", {}, name), badge),
    make("div", { className: "split" },
      make("div", {}, player.element, timeLine.element),
      make("div", { className: "side" }, tiles.element, card("Tracks", tracks), plots.element)),
    card("Sessions", ledger.element), card("Error ACKs", errors), metadata.element);

  const stop = repeat(async () => {
    try {
      const row = await call("stream", { name });
      head.say(null);
      head.setFaults(row.faults);
      writeState(badge, row);
      tiles.update(row);
      player.update(row);
      timeLine.update(row);
      plots.update(row.points);
      keep(tracks, row.tracks, (track) => track.number, () => make("li"), (item, track) => write(item, trackWords(track)));
      ledger.update(row);
      writeErrors(errors, row);
    } catch (error) {
      failed(error);
    }
  }, 1000);
  const stopMetadata = repeat(() => metadata.load().catch(() => {}), 5000);
  return () => { stop(); stopMetadata(); player.stop(); timeLine.stop(); plots.stop(); };
}

function card(title, ...children) {
  return make("section", { className: "card" }, make("h2", {}, title), ...children);
}

function trackWords({ kind, codec, codecs, width, height, rate: hertz, channels, name }) {
  const size = kind === "video" ? (width ? `${width} × ${height}` : "") : `${hertz} Hz, ${channels} channel${channels === 1 ? "" : "s"}`;
  return [`${kind}: ${codec}`, size, codecs ?? "", name].filter(Boolean).join(", ");
}

function makeTiles() {
  const cells = {
    fps: tile("Frames", "Frames of video in a second of its own time, over the newest 10 s"),
    bits: tile("Bitrate", "Over the newest 10 s of media"),
    last: tile("Last fragment", "When the newest whole fragment was here"),
    ack: tile("ACK latency", "From a fragment's last byte here to its PERSISTED ACK"),
    delay: tile("Behind the clock", "How far the end of the newest fragment lay behind this machine's clock when it was here"),
    retention: tile("Retention", "How long a fragment is kept"),
  };
  return {
    element: make("dl", { className: "tiles" }, ...Object.values(cells).map((cell) => cell.element)),
    update(row) {
      write(cells.fps.value, rate(row.fps));
      write(cells.bits.value, bits(row.bits_per_s));
      write(cells.last.value, ago(row.last_ms, row.now_ms));
      write(cells.ack.value, span(row.ack_ms));
      write(cells.delay.value, span(row.delay_ms));
      write(cells.retention.value, row.info.DataRetentionInHours ? `${row.info.DataRetentionInHours} h` : "none");
    },
  };
}

function makeLedger() {
  const names = ["", "Began", "Lasted", "Bytes", "Frames", "Buffering", "Received", "Persisted", "Errors", "Client"];
  const body = make("tbody");
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name)))), body);
  const none = make("p", { className: "dim" }, "No session since the endpoint began.");
  return {
    element: make("div", { className: "scroll" }, table, none),
    update(row) {
      table.hidden = !row.ledger.length;
      none.hidden = !table.hidden;
      keep(body, row.ledger, (session) => session.number,
        () => make("tr", {}, ...names.map(() => make("td"))),
        (line, session) => {
          const end = session.ended_ms ?? row.now_ms;
          const texts = [
            session.ended_ms === null ? "●" : "", clock(session.began_ms, row.now_ms), span(end - session.began_ms), bytes(session.bytes),
            session.frames, session.buffering, session.received, session.persisted, session.errors, session.client || DASH,
          ];
          texts.forEach((text, index) => write(line.children[index], String(text)));
          line.className = session.errors ? "bad" : session.ended_ms === null ? "open" : "";
        });
    },
  };
}

function writeErrors(list, row) {
  list.parentElement.hidden = !row.error_acks.length;
  keep(list, row.error_acks, (error) => `${error.at_ms}/${error.session}`, () => make("li"), (item, error) => {
    const where = error.timecode === null ? "" : `, fragment at timecode ${error.timecode}`;
    write(item, `${clock(error.at_ms, row.now_ms)}  ${error.id} ${error.name}, session ${error.session}${where}`);
  });
}

function makeMetadata(name) {
  const list = make("ul", { className: "log" });
  const element = card("Metadata and events", list);
  element.hidden = true;
  return {
    element,
    async load() {
      const { metadata } = await call("metadata", { name });
      element.hidden = !metadata.length;
      const rows = metadata.map((entry, place) => ({ ...entry, key: `${entry.number}/${place}` }));
      keep(list, rows, (entry) => entry.key, () => make("li"), (item, entry) => {
        const pairs = entry.pairs.map(([key, value]) => (value ? `${key} = ${value}` : key)).join(", ");
        write(item, `${clock(entry.at_ms)}  ${pairs}`);
        item.classList.toggle("event", entry.event !== null);
      });
    },
  };
}
