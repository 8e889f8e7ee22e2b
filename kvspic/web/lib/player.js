// The video of one stream: live, or from a moment that is stored. Where there is none, a sentence says why.
import Hls from "/web/vendor/hls.light.min.mjs";
import { make, write } from "/web/lib/dom.js";
import { clock } from "/web/lib/format.js";

const RETRY = 2000;
const UNFIT = new Set(["manifestIncompatibleCodecsError", "bufferAddCodecError", "bufferIncompatibleCodecsError"]);
const STORED_SPAN = 3_600_000; // of one session for stored video

/** Makes a player. `stream` is a name; `start(span)` returns a session as `{ url }`, or `{ message }` where there is none;
 * `onTime(ms)` is called with the producer time that is on screen. */
export function makePlayer(stream, start, onTime) {
  const video = make("video", { muted: true, autoplay: true, playsInline: true, controls: true });
  const words = make("p", { className: "words", hidden: true });
  const badge = make("span", { className: "badge mode", hidden: true });
  const back = make("button", { type: "button", className: "live-button", hidden: true, onclick: () => live() }, "Back to live");
  const element = make("div", { className: "player" }, video, words, badge, back);
  let hls = null;
  let timer = 0;
  let wanted = { from: null };
  let number = 0;
  let isOver = false;
  let info = { tracks: [], state: "empty", last: null };

  function say(text) {
    words.hidden = !text;
    write(words, text ?? "");
    video.classList.toggle("covered", Boolean(text));
  }

  function close() {
    clearTimeout(timer);
    hls?.destroy();
    hls = null;
  }

  function again() {
    clearTimeout(timer);
    if (!isOver) timer = setTimeout(open, RETRY);
  }

  async function open() {
    close();
    const mine = ++number;
    const refused = unplayable(info.tracks, stream);
    if (refused) return say(refused);
    if (wanted.from === null && !info.isLive) {
      say(info.last ? `No video since ${clock(info.last)}. It plays here when the stream comes back; click the time line for what is stored.`
        : "No video yet. It plays here when the first fragment comes.");
      return;
    }
    const span = wanted.from === null ? {} : { from_ms: Math.round(wanted.from), to_ms: Math.round(wanted.from) + STORED_SPAN };
    try {
      const { url, message } = await start(span);
      if (mine !== number || isOver) return;
      if (url) return attach(url);
      say(message);
      again();
    } catch (error) {
      if (mine !== number) return;
      say(error.message);
      again();
    }
  }

  function attach(url) {
    if (!Hls.isSupported()) return say("This browser cannot play HLS: it has no Media Source Extensions.");
    hls = new Hls({
      enableWorker: false, // its worker would be a blob, which the policy of the page forbids
      liveDurationInfinity: true, liveSyncDurationCount: 1, liveMaxLatencyDurationCount: 4, maxBufferLength: 20,
      backBufferLength: 60, startPosition: wanted.from === null ? -1 : 0,
    });
    hls.on(Hls.Events.FRAG_CHANGED, () => say(null));
    hls.on(Hls.Events.ERROR, (_, data) => failed(data));
    hls.loadSource(url);
    hls.attachMedia(video);
    video.play().catch(() => {}); // a browser that does not start by itself shows its button
  }

  function failed(data) {
    if (!data.fatal) return;
    close();
    if (UNFIT.has(data.details)) return say(`This browser cannot play the codec of this stream. For any player: kvspic get ${stream} -o ${stream}.mkv`);
    again();
  }

  function live() {
    wanted = { from: null };
    back.hidden = true;
    badge.hidden = true;
    say(null);
    open();
  }

  video.addEventListener("timeupdate", () => {
    const at = hls?.playingDate;
    if (at) onTime(at.getTime());
  });

  return {
    element, video, live,
    /** Plays what is stored from a producer time on. */
    seek(ms) {
      wanted = { from: ms };
      back.hidden = false;
      write(badge, `stored, from ${clock(ms)}`);
      badge.hidden = false;
      say(null);
      open();
    },
    /** Takes what is known of the stream now. A stream that comes back is played again. */
    update(row) {
      const isLive = row.state === "live";
      const codecs = row.tracks.map((track) => track.codecs ?? track.codec).join();
      const hasChanged = codecs !== info.codecs || (isLive !== info.isLive && wanted.from === null);
      info = { tracks: row.tracks, codecs, isLive, last: row.last_ms };
      if (hasChanged) {
        open();
      }
    },
    stop() {
      isOver = true;
      number += 1;
      close();
    },
  };
}

/** Why a browser cannot show these tracks, or null. */
export function unplayable(tracks, stream) {
  for (const { kind, codec, codecs } of tracks) {
    if (!codecs) return `${codec} cannot be played here: MP4 in a browser takes H.264, H.265 and AAC. For any player: kvspic get ${stream} -o ${stream}.mkv`;
    const type = `${kind}/mp4; codecs="${codecs}"`;
    if (!globalThis.MediaSource?.isTypeSupported(type)) {
      return `This browser cannot play ${codec} (${codecs}). The stream is stored as it came. For any player: kvspic get ${stream} -o ${stream}.mkv`;
    }
  }
  return null;
}
