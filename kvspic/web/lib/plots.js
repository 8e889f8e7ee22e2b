// Figures over time, drawn by uPlot.
import { make, write } from "/web/lib/dom.js";

const HEIGHT = 96;
/** Makes a card of plots. `lines`: title, value of a point, words of a value, color; `at` is a point's time in ms. */
export function makePlots(title, lines, at) {
  const element = make("section", { className: "card plots", hidden: true }, make("h2", {}, title));
  const plots = [];
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function build() {
    for (const plot of plots.splice(0)) plot.drop();
    for (const line of lines) plots.push(makePlot(element, line));
    if (points.length) fill();
  }

  let points = [];
  function fill() {
    const times = points.map((point) => at(point) / 1000);
    for (const plot of plots) plot.fill(times, points);
  }

  const resized = new ResizeObserver(() => plots.forEach((plot) => plot.resize()));
  dark.addEventListener("change", build);
  return {
    element,
    update(newest) {
      points = newest.toSorted((a, b) => at(a) - at(b));
      element.hidden = points.length < 2;
      if (element.hidden) return;
      if (!plots.length) {
        build();
        resized.observe(element);
      }
      fill();
    },
    stop() {
      resized.disconnect();
      dark.removeEventListener("change", build);
      for (const plot of plots) plot.drop();
    },
  };
}

function makePlot(parent, [title, valueOf, words, color]) {
  const latest = make("output", {});
  const place = make("div", { className: "plot" });
  const block = make("div", { className: "plot-block" }, make("div", { className: "plot-title" }, make("span", {}, title), latest), place);
  parent.append(block);
  const style = getComputedStyle(parent);
  const read = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: read("--dim"), grid: { stroke: read("--line"), width: 1 }, ticks: { show: false }, font: `11px ${style.fontFamily}` };
  const plot = new globalThis.uPlot({
    width: place.clientWidth || 300, height: HEIGHT, legend: { show: false }, cursor: { show: false },
    scales: { y: { range: (_, low, high) => [0, Math.max(1, (high ?? 1) * 1.15)] } },
    axes: [{ ...axis, space: 70, size: 22, values: [
      [60, "{HH}:{mm}", null, null, null, null, null, null, 1], [1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 1],
      [0.001, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 1]] },
    { ...axis, size: 46, space: 26 }],
    series: [{}, { stroke: read(color), width: 1.5, points: { show: false }, fill: `${read(color)}22` }],
  }, [[], []], place);
  return {
    fill(times, points) {
      const values = points.map(valueOf);
      plot.setData([times, values]);
      const last = values.at(-1);
      write(latest, last === null || last === undefined ? "" : words(last));
    },
    resize: () => { if (place.clientWidth && place.clientWidth !== plot.width) plot.setSize({ width: place.clientWidth, height: HEIGHT }); },
    drop() {
      plot.destroy();
      block.remove();
    },
  };
}
