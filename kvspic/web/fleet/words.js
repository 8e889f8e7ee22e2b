// Words for what a job is.
import { write } from "/web/lib/dom.js";
import { DASH } from "/web/lib/format.js";

export const STATUSES = ["failure", "pending", "in_progress", "pause", "cancel", "done"];
const COLORS = { in_progress: "live", pending: "starting", failure: "error", handler_lost: "error", restart: "starting" };

/** Writes a status into a badge; one that a newer server has is shown as it is. Green is a camera whose pictures arrive. */
export function writeStatus(badge, status, stats = null) {
  const isInTrouble = status === "in_progress" && stats?.health === false;
  badge.className = `badge ${isInTrouble ? "starting" : (COLORS[status] ?? "")}`;
  write(badge, status.replaceAll("_", " "));
}

/** What a person must know of a job besides its status. */
export function stateWords(job) {
  if (job.error) return `${job.error.class}: ${job.error.text}`;
  if (job.status !== "in_progress" || !job.stats) return "";
  return [job.stats.source, job.stats.reason].filter((word) => word && word !== "ok").join(", ");
}

export function kbps(job) {
  const value = job.status === "in_progress" ? job.stats?.kbps : null;
  return typeof value === "number" ? `${Math.round(value)} kbit/s` : DASH;
}

export function fps(job) {
  const value = job.status === "in_progress" ? job.stats?.fps : null;
  return typeof value === "number" ? `${Math.round(value * 10) / 10} fps` : DASH;
}

export const ms = (text) => (text ? Date.parse(text) : null);
