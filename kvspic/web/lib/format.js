// Numbers and times as a person reads them. Times are milliseconds since 1970; null gives a dash.

export const DASH = "–";

export function bits(value) {
  if (value === null || value === undefined) return DASH;
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} Mbit/s`;
  return `${Math.round(value / 1e3)} kbit/s`;
}

export function bytes(value) {
  if (value >= 1e9) return `${(value / 1e9).toFixed(2)} GB`;
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)} MB`;
  if (value >= 1e3) return `${(value / 1e3).toFixed(1)} kB`;
  return `${value} B`;
}

export function rate(value) {
  if (value === null || value === undefined) return DASH;
  return `${value >= 10 ? Math.round(value * 10) / 10 : value} fps`;
}

/** A length of time, from milliseconds to days. */
export function span(ms) {
  if (ms === null || ms === undefined) return DASH;
  const sign = ms < 0 ? "−" : "";
  const value = Math.abs(ms);
  if (value < 10) return `${sign}${Math.round(value * 10) / 10} ms`;
  if (value < 1000) return `${sign}${Math.round(value)} ms`;
  if (value < 10_000) return `${sign}${(value / 1000).toFixed(1)} s`;
  if (value < 120_000) return `${sign}${Math.round(value / 1000)} s`;
  if (value < 7_200_000) return `${sign}${Math.round(value / 60_000)} min`;
  if (value < 172_800_000) return `${sign}${Math.round(value / 3_600_000)} h`;
  return `${sign}${Math.round(value / 86_400_000)} days`;
}

export function ago(at, now) {
  return at === null || at === undefined ? DASH : now - at < 1000 ? "now" : `${span(now - at)} ago`;
}

/** The local time of day; with the date where it is another day than `now`. */
export function clock(at, now = Date.now()) {
  const date = new Date(at);
  const time = date.toLocaleTimeString([], { hour12: false });
  return date.toDateString() === new Date(now).toDateString() ? time : `${date.toISOString().slice(0, 10)} ${time}`;
}
